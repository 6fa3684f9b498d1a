package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func manifestAt(index uint64) Manifest {
	return Manifest{
		Format: FormatDuckDB, Shard: 3, Index: index, Term: 2, Bytes: 4, SHA256: sha256.Sum256([]byte("data")),
	}
}

// goldenManifest is version 1 as it lies in messages and files of running clusters.
const goldenManifest = "0101000000030000000000000007000000000000000200000000000000043a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"

func TestManifestGolden(t *testing.T) {
	m := manifestAt(7)
	got := m.Encode()
	if text := hex.EncodeToString(got[:len(got)-8]); text != goldenManifest {
		t.Fatalf("Encode=%s, want %s", text, goldenManifest)
	}
	if back, err := DecodeFor(got, FormatDuckDB, 3); err != nil || back != m {
		t.Fatalf("Decode=%+v, %v, want %+v", back, err, m)
	}
}

func TestManifestRefused(t *testing.T) {
	whole := manifestAt(7).Encode()
	for bit := range 8 * len(whole) {
		damaged := bytes.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := Decode(damaged); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("bit %d: %v, want Corrupt", bit, err)
		}
	}
	for n := range whole {
		if _, err := Decode(whole[:n]); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("%d bytes: %v, want Corrupt", n, err)
		}
	}
	if _, err := DecodeFor(whole, FormatMemory, 3); fault.From(err).Code() != "snapshot_format" {
		t.Errorf("another format: %v", err)
	}
	if _, err := DecodeFor(whole, FormatDuckDB, 4); fault.From(err).Code() != "snapshot_foreign" {
		t.Errorf("another shard: %v", err)
	}
}

func TestChecker(t *testing.T) {
	for data, good := range map[string]bool{"data": true, "dat": false, "date": false, "": false} {
		var to bytes.Buffer
		c := NewChecker(&to, manifestAt(1))
		if _, err := io.WriteString(c, data); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); (err == nil) != good || (!good && fault.KindOf(err) != fault.Corrupt) || to.String() != data {
			t.Errorf("%q: %v, passed on %q", data, err, to.String())
		}
	}
	c := NewChecker(io.Discard, manifestAt(1))
	if _, err := io.WriteString(c, "data and more"); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("too much: %v, want Corrupt", err)
	}
}

// shelf counts what a set of kept snapshots removed; a timer's goroutine may do that.
type shelf struct {
	mu struct {
		sync.Mutex
		removed map[uint64]int
	}
}

func newShelf() *shelf {
	f := &shelf{}
	f.mu.removed = map[uint64]int{}
	return f
}

func (f *shelf) remove(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.removed[index]++
}

// removed returns how often the snapshot was removed.
func (f *shelf) removed(index uint64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.removed[index]
}

func (f *shelf) add(k *Kept, index uint64) []byte {
	m := manifestAt(index)
	k.Add(m, outbound.AppliedState{Index: index}, Source{
		Open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("data"))), nil },
		Remove: func() { f.remove(index) },
	})
	return m.Encode()
}

func TestKeptIsBounded(t *testing.T) {
	k, f := NewKept(), newShelf()
	first, second := f.add(k, 1), f.add(k, 2)
	reading, err := k.Open(3, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.MakeRoom(3); err != nil || f.removed(2) != 1 || f.removed(1) != 0 {
		t.Fatalf("MakeRoom=%v, removed 1: %d, 2: %d, want only the second, that nobody reads", err, f.removed(1), f.removed(2))
	}
	if _, err := k.Open(3, second); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("Open of a removed one: %v, want NotFound", err)
	}
	alsoReading, err := k.Open(3, f.add(k, 4))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.MakeRoom(3); fault.KindOf(err) != fault.Exhausted {
		t.Fatalf("MakeRoom while all are read: %v, want Exhausted", err)
	}
	k.Release(3)
	if f.removed(1) != 0 || f.removed(4) != 0 {
		t.Fatalf("removed under readers: 1: %d, 4: %d", f.removed(1), f.removed(4))
	}
	text, err := io.ReadAll(reading)
	if err != nil || string(text) != "data" {
		t.Fatalf("read %q, %v", text, err)
	}
	for range 2 {
		if err := reading.Close(); err != nil {
			t.Fatal(err)
		}
	}
	k.Close()
	if err := alsoReading.Close(); err != nil {
		t.Fatal(err)
	}
	f.add(k, 5) // After Close nothing is kept.
	for _, index := range []uint64{1, 2, 4, 5} {
		if f.removed(index) != 1 {
			t.Errorf("snapshot %d was removed %d times, want once", index, f.removed(index))
		}
	}
}

func TestKeptExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, f := NewKept(), newShelf()
		defer k.Close()
		manifest := f.add(k, 1)
		wait := func(parts int) {
			t.Helper()
			time.Sleep(time.Duration(parts) * UnusedMax / 4) // Of fake time.
			synctest.Wait()
		}
		wait(3)
		if s, ok := k.At(3, 1); !ok || !bytes.Equal(s.Manifest, manifest) {
			t.Fatal("At does not find the snapshot")
		}
		wait(3) // Used in between, it is still kept.
		reading, err := k.Open(3, manifest)
		if err != nil {
			t.Fatal(err)
		}
		wait(9)
		if f.removed(1) != 0 {
			t.Fatal("removed while it was read")
		}
		if err := reading.Close(); err != nil {
			t.Fatal(err)
		}
		wait(3)
		if f.removed(1) != 0 {
			t.Fatal("removed before it was unused for long enough")
		}
		wait(2)
		if f.removed(1) != 1 {
			t.Fatal("kept although nobody used it")
		}
		if _, ok := k.At(shard.ID(3), 1); ok {
			t.Fatal("At finds a removed snapshot")
		}
	})
}
