package memtable_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func replacing(c outbound.Columns) outbound.Columns {
	c.Replace = true
	return c
}

// resolvedOf returns what a flush of generations would get, as text.
func resolvedOf(t *testing.T, generations []*memtable.Generation) (lines []string) {
	t.Helper()
	err := memtable.EachResolved(generations, func(id catalogue.SeriesID, points []memtable.Point, effects []memtable.Effect) error {
		lines = append(lines, fmt.Sprintf("%d %v %d", id, points, effects))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestReplacingIsLeftForTheFile has rows of earlier generations in a file that the table does not see.
func TestReplacingIsLeftForTheFile(t *testing.T) {
	table := memtable.New(7, 0)
	if err := table.Define([]string{"m"}); err != nil {
		t.Fatal(err)
	}
	table.Observe(0, memtable.Point{At: 20, Value: 1})
	q := mustQuery(t, aggregate.QuerySpec{Metric: mustName(t, "m")})
	mustAppend(t, table, replacing(one("m", memtable.Point{At: 20, Value: 1}, memtable.Point{At: 30, Value: 1}, memtable.Point{At: 30, Value: 1})))
	if got := table.View(q).Replacing(); got != nil {
		t.Errorf("samples in order, or equal to the newest, replace in %v", got)
	}
	mustAppend(t, table, replacing(one("m", memtable.Point{At: 10, Value: 5})))
	mustAppend(t, table, one("m", memtable.Point{At: 15, Value: 5}))
	mustAppend(t, table, replacing(one("m", memtable.Point{At: 15, Value: 6}, memtable.Point{At: 20, Value: 2})))
	v := table.View(q)
	var scratch memtable.Points
	points, effects := v.Points(0, &scratch)
	want := "[{10 5} {15 6} {20 2} {30 1}] [1 2 1 0]"
	if got := fmt.Sprintf("%v %d", points, effects); got != want || len(v.Replacing()) != 1 {
		t.Errorf("Points=%s replacing in %v, want %s in one", got, v.Replacing(), want)
	}
	table.Freeze()
	wantLines(t, "flushed", resolvedOf(t, table.Frozen()), "0 "+want)
	early := mustQuery(t, aggregate.QuerySpec{Metric: mustName(t, "m"), Range: mustRange(t, 25, 100)})
	if got := table.View(early).Replacing(); got != nil {
		t.Errorf("outside the span samples replace in %v", got)
	}
}

func mustRange(t *testing.T, from, to metric.Timestamp) aggregate.Range {
	t.Helper()
	r, err := aggregate.NewRange(&from, &to)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRemovalAsksForTheFile deletes the newest of a series whose older rows are in a file.
func TestRemovalAsksForTheFile(t *testing.T) {
	table := memtable.New(7, 0)
	if err := table.Define([]string{`m{h="a"}`, `m{h="b"}`, `m{h="c"}`}); err != nil {
		t.Fatal(err)
	}
	for id, at := range []int64{50, 60, 5} {
		table.Observe(catalogue.SeriesID(id), memtable.Point{At: at, Value: float64(at)})
	}
	mustAppend(t, table, one(`m{h="a"}`, memtable.Point{At: 8, Value: 80}))
	name := mustName(t, "m")
	first := table.PlanRemoval(outbound.Deletion{Metric: name, Range: mustRange(t, 10, 100)})
	from, to := first.Span()
	if got := first.Unsettled(); !slices.Equal(got, []catalogue.SeriesID{0, 1}) || !first.Existed() ||
		to != 9 || from != int64(metric.TimestampMin) || first.Durable() != 7 || len(first.Tombstones()) != 0 {
		t.Fatalf("unsettled %v from %d to %d up to %d", got, from, to, first.Durable())
	}
	first.Observe(0, memtable.Point{At: 8, Value: 70}) // Earlier in the log than the one in memory.
	first.Observe(1, memtable.Point{At: 9, Value: 90})
	first.Observe(2, memtable.Point{At: 1, Value: 10}) // It was not asked for.
	table.Remove(first)
	latest := func(want string) {
		t.Helper()
		s, ok, err := table.Latest(name, metric.Matchers{})
		got := "none"
		if ok {
			got = fmt.Sprint(s.Series().Key(), int64(s.Timestamp()), s.Value())
		}
		if err != nil || got != want {
			t.Errorf("Latest=%s, %v, want %s", got, err, want)
		}
	}
	latest(`m{h="b"}9 90`)
	second := table.PlanRemoval(outbound.Deletion{Metric: name, Range: mustRange(t, 9, 9)})
	if got := second.Unsettled(); !slices.Equal(got, []catalogue.SeriesID{1}) || len(second.Tombstones()) != 1 {
		t.Fatalf("unsettled %v beside %v", got, second.Tombstones())
	}
	table.Remove(second)
	latest(`m{h="a"}8 80`)
	all := table.PlanRemoval(outbound.Deletion{Metric: name, Range: aggregate.Everything()})
	if all.Unsettled() != nil || !all.Existed() {
		t.Errorf("after a deletion of everything nothing is left to be looked up: %v", all.Unsettled())
	}
	table.Remove(all)
	latest("none")
	q := mustQuery(t, aggregate.QuerySpec{Metric: name})
	v := table.View(q)
	if _, known := v.Metric(); known || len(v.Tombstones()) != 3 || len(v.InMemory()) > 1 {
		t.Errorf("after all known=%v with %v", known, v.Tombstones())
	}
	if again := table.PlanRemoval(outbound.Deletion{Metric: name, Range: aggregate.Everything()}); again.Existed() {
		t.Error("a metric without samples existed")
	}
	mustAppend(t, table, one(`m{h="c"}`, memtable.Point{At: 3, Value: 30}))
	latest(`m{h="c"}3 30`)
}

// TestDeletionsFollowTheCut flushes between deletions: one that came after the cut is not in it.
func TestDeletionsFollowTheCut(t *testing.T) {
	table := memtable.New(7, 0)
	name := mustName(t, "m")
	q := mustQuery(t, aggregate.QuerySpec{Metric: name})
	remove := func(from, to metric.Timestamp) {
		table.Remove(table.PlanRemoval(outbound.Deletion{Metric: name, Range: mustRange(t, from, to)}))
	}
	mustAppend(t, table, one("m", memtable.Point{At: 1, Value: 1}, memtable.Point{At: 2, Value: 2}))
	remove(1, 1)
	if frozen := table.Frozen(); len(frozen) != 0 {
		t.Errorf("%d generations are frozen without a cut", len(frozen))
	}
	if active := table.Usage().Active; active < 1<<10 {
		t.Errorf("%d bytes are to be frozen, want the deletion to count", active)
	}
	mustAppend(t, table, one("m", memtable.Point{At: 1, Value: 3}, memtable.Point{At: 4, Value: 4}))
	if !table.Freeze() {
		t.Fatal("nothing to freeze")
	}
	remove(2, 3)
	frozen := table.Frozen()
	last := frozen[len(frozen)-1].Last()
	if dead := memtable.Tombstones(frozen); len(dead) != 1 || dead[0].From != 1 || dead[0].Generation != 8 || last != 9 {
		t.Errorf("deletions of the cut up to %d are %v, want the first", last, dead)
	}
	wantLines(t, "flushed", resolvedOf(t, frozen), "0 [{1 3} {2 2} {4 4}] []")
	if count, sum := counts(t, table.View(q), q); count != 2 || sum != 7 {
		t.Errorf("count=%d sum=%v beside the flush, want 2 and 7", count, sum)
	}
	table.Drop(last)
	if dead := table.View(q).Tombstones(); len(dead) != 1 || dead[0].From != 2 {
		t.Errorf("deletions that the file does not know are %v, want the second", dead)
	}
	if !table.Freeze() {
		t.Fatal("a deletion alone is nothing to freeze")
	}
	table.Drop(table.Frozen()[0].Last())
	if dead := table.View(q).Tombstones(); len(dead) != 0 || table.Freeze() {
		t.Errorf("after all is flushed there are %v", dead)
	}
}

func TestCutoffsFreezeAndStand(t *testing.T) {
	table := memtable.New(7, 0)
	name := mustName(t, "m")
	q := mustQuery(t, aggregate.QuerySpec{Metric: name})
	mustAppend(t, table, one("m", memtable.Point{At: 1, Value: 1}, memtable.Point{At: 9, Value: 2}))
	mustAppend(t, table, one("old", memtable.Point{At: 1, Value: 1}))
	table.Freeze()
	table.Retain(metric.Cutoffs{Default: 5})
	if before := table.Frozen()[0].Retention(); !before.IsZero() {
		t.Errorf("a cut has the cut-offs %v of later", before)
	}
	wantLines(t, "flushed", resolvedOf(t, table.Frozen()), "0 [{1 1} {9 2}] []", "1 [{1 1}] []")
	mustAppend(t, table, one("m", memtable.Point{At: 4, Value: 3}, memtable.Point{At: 5, Value: 4}))
	v := table.View(q)
	if count, sum := counts(t, v, q); count != 2 || sum != 6 || table.Expired() != 1 {
		t.Errorf("count=%d sum=%v expired=%d, want 2, 6 and 1", count, sum, table.Expired())
	}
	if from, to := v.Span(); from != 5 || to != int64(metric.TimestampMax) {
		t.Errorf("Span=%d to %d, want 5 to the end", from, to)
	}
	if _, ok, _ := table.Latest(mustName(t, "old"), metric.Matchers{}); ok {
		t.Error("a series with expired samples only has a newest one")
	}
	table.Freeze()
	table.Drop(8)
	table.Retain(metric.Cutoffs{Default: 5})
	table.Freeze()
	frozen := table.Frozen()
	got := frozen[len(frozen)-1].Retention()
	if got.Of(name) != 5 {
		t.Errorf("the cut-off is %d, want 5", got.Of(name))
	}
	again := memtable.New(9, 0)
	decoded, err := memtable.DecodeRetention(got.Encode())
	if err != nil {
		t.Fatal(err)
	}
	again.RestoreRetention(decoded)
	mustAppend(t, again, one("m", memtable.Point{At: 4, Value: 3}))
	if again.Expired() != 1 || !again.Retention().Equal(got) {
		t.Errorf("after a restart %d samples are expired, want 1", again.Expired())
	}
}

// TestKeepForgets merges what a deletion left: nothing of it is to be remembered.
func TestKeepForgets(t *testing.T) {
	table := memtable.New(0, 0)
	name := mustName(t, "m")
	q := mustQuery(t, aggregate.QuerySpec{Metric: name})
	mustAppend(t, table, one("m", memtable.Point{At: 1, Value: 1}, memtable.Point{At: 2, Value: 2}))
	table.Freeze()
	first := memtable.Merge(table.Frozen())
	table.Keep(first)
	mustAppend(t, table, replacing(one("m", memtable.Point{At: 2, Value: 3})))
	table.Freeze()
	second := memtable.Merge(table.Frozen())
	table.Keep(second)
	if count, sum := counts(t, table.View(q), q); count != 2 || sum != 4 {
		t.Errorf("beside the first generation count=%d sum=%v, want 2 and 4", count, sum)
	}
	table.Remove(table.PlanRemoval(outbound.Deletion{Metric: name, Range: mustRange(t, 1, 1)}))
	table.Freeze()
	if count, sum := counts(t, table.View(q), q); count != 1 || sum != 3 || len(table.View(q).Tombstones()) != 1 {
		t.Errorf("after a deletion count=%d sum=%v, want 1 and 3", count, sum)
	}
	table.Keep(memtable.Merge(append([]*memtable.Generation{first, second}, table.Frozen()...)))
	if count, sum := counts(t, table.View(q), q); count != 1 || sum != 3 || len(table.View(q).Tombstones()) != 0 {
		t.Errorf("all in one count=%d sum=%v, want 1 and 3, and no deletion", count, sum)
	}
}
