package duckdb_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// disk is a DiskGauge that says what the test wants.
type disk struct{ free atomic.Int64 }

func (d *disk) FreeBytes() (int64, error) {
	if free := d.free.Load(); free >= 0 {
		return free, nil
	}
	return 0, errors.New("the disk does not answer")
}

func TestDiskNearlyFull(t *testing.T) {
	d := &disk{}
	s := start(t, newNode(t, duckdb.Options{Disk: d, DiskFreeBytesMin: 1000}))
	for _, step := range []struct {
		free int64
		want fault.Kind
	}{{1000, 0}, {999, fault.DiskFull}, {-1, fault.Internal}, {2000, 0}} {
		d.free.Store(step.free)
		err := s.Admit(t.Context(), 1)
		if (err == nil) != (step.free >= 1000) || (err != nil && fault.KindOf(err) != step.want) {
			t.Errorf("Admit with %d bytes free: %v, want kind %d", step.free, err, step.want)
		}
	}
}

// TestMemoryFull fills the memory without flushing: writes wait, are told to come back, and go on
// after a flush.
func TestMemoryFull(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{MemtableBytesMax: 1 << 20}))
	open(t, s, 0)
	if err := s.Append(t.Context(), 0, columns(10, 70_000, 1)); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Admit(gone, 1)
	if f := fault.From(err); f.Kind() != fault.Exhausted || f.Code() != "memtable_full" || f.RetryAfter() <= 0 {
		t.Fatalf("Admit: %v, want memtable_full with advice", err)
	}
	if !s.WantsCut(0) {
		t.Fatal("a full shard wants no cut")
	}
	s.Cut(0, outbound.AppliedState{Index: 1})
	admitted := make(chan error, 1)
	go func() { admitted <- s.Admit(t.Context(), 1) }()
	if _, err := s.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-admitted; err != nil {
		t.Fatalf("Admit after the flush: %v", err)
	}
	if s.WantsCut(0) || s.WantsCut(1) {
		t.Fatal("an empty shard, or one that is not open, wants a cut")
	}
}

// TestSomeShardAlwaysWantsACut fills several shards unevenly: before the memory is full, cuts that
// are made where they are wanted have kept it from filling.
func TestSomeShardAlwaysWantsACut(t *testing.T) {
	const limit = 4 << 20
	s := start(t, newNode(t, duckdb.Options{MemtableBytesMax: limit}))
	for id := range shard.ID(4) {
		open(t, s, id)
	}
	flushed := map[shard.ID]int{}
	for index := uint64(1); index <= 150; index++ {
		for id := range shard.ID(4) {
			if err := s.Append(t.Context(), id, columns(5, 200*int(id+1), index)); err != nil {
				t.Fatal(err)
			}
			if !s.WantsCut(id) {
				continue
			}
			s.Cut(id, outbound.AppliedState{Index: index})
			if _, err := s.Flush(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			flushed[id]++
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Admit(gone, limit/8); err != nil {
			t.Fatalf("after %d rounds: %v", index, err)
		}
	}
	if flushed[3] == 0 {
		t.Fatalf("flushes by shard: %v", flushed)
	}
	t.Logf("flushes by shard: %v", flushed)
}

// TestAQuietShardDoesNotKeepOthersFromCuts has most of the memory taken by a shard that is not asked.
func TestAQuietShardDoesNotKeepOthersFromCuts(t *testing.T) {
	const limit = 4 << 20
	s := start(t, newNode(t, duckdb.Options{MemtableBytesMax: limit}))
	for id := range shard.ID(3) {
		open(t, s, id)
	}
	if err := s.Append(t.Context(), 0, columns(5, 120_000, 1)); err != nil {
		t.Fatal(err)
	}
	if s.WantsCut(0) || s.WantsCut(1) {
		t.Fatal("a cut is wanted while there is room")
	}
	for index := uint64(1); index <= 100; index++ {
		for id := shard.ID(1); id < 3; id++ {
			if err := s.Append(t.Context(), id, columns(5, 1000, index)); err != nil {
				t.Fatal(err)
			}
			if s.WantsCut(id) {
				return
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Admit(gone, 1); err != nil {
			t.Fatalf("after %d rounds no shard wanted a cut: %v", index, err)
		}
	}
	t.Fatal("memory never filled")
}

// TestCloseStopsWaiters closes the store while a write waits for memory.
func TestCloseStopsWaiters(t *testing.T) {
	n := newNode(t, duckdb.Options{MemtableBytesMax: 1 << 20})
	s := start(t, n)
	open(t, s, 0)
	if err := s.Append(t.Context(), 0, columns(10, 70_000, 1)); err != nil {
		t.Fatal(err)
	}
	admitted := make(chan error, 1)
	go func() { admitted <- s.Admit(t.Context(), 1) }()
	stop(t, n)
	if err := <-admitted; fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Admit: %v, want Unavailable", err)
	}
	if _, err := s.Partials(t.Context(), []shard.ID{0}, everything(t)); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Partials: %v, want Unavailable", err)
	}
	if _, err := s.Open(t.Context(), 1); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Open: %v, want Unavailable", err)
	}
}
