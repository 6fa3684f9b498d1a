package raftlog

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// TestGolden pins the bytes of every record for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	entry := &raftpb.Entry{Index: new(uint64(258)), Term: new(uint64(7)), Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte("data")}
	value := make([]byte, entryHeaderBytes, entryHeaderBytes+len(entry.GetData()))
	putEntryHeader(value, entry)
	var got bytes.Buffer
	for _, record := range []struct {
		name       string
		key, value []byte
	}{
		{"entry", appendEntryKey(nil, 5, 258), append(value, entry.GetData()...)},
		{"hard state", appendKey(nil, 5, kindHardState), encodeHardState(&raftpb.HardState{Term: new(uint64(7)), Vote: new(uint64(2)), Commit: new(uint64(257))})},
		{"identity", appendKey(nil, 5, kindIdentity), encodeIdentity(multiraft.LogIdentity{ReplicaID: 2, Founding: []byte("founding")})},
		{"truncation", appendKey(nil, 5, kindTruncation), encodePoint(multiraft.LogPoint{Index: 200, Term: 6})},
		{"owner", appendKey(nil, storeGroup, kindOwner), encodeOwner(Owner{Cluster: 9, Incarnation: 10, Node: "worker-1"})},
		{"layout", appendKey(nil, storeGroup, kindLayout), encodeLayout(layoutVersion)},
	} {
		fmt.Fprintf(&got, "%s\n\tkey   %s\n\tvalue %s\n", record.name, hex.EncodeToString(record.key), hex.EncodeToString(record.value))
	}
	const golden = "testdata/records.golden"
	if *rewrite {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatalf("rewrite: %v", err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("records:\n%swant:\n%s", got.Bytes(), want)
	}
}

// FuzzDecode feeds the decoders anything: they answer or say Corrupt.
func FuzzDecode(f *testing.F) {
	f.Add(encodeHardState(&raftpb.HardState{Term: new(uint64(1))}))
	f.Add(encodePoint(multiraft.LogPoint{Index: 2, Term: 3}))
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Add([]byte{recordVersion + 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		for name, decode := range map[string]func() error{
			"entry":      func() error { _, err := decodeEntry(1, value); return err },
			"hard state": func() error { _, err := decodeHardState(value); return err },
			"point":      func() error { _, err := decodePoint(value); return err },
			"identity":   func() error { _, err := decodeIdentity(value); return err },
			"owner":      func() error { _, err := decodeOwner(value); return err },
			"layout":     func() error { _, err := decodeLayout(value); return err },
		} {
			if err := decode(); err != nil && fault.KindOf(err) != fault.Corrupt {
				t.Errorf("%s: %v, want kind Corrupt", name, err)
			}
		}
	})
}
