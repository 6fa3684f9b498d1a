package duckdb_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// damages collects what a store reports as damaged.
type damages struct {
	mu    sync.Mutex
	times map[shard.ID]int
}

func (d *damages) note(id shard.ID, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.times == nil {
		d.times = map[shard.ID]int{}
	}
	if fault.KindOf(err) == fault.Corrupt {
		d.times[id]++
	}
}

func (d *damages) count(id shard.ID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.times[id]
}

// failing answers the next times statements that begin with prefix with message, once it is armed.
type failing struct {
	prefix, message string
	left            atomic.Int64
}

func (f *failing) fault(statement string) string {
	if strings.HasPrefix(statement, f.prefix) && f.left.Add(-1) >= 0 {
		return f.message
	}
	return ""
}

const fatalMessage = "FATAL Error: fsync failed!"

// TestFatalErrorCostsOneShard has DuckDB fail during one shard's flush: the others lose nothing, not even
// what they had only in memory or cut, and that one is rebuilt.
func TestFatalErrorCostsOneShard(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	for id := range shard.ID(3) {
		open(t, s, id)
		fill(t, s, id, 3, 1000, 1)
	}
	stop(t, n)
	var reported damages
	n.options.Damaged = reported.note
	f := &failing{prefix: "COMMIT", message: fatalMessage}
	n.options = n.options.WithFault(f.fault)
	s = start(t, n)
	for id := range shard.ID(3) {
		open(t, s, id)
		if err := s.Append(t.Context(), id, columns(4, 100, 2)); err != nil {
			t.Fatal(err)
		}
	}
	s.Cut(1, outbound.AppliedState{Index: 2}) // Cut and not flushed while it happens.
	s.Cut(0, outbound.AppliedState{Index: 2})
	f.left.Store(1)
	if _, err := s.Flush(t.Context(), 0); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Flush: %v, want Corrupt", err)
	}
	if reported.count(0) != 1 || reported.count(1)+reported.count(2) != 0 {
		t.Fatalf("reported %v, want shard 0 alone", reported.times)
	}
	for id := shard.ID(1); id < 3; id++ {
		if count, sum, err := totals(t, s, id); err != nil || count != 1100 || sum != 1200 {
			t.Fatalf("shard %d: count=%d sum=%v, %v", id, count, sum, err)
		}
	}
	for what, err := range map[string]error{
		"Partials": func() error { _, _, err := totals(t, s, 0); return err }(),
		"Flush":    func() error { _, err := s.Flush(t.Context(), 0); return err }(),
		"Make":     func() error { _, err := s.MakeSnapshot(t.Context(), 0); return err }(),
	} {
		if fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s of the damaged shard: %v, want Corrupt", what, err)
		}
	}
	s.Cut(2, outbound.AppliedState{Index: 2})
	for id := shard.ID(1); id < 3; id++ {
		if durable, err := s.Flush(t.Context(), id); err != nil || durable != 2 {
			t.Fatalf("Flush(%d)=%d, %v, want 2", id, durable, err)
		}
	}
	heal(t, s, 0)
	stop(t, n)
	s = start(t, n)
	for id, want := range []uint64{1000, 1100, 1100} {
		open(t, s, shard.ID(id))
		if count, _, err := totals(t, s, shard.ID(id)); err != nil || count != want {
			t.Fatalf("shard %d: count=%d, %v, want %d", id, count, err, want)
		}
	}
}

