package duckdb

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %x, want %x: stored files of this version could not be read", name, got, want)
	}
}

func TestPointer(t *testing.T) {
	golden(t, "pointer_v1.golden", encodePointer(42))
	for _, generation := range []uint64{1, 42, 1<<64 - 1} {
		text := encodePointer(generation)
		if got, err := decodePointer(text); err != nil || got != generation {
			t.Errorf("decode %q: %d, %v, want %d", text, got, err, generation)
		}
		for i := range text {
			damaged := bytes.Clone(text)
			damaged[i] ^= 1
			if got, err := decodePointer(damaged); err == nil {
				t.Errorf("decode %q: %d, want an error", damaged, got)
			}
			if got, err := decodePointer(text[:i]); err == nil {
				t.Errorf("decode %q: %d, want an error", text[:i], got)
			}
		}
	}
}

func TestStateRecord(t *testing.T) {
	full := stateRecord{
		AppliedState: outbound.AppliedState{
			Index: 1<<64 - 1, Term: 7, LogTime: 90 * time.Second, Membership: []byte{1, 2, 3}, Machine: []byte("machine"),
		},
		generation: 9, retention: []byte("retention"),
	}
	golden(t, "state_v2.golden", full.encode())
	for _, want := range []stateRecord{{}, full, {AppliedState: outbound.AppliedState{Machine: []byte{0}}}} {
		b := want.encode()
		got, err := decodeState(b)
		if err != nil {
			t.Fatalf("decode %x: %v", b, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(stateRecord{})); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
		for i := range b {
			damaged := bytes.Clone(b)
			damaged[i] ^= 0x10
			if _, err := decodeState(damaged); err == nil {
				t.Errorf("byte %d changed: no error", i)
			}
			if _, err := decodeState(b[:i]); err == nil {
				t.Errorf("cut to %d bytes: no error", i)
			}
		}
	}
}

// TestStateRecordOfVersion1 reads what an earlier version wrote.
func TestStateRecordOfVersion1(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "state_v1.golden"))
	if err != nil {
		t.Fatal(err)
	}
	want := stateRecord{
		AppliedState: outbound.AppliedState{
			Index: 1<<64 - 1, Term: 7, LogTime: 90 * time.Second, Membership: []byte{1, 2, 3}, Machine: []byte("machine"),
		},
		generation: 9,
	}
	got, err := decodeState(text)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stateRecord{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestReceivedNote(t *testing.T) {
	w := waiting{generation: 12, manifest: snapshot.Manifest{
		Format: snapshot.FormatDuckDB, Shard: 3, Index: 7, Term: 2, Bytes: 4096, SHA256: [32]byte{5},
	}}
	text := w.encode()
	golden(t, "received_v1.golden", text)
	if back, ok := decodeWaiting(text); !ok || back != w {
		t.Fatalf("decode=%+v, %v, want %+v", back, ok, w)
	}
	for i := range text {
		damaged := bytes.Clone(text)
		damaged[i] ^= 1
		if back, ok := decodeWaiting(damaged); ok {
			t.Errorf("byte %d: decoded as %+v", i, back)
		}
		if _, ok := decodeWaiting(text[:i]); ok {
			t.Errorf("%d bytes were enough", i)
		}
	}
}
