package transport

import (
	"bytes"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
)

func sampleFrame(tb testing.TB) []byte {
	tb.Helper()
	b := appendFrameHead(nil, frameBatch)
	for i := range uint64(3) {
		m := multiraft.Message{Group: multiraft.GroupID(i * 1000), Message: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), To: proto.Uint64(2), From: proto.Uint64(1), Index: &i,
			Entries: []*raftpb.Entry{{Index: &i, Data: []byte("some data")}},
		}}
		var err error
		if b, err = appendMessage(b, m, proto.Size(m.Message)); err != nil {
			tb.Fatal(err)
		}
	}
	sealFrame(b)
	return b
}

func ignore(multiraft.GroupID, *raftpb.Message) {}

func TestFrameRoundTrip(t *testing.T) {
	r := frameReader{from: bytes.NewReader(append(sampleFrame(t), sampleFrame(t)...))}
	for range 2 {
		kind, payload, err := r.next()
		if err != nil || kind != frameBatch {
			t.Fatalf("kind=%d, %v", kind, err)
		}
		var groups []multiraft.GroupID
		n, err := decodeBatch(payload, func(g multiraft.GroupID, m *raftpb.Message) {
			groups = append(groups, g)
			if string(m.GetEntries()[0].GetData()) != "some data" {
				t.Errorf("data=%q", m.GetEntries()[0].GetData())
			}
		})
		if err != nil || n != 3 || groups[2] != 2000 {
			t.Fatalf("n=%d groups=%v, %v", n, groups, err)
		}
	}
}

// TestDamagedFrameIsRefused flips every bit and cuts at every byte.
func TestDamagedFrameIsRefused(t *testing.T) {
	whole := sampleFrame(t)
	for bit := range len(whole) * 8 {
		damaged := bytes.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		r := frameReader{from: bytes.NewReader(damaged)}
		if _, _, err := r.next(); err == nil {
			t.Errorf("bit %d flipped: taken", bit)
		}
	}
	for n := range whole {
		r := frameReader{from: bytes.NewReader(whole[:n])}
		if _, _, err := r.next(); err == nil {
			t.Errorf("cut to %d bytes: taken", n)
		}
	}
}

func TestLocalMessagesAreLeftOut(t *testing.T) {
	for _, m := range []*raftpb.Message{
		{Type: raftpb.MsgHup.Enum(), From: proto.Uint64(1)},
		{Type: raftpb.MsgStorageAppendResp.Enum(), From: proto.Uint64(1)},
		{Type: raftpb.MsgApp.Enum(), From: proto.Uint64(1<<64 - 1)},
	} {
		b, err := appendMessage(nil, multiraft.Message{Message: m}, proto.Size(m))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := decodeBatch(b, func(multiraft.GroupID, *raftpb.Message) { t.Errorf("%v was given on", m) }); n != 0 || err != nil {
			t.Errorf("n=%d, %v", n, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(sampleFrame(f))
	f.Add(appendFrameHead(nil, framePing))
	f.Fuzz(func(_ *testing.T, input []byte) {
		r := frameReader{from: bytes.NewReader(input)}
		for {
			_, payload, err := r.next()
			if err != nil {
				break
			}
			_, _ = decodeBatch(payload, ignore)
		}
		_, _ = decodeBatch(input, ignore) // without the checksum's protection
	})
}
