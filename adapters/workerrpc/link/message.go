package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// A handshake is four messages, each a length of 4 bytes, big endian, and that much JSON:
//
//	client                                          server
//	hello{version purpose nonce identity expects}  →
//	                                               ←  challenge{nonce} or refusal
//	proof{mac}                                     →
//	                                               ←  verdict{mac body} or refusal
//
// The client proves first, so that whoever merely connects gets nothing to guess a secret by, and
// learns nothing of the node. The verdict's body is the server's identity. In an adoption there is none;
// a sealed request and a sealed reply follow.

const nonceBytes = 32

type identity struct {
	ClusterID   string `json:"cluster,omitempty"`
	Node        string `json:"node"`
	Role        string `json:"role"`
	Address     string `json:"address"`
	Incarnation uint64 `json:"incarnation"`
}

type hello struct {
	Version int     `json:"version"`
	Purpose Purpose `json:"purpose"`
	Nonce   []byte  `json:"nonce"`
	identity
	// Expects is the NODE_ID that the client means to talk to; "" for whoever answers.
	Expects string `json:"expects,omitempty"`
}

type challenge struct {
	Nonce   []byte       `json:"nonce,omitempty"`
	Refusal *wireRefusal `json:"refusal,omitempty"`
}

type proof struct {
	MAC []byte `json:"mac"`
}

type verdict struct {
	MAC     []byte       `json:"mac,omitempty"`
	Body    []byte       `json:"body,omitempty"`
	Refusal *wireRefusal `json:"refusal,omitempty"`
}

type wireRefusal struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
}

func (w *wireRefusal) remote() *RefusalError {
	return &RefusalError{Reason: w.Reason, Message: w.Message, Remote: true}
}

func wireRefusalOf(r *RefusalError) *wireRefusal {
	return &wireRefusal{Reason: r.Reason, Message: r.Message}
}

func identityOf(n cluster.Node, clusterID string) identity {
	return identity{
		ClusterID: clusterID, Node: n.ID().String(), Role: n.Role().String(), Address: n.Address(),
		Incarnation: uint64(n.Incarnation()),
	}
}

func (i identity) node() (cluster.Node, error) {
	if len(i.ClusterID) > clusterIDBytesMax {
		return cluster.Node{}, Refuse(Malformed, "the cluster id is too long")
	}
	id, err := cluster.NewNodeID(i.Node)
	if err != nil {
		return cluster.Node{}, Refuse(Malformed, "the node's id is not valid")
	}
	role, err := cluster.ParseRole(i.Role)
	if err != nil {
		return cluster.Node{}, Refuse(Malformed, "the node's role is not valid")
	}
	n, err := cluster.NewNode(id, role, i.Address, cluster.Incarnation(i.Incarnation))
	if err != nil {
		return cluster.Node{}, Refuse(Malformed, "the node's identity is not valid: %v", err)
	}
	return n, nil
}

func newNonce() []byte {
	nonce := make([]byte, nonceBytes)
	_, _ = rand.Read(nonce) // never fails: it ends the process where there is no entropy
	return nonce
}

// writeMessage sends v and returns its JSON, which the transcript takes.
func writeMessage(w io.Writer, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode handshake: %w", err)
	}
	return body, writeFrame(w, body, messageBytesMax)
}

// readMessage receives one message into v and returns its JSON.
func readMessage(r io.Reader, v any) ([]byte, error) {
	body, err := readFrame(r, messageBytesMax)
	if err != nil {
		return nil, err
	}
	// Unknown members are left for later versions; they are part of the transcript all the same.
	if err := json.Unmarshal(body, v); err != nil {
		return nil, Refuse(Malformed, "a handshake message is not valid")
	}
	return body, nil
}

func writeFrame(w io.Writer, body []byte, bytesMax int) error {
	if len(body) > bytesMax {
		return Refuse(Malformed, "a handshake message of %d bytes exceeds %d", len(body), bytesMax)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("write handshake: %w", err)
	}
	return nil
}

func readFrame(r io.Reader, bytesMax int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > int64(bytesMax) {
		return nil, Refuse(Malformed, "a handshake message of %d bytes exceeds %d", n, bytesMax)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	return body, nil
}

// transcript is the digest of what both ends said before the proofs, and of the TLS channel it went
// through: a proof made for one connection is worth nothing on another.
func transcript(helloBody, challengeBody, binding []byte) []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(Protocol), helloBody, challengeBody, binding} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

func (k directionKeys) clientMAC(transcript []byte) []byte { return mac(k.client, transcript) }

// serverMAC answers one proof: it covers that, too.
func (k directionKeys) serverMAC(transcript, clientMAC, body []byte) []byte {
	return mac(k.server, transcript, clientMAC, body)
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}