// heal quarantines a shard and fills it anew, as its log would.
func heal(t *testing.T, s *duckdb.Store, id shard.ID) {
	t.Helper()
	if err := s.Quarantine(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if state := open(t, s, id); state.Index != 0 {
		t.Fatalf("a quarantined shard opened at %d", state.Index)
	}
	fill(t, s, id, 3, 1000, 1)
	if count, sum, err := totals(t, s, id); err != nil || count != 1000 || sum != 1000 {
		t.Fatalf("healed: count=%d sum=%v, %v", count, sum, err)
	}
}

// TestFatalErrorsEnd shows that a machine on which DuckDB fails again and again is given up.
func TestFatalErrorsEnd(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	shards := shard.ID(duckdb.ReopeningsMax + 2)
	for id := range shards {
		open(t, s, id)
	}
	stop(t, n)
	var reported damages
	n.options.Damaged = reported.note
	f := &failing{prefix: "COMMIT", message: fatalMessage}
	n.options = n.options.WithFault(f.fault)
	s = start(t, n)
	for id := range shards {
		open(t, s, id)
		if err := s.Append(t.Context(), id, columns(1, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	f.left.Store(1000)
	for id := range shards {
		s.Cut(id, outbound.AppliedState{Index: 1})
		_, err := s.Flush(t.Context(), id)
		want := "shard_corrupt"
		if int(id) >= duckdb.ReopeningsMax {
			want = "storage_failed"
		}
		if err == nil || fault.From(err).Code() != want {
			t.Fatalf("flush %d: %v, want %s", id, err, want)
		}
	}
	if _, _, err := totals(t, s, shards-1); err != nil {
		t.Errorf("what is in memory alone: %v", err)
	}
	if reported.count(0) != 1 || reported.count(shards-1) != 0 {
		t.Errorf("reported %v", reported.times)
	}
}

// TestFatalErrorBesideQueries has readers ask while DuckDB is started anew: none sees an error other than
// the damaged shard's, none a wrong answer.
func TestFatalErrorBesideQueries(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	open(t, s, 1)
	fill(t, s, 0, 3, 1000, 1)
	fill(t, s, 1, 300, 100_000, 1)
	stop(t, n)
	f := &failing{prefix: "COMMIT", message: fatalMessage}
	n.options = n.options.WithFault(f.fault)
	s = start(t, n)
	open(t, s, 0)
	open(t, s, 1)
	var readers sync.WaitGroup
	done := make(chan struct{})
	asked := make(chan struct{}, 3)
	for range cap(asked) {
		readers.Go(func() {
			for first := true; ; first = false {
				if count, sum, err := totals(t, s, 1); err != nil || count != 100_000 || sum != 100_000 {
					t.Errorf("count=%d sum=%v, %v", count, sum, err)
				}
				if first {
					asked <- struct{}{}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range cap(asked) {
		<-asked
	}
	s.Cut(0, outbound.AppliedState{Index: 2})
	f.left.Store(1)
	if _, err := s.Flush(t.Context(), 0); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("Flush: %v, want Corrupt", err)
	}
	close(done)
	readers.Wait()
}

// TestFatalQueryNamesItsShard has DuckDB fail over a query of several shards: begun anew file by file, it
// tells which one it was.
func TestFatalQueryNamesItsShard(t *testing.T) {
	var reported damages
	n := newNode(t, duckdb.Options{Damaged: reported.note})
	var armed atomic.Bool
	n.options = n.options.WithFault(func(statement string) string {
		if armed.Load() && strings.HasPrefix(statement, "SELECT") && strings.Contains(statement, " s1_1.hours") {
			return "INTERNAL Error: database has been invalidated because of a previous fatal error. The database must be restarted prior to being used again."
		}
		return ""
	})
	s := start(t, n)
	ids := []shard.ID{0, 1, 2}
	for _, id := range ids {
		open(t, s, id)
		fill(t, s, id, 3, 1000, 1)
	}
	armed.Store(true)
	if _, err := s.Partials(t.Context(), ids, everything(t)); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Partials: %v, want Corrupt", err)
	}
	armed.Store(false)
	if reported.count(1) != 1 || reported.count(0)+reported.count(2) != 0 {
		t.Fatalf("reported %v, want shard 1 alone", reported.times)
	}
	heal(t, s, 1)
	table, err := s.Partials(t.Context(), ids, everything(t))
	if err != nil || table.Groups[0].Cells[0].Partial.Count() != 3000 {
		t.Fatalf("after healing: %+v, %v", table, err)
	}
}

// TestLostWriteIsDamage has a checkpoint fail because the disk did not take it: what the file says then is
// not believed any more.
func TestLostWriteIsDamage(t *testing.T) {
	var reported damages
	n := newNode(t, duckdb.Options{Damaged: reported.note})
	f := &failing{
		prefix:  "FORCE CHECKPOINT s0_",
		message: `IO Error: Checkpoint failed for database "s0_1". The database has been invalidated. Original error: fsync failed!`,
	}
	n.options = n.options.WithFault(f.fault)
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 3, 1000, 1)
	s.Cut(0, outbound.AppliedState{Index: 2})
	f.left.Store(1)
	if _, err := s.Flush(t.Context(), 0); fault.KindOf(err) != fault.Corrupt || reported.count(0) != 1 {
		t.Fatalf("Flush: %v, reported %v, want Corrupt", err, reported.times)
	}
	heal(t, s, 0)
}
