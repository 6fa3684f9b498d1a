package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"testing"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// scripted reads what the fuzzer wrote and swallows the answers.
type scripted struct{ io.Reader }

func (scripted) Write(b []byte) (int, error) { return len(b), nil }

func fuzzRing(tb testing.TB, id string) *Keyring {
	tb.Helper()
	nodeID, err := cluster.NewNodeID(id)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := cluster.NewNode(nodeID, cluster.Worker, id+":1", 1)
	if err != nil {
		tb.Fatal(err)
	}
	k := NewKeyring(n)
	if err := k.Join("c", make([]byte, ClusterKeyBytes)); err != nil {
		tb.Fatal(err)
	}
	return k
}

func framed(tb testing.TB, messages ...any) []byte {
	tb.Helper()
	var b []byte
	for _, m := range messages {
		body, err := json.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(body))), body...)
	}
	return b
}

// FuzzServerHandshake feeds a server what a stranger may send: it must neither panic nor accept.
func FuzzServerHandshake(f *testing.F) {
	ring := fuzzRing(f, "server")
	self := fuzzRing(f, "client").Self()
	for _, purpose := range []Purpose{Raft, adoption, "?"} {
		h := hello{Version: Version, Purpose: purpose, Nonce: make([]byte, nonceBytes), identity: identityOf(self, "c")}
		f.Add(framed(f, h, proof{MAC: make([]byte, 32)}))
		f.Add(framed(f, h))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	s := NewServer(ServerOptions{
		Keyring: ring, Log: zerolog.Nop(), Acceptors: map[Purpose]func(context.Context, *Conn){Raft: func(context.Context, *Conn) {}},
		Adoption: &AdoptionOptions{Secret: []byte("secret")},
	})
	f.Fuzz(func(t *testing.T, input []byte) {
		if peer, err := s.handshake(&exchange{rw: scripted{bytes.NewReader(input)}}); err == nil {
			t.Fatalf("accepted %+v", peer)
		}
	})
}

// FuzzClientHandshake feeds a client what an impostor may answer: it must neither panic nor believe.
func FuzzClientHandshake(f *testing.F) {
	ring := fuzzRing(f, "client")
	f.Add(framed(f, challenge{Nonce: make([]byte, nonceBytes)}, verdict{MAC: make([]byte, 32), Body: []byte("{}")}))
	f.Add(framed(f, challenge{Refusal: &wireRefusal{Reason: Busy}}))
	f.Add(framed(f, challenge{Nonce: make([]byte, nonceBytes)}, verdict{Refusal: &wireRefusal{Reason: WrongKey}}))
	f.Fuzz(func(t *testing.T, input []byte) {
		x := &exchange{rw: scripted{bytes.NewReader(input)}}
		if peer, err := x.connect(ring, cluster.NodeID{}, Raft); err == nil {
			t.Fatalf("believed %+v", peer)
		}
	})
}
