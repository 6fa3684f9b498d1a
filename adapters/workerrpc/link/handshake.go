package link

import (
	"crypto/hmac"
	"encoding/json"
	"errors"
	"io"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// exchange is one end's view of a handshake under way.
type exchange struct {
	rw         io.ReadWriter
	binding    []byte // of the TLS channel; nil without TLS
	transcript []byte
	clientMAC  []byte
}

// greet sends the client's hello and takes the challenge.
func (x *exchange) greet(h hello) error {
	helloBody, err := writeMessage(x.rw, h)
	if err != nil {
		return err
	}
	var c challenge
	challengeBody, err := readMessage(x.rw, &c)
	if err != nil {
		return err
	}
	if c.Refusal != nil {
		return c.Refusal.remote()
	}
	if len(c.Nonce) != nonceBytes {
		return Refuse(Malformed, "the challenge's nonce is not of %d bytes", nonceBytes)
	}
	x.transcript = transcript(helloBody, challengeBody, x.binding)
	return nil
}

// prove sends the client's proof and returns the body of the server's verdict, checked.
func (x *exchange) prove(keys directionKeys) ([]byte, error) {
	x.clientMAC = keys.clientMAC(x.transcript)
	if _, err := writeMessage(x.rw, proof{MAC: x.clientMAC}); err != nil {
		return nil, err
	}
	var v verdict
	if _, err := readMessage(x.rw, &v); err != nil {
		return nil, err
	}
	if v.Refusal != nil {
		return nil, v.Refusal.remote()
	}
	if !hmac.Equal(v.MAC, keys.serverMAC(x.transcript, x.clientMAC, v.Body)) {
		return nil, Refuse(WrongKey, "the other node did not prove to hold our key: it is an impostor or a broken node")
	}
	return v.Body, nil
}

// listen takes the client's hello, which check may refuse, and challenges.
func (x *exchange) listen(check func(hello) error) (hello, error) {
	var h hello
	helloBody, err := readMessage(x.rw, &h)
	if err != nil {
		return hello{}, err
	}
	if h.Version != Version {
		return h, Refuse(WrongVersion, "this node speaks version %d of the link, the other %d; run the same release on both", Version, h.Version)
	}
	if len(h.Nonce) != nonceBytes {
		return h, Refuse(Malformed, "the hello's nonce is not of %d bytes", nonceBytes)
	}
	if err := check(h); err != nil {
		return h, err
	}
	challengeBody, err := writeMessage(x.rw, challenge{Nonce: newNonce()})
	if err != nil {
		return h, err
	}
	x.transcript = transcript(helloBody, challengeBody, x.binding)
	return h, nil
}

// verify takes the client's proof.
func (x *exchange) verify(keys directionKeys, wrongKey *RefusalError) error {
	var p proof
	if _, err := readMessage(x.rw, &p); err != nil {
		return err
	}
	if !hmac.Equal(p.MAC, keys.clientMAC(x.transcript)) {
		return wrongKey
	}
	x.clientMAC = p.MAC
	return nil
}

// conclude sends the server's proof with body.
func (x *exchange) conclude(keys directionKeys, body []byte) error {
	_, err := writeMessage(x.rw, verdict{MAC: keys.serverMAC(x.transcript, x.clientMAC, body), Body: body})
	return err
}

// tell lets the client know of a refusal by this end.
func (x *exchange) tell(err error) {
	var r *RefusalError
	if errors.As(err, &r) && !r.Remote {
		// The connection is given up; whether the other end still hears why is not ours to mend.
		_, _ = writeMessage(x.rw, verdict{Refusal: wireRefusalOf(r)})
	}
}

// connect is the client's side of a link's handshake.
func (x *exchange) connect(ring *Keyring, expects cluster.NodeID, purpose Purpose) (Peer, error) {
	self, member := ring.read()
	if member == nil {
		return Peer{}, Refuse(NotAdopted, "node %s belongs to no cluster yet", self.ID())
	}
	err := x.greet(hello{
		Version: Version, Purpose: purpose, Nonce: newNonce(),
		identity: identityOf(self, member.clusterID), Expects: expects.String(),
	})
	if err != nil {
		return Peer{}, err
	}
	body, err := x.prove(member.keys)
	if err != nil {
		return Peer{}, err
	}
	var i identity
	if err := json.Unmarshal(body, &i); err != nil {
		return Peer{}, Refuse(Malformed, "the other node's identity is not valid")
	}
	node, err := i.node()
	if err != nil {
		return Peer{}, err
	}
	if i.ClusterID != member.clusterID {
		return Peer{}, Refuse(WrongCluster, "node %s belongs to cluster %s, this node to %s", node.ID(), i.ClusterID, member.clusterID)
	}
	if !expects.IsZero() && node.ID() != expects {
		return Peer{}, Refuse(WrongNode, "node %s answers where %s was expected", node.ID(), expects)
	}
	return Peer{ClusterID: i.ClusterID, Node: node, Purpose: purpose}, nil
}

// accept is the server's side of a link's handshake after hello h was challenged. admit decides, once
// the client is authenticated, whether it is wanted.
func (x *exchange) accept(h hello, self cluster.Node, member *membership, admit func(Peer) error) (Peer, error) {
	node, err := h.node()
	if err != nil {
		return Peer{}, err
	}
	wrongKey := Refuse(WrongKey, "node %s (%s) holds another key than this node %s for cluster %s",
		node.ID(), node.Address(), self.ID(), member.clusterID)
	if err := x.verify(member.keys, wrongKey); err != nil {
		return Peer{}, err
	}
	if h.Expects != "" && h.Expects != self.ID().String() {
		return Peer{}, Refuse(WrongNode, "node %s answers where %s was expected", self.ID(), h.Expects)
	}
	peer := Peer{ClusterID: member.clusterID, Node: node, Purpose: h.Purpose}
	if err := admit(peer); err != nil {
		return peer, refusalOf(err)
	}
	body, err := json.Marshal(identityOf(self, member.clusterID))
	if err != nil {
		return peer, Refuse(Malformed, "encode identity: %v", err)
	}
	return peer, x.conclude(member.keys, body)
}
