package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// open returns a store with shard 0 open.
func open(t *testing.T, o memory.Options) *memory.Store {
	t.Helper()
	s := memory.New(o)
	if _, err := s.Open(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// write appends n samples of series h, counting up from first.
func write(t *testing.T, s *memory.Store, h string, first, n int) {
	t.Helper()
	c := outbound.Columns{Keys: []string{fmt.Sprintf("m{h=%q}", h)}}
	for i := first; i < first+n; i++ {
		c.Series = append(c.Series, 0)
		c.Timestamps = append(c.Timestamps, int64(i%100))
		c.Values = append(c.Values, float64(i))
	}
	if err := s.Append(t.Context(), 0, c); err != nil {
		t.Fatal(err)
	}
}

func cutAndFlush(t *testing.T, s *memory.Store, index uint64) {
	t.Helper()
	s.Cut(0, outbound.AppliedState{Index: index})
	if got, err := s.Flush(t.Context(), 0); err != nil || got != index {
		t.Fatalf("Flush=%d, %v, want %d", got, err, index)
	}
}

func TestFullMemoryRefusesWrites(t *testing.T) {
	s := open(t, memory.Options{BytesMax: 100_000, CutBytes: 10_000})
	if err := s.Admit(t.Context(), 99_000); err != nil || s.WantsCut(0) {
		t.Fatalf("empty store: Admit=%v WantsCut=%v", err, s.WantsCut(0))
	}
	write(t, s, "a", 0, 3000)
	if !s.WantsCut(0) {
		t.Error("48,000 bytes of samples want no cut at 10,000")
	}
	cutAndFlush(t, s, 1)
	if s.WantsCut(0) || s.WantsCut(1) {
		t.Error("a flushed or a closed shard wants a cut")
	}
	err := s.Admit(t.Context(), 60_000)
	if f := fault.From(err); f.Kind() != fault.Exhausted || f.Code() != "memtable_full" || f.RetryAfter() <= 0 {
		t.Errorf("Admit over the limit: %v, want memtable_full with advice", err)
	}
	if err := s.Admit(t.Context(), 1000); err != nil {
		t.Errorf("Admit within the limit: %v", err)
	}
}

func TestEndedContext(t *testing.T) {
	s := open(t, memory.Options{})
	write(t, s, "a", 0, 10)
	s.Cut(0, outbound.AppliedState{Index: 5})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Flush(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v, want Canceled", err)
	}
	if _, err := s.Open(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want Canceled", err)
	}
	if err := s.Admit(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Admit: %v, want Canceled", err)
	}
	if got, err := s.Flush(t.Context(), 0); got != 5 || err != nil {
		t.Errorf("the cut did not outlive a canceled flush: %d, %v", got, err)
	}
}

func TestClosedShard(t *testing.T) {
	s := open(t, memory.Options{})
	ctx := t.Context()
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: name})
	if err != nil {
		t.Fatal(err)
	}
	_, flush := s.Flush(ctx, 1)
	_, partials := s.Partials(ctx, []shard.ID{0, 1}, q)
	_, _, latest := s.Latest(ctx, []shard.ID{1}, name, metric.Matchers{})
	_, digest := s.Digest(1)
	for what, err := range map[string]error{
		"Append": s.Append(ctx, 1, outbound.Columns{}), "Flush": flush, "Partials": partials, "Latest": latest, "Digest": digest,
	} {
		if f := fault.From(err); f == nil || f.Code() != "shard_closed" {
			t.Errorf("%s of a closed shard: %v, want shard_closed", what, err)
		}
	}
	if _, err := s.Open(ctx, 0); fault.KindOf(err) != fault.Conflict {
		t.Errorf("second Open: %v, want Conflict", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Cut of a closed shard did not panic")
		}
	}()
	s.Cut(1, outbound.AppliedState{})
}

// TestDigestIsOfContent compares stores that got equal samples in other batches, cuts and flushes.
func TestDigestIsOfContent(t *testing.T) {
	digest := func(s *memory.Store) [32]byte {
		t.Helper()
		d, err := s.Digest(0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, disk := open(t, memory.Options{}), memory.NewDisk()
	b := open(t, memory.Options{Disk: disk})
	empty := digest(a)
	write(t, a, "x", 0, 500)
	write(t, a, "y", 0, 7)
	write(t, b, "y", 0, 7)
	for i := range 50 {
		write(t, b, "x", i*10, 10)
		if i%5 == 4 {
			cutAndFlush(t, b, uint64(i))
		}
	}
	if digest(a) != digest(b) || digest(a) == empty {
		t.Error("equal content has other digests")
	}
	if again := open(t, memory.Options{Disk: disk}); digest(again) != digest(b) {
		t.Error("the reopened store has another digest")
	}
	before := digest(a)
	write(t, a, "x", 499, 1)
	write(t, b, "x", 399, 1)
	if digest(a) == before || digest(a) == digest(b) {
		t.Error("different content has equal digests")
	}
	last := ""
	err := a.Walk(0, func(series metric.Series, points []memtable.Point) error {
		for i := range points {
			if i > 0 && points[i-1].At > points[i].At {
				t.Errorf("%s is not in order of time", series.Key())
			}
		}
		if last >= series.Key() {
			t.Errorf("%s after %s", series.Key(), last)
		}
		last = series.Key()
		return nil
	})
	if err != nil || last != `m{h="y"}` {
		t.Errorf("Walk ended at %q, %v", last, err)
	}
}
