package memtable_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// one returns columns with points of a single series.
func one(key string, points ...memtable.Point) outbound.Columns {
	c := outbound.Columns{Keys: []string{key}}
	for _, p := range points {
		c.Series = append(c.Series, 0)
		c.Timestamps = append(c.Timestamps, p.At)
		c.Values = append(c.Values, p.Value)
	}
	return c
}

func mustAppend(t *testing.T, table *memtable.Table, c outbound.Columns) {
	t.Helper()
	if err := table.Append(c); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

func mustName(tb testing.TB, text string) metric.Name {
	tb.Helper()
	name, err := metric.NewName(text)
	if err != nil {
		tb.Fatal(err)
	}
	return name
}

func mustQuery(tb testing.TB, spec aggregate.QuerySpec) aggregate.Query {
	tb.Helper()
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// counts returns the number of samples that a view of the whole metric holds, and their sum.
func counts(t *testing.T, v *memtable.View, q aggregate.Query) (count uint64, sum float64) {
	t.Helper()
	b := aggregate.NewBuilder(q)
	if err := v.AddTo(t.Context(), b); err != nil {
		t.Fatalf("AddTo: %v", err)
	}
	for _, g := range b.Table().Groups {
		for _, c := range g.Cells {
			s, err := c.Partial.Sum()
			if err != nil {
				t.Fatal(err)
			}
			count += c.Partial.Count()
			sum += s
		}
	}
	return count, sum
}

func TestViewIsOneInstant(t *testing.T) {
	table := memtable.New(7, 0)
	q := mustQuery(t, aggregate.QuerySpec{Metric: mustName(t, "cpu")})
	mustAppend(t, table, one("cpu", memtable.Point{At: 1, Value: 1}, memtable.Point{At: 2, Value: 2}))
	before := table.View(q)
	for i := range 1000 {
		mustAppend(t, table, one("cpu", memtable.Point{At: int64(i % 10), Value: 1}))
	}
	frozen := table.Freeze()
	mustAppend(t, table, one("cpu", memtable.Point{At: 5, Value: 5}))
	both := table.View(q)
	table.Drop(8)
	after := table.View(q)

	if !frozen {
		t.Fatal("Freeze found nothing to freeze")
	}
	for _, c := range []struct {
		name    string
		view    *memtable.View
		count   uint64
		sum     float64
		durable uint64
	}{
		{"before", before, 2, 3, 7},
		{"active and frozen", both, 1003, 1008, 7},
		{"dropped", after, 1, 5, 8},
	} {
		count, sum := counts(t, c.view, q)
		if count != c.count || sum != c.sum || c.view.Durable() != c.durable {
			t.Errorf("%s: count=%d sum=%v durable=%d, want %d %v %d", c.name, count, sum, c.view.Durable(), c.count, c.sum, c.durable)
		}
	}
}

func TestFreezeWithoutNewsIsNoFreeze(t *testing.T) {
	table := memtable.New(0, 0)
	if table.Freeze() {
		t.Error("an empty table froze")
	}
	mustAppend(t, table, outbound.Columns{Keys: []string{"a"}})
	if !table.Freeze() {
		t.Error("a new series without samples did not freeze")
	}
	if table.Freeze() {
		t.Error("a second freeze found something")
	}
	gens := table.Frozen()
	if len(gens) != 1 || gens[0].Samples() != 0 || gens[0].Series().Len() != 1 {
		t.Errorf("Frozen()=%v, want one generation with one series and no sample", gens)
	}
}

func TestEachSeriesSortsByMetricSeriesTime(t *testing.T) {
	table := memtable.New(0, 0)
	mustAppend(t, table, one(`b{h="1"}`, memtable.Point{At: 3, Value: 1}, memtable.Point{At: 1, Value: 2}))
	mustAppend(t, table, one("a", memtable.Point{At: 9, Value: 3}))
	table.Freeze()
	mustAppend(t, table, one(`b{h="2"}`, memtable.Point{At: 4, Value: 4}))
	mustAppend(t, table, one(`b{h="1"}`, memtable.Point{At: 1, Value: 5}, memtable.Point{At: 3, Value: 6}))
	table.Freeze()

	var got []string
	err := memtable.EachSeries(table.Frozen(), func(id catalogue.SeriesID, points []memtable.Point) error {
		series, m := table.Series().At(id)
		got = append(got, fmt.Sprintf("%d %d %s %v", m, id, series.Key(), points))
		return nil
	})
	want := []string{
		`0 0 b{h="1"} [{1 2} {1 5} {3 1} {3 6}]`,
		`0 2 b{h="2"} [{4 4}]`,
		`1 1 a [{9 3}]`,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("err=%v (-want +got):\n%s", err, diff)
	}
}

func TestSeriesLimitChangesNothing(t *testing.T) {
	table := memtable.New(0, 2)
	mustAppend(t, table, one("a", memtable.Point{At: 1, Value: 1}))
	err := table.Append(outbound.Columns{
		Keys: []string{"a", "b", "c"}, Series: []uint32{0, 1, 2}, Timestamps: []int64{2, 2, 2}, Values: []float64{1, 1, 1},
	})
	if f := fault.From(err); f.Kind() != fault.Unprocessable || f.Code() != "series_limit" {
		t.Fatalf("err=%v, want series_limit", err)
	}
	q := mustQuery(t, aggregate.QuerySpec{Metric: mustName(t, "a")})
	if count, _ := counts(t, table.View(q), q); count != 1 || table.Series().Len() != 1 {
		t.Errorf("count=%d series=%d after a refused append, want 1 and 1", count, table.Series().Len())
	}
	mustAppend(t, table, one("b", memtable.Point{At: 1, Value: 1}))
}

func TestLatestSurvivesDrop(t *testing.T) {
	table := memtable.New(0, 0)
	mustAppend(t, table, one(`m{x="1"}`, memtable.Point{At: 5, Value: 1}, memtable.Point{At: 5, Value: 2}))
	mustAppend(t, table, one(`m{x="0"}`, memtable.Point{At: 5, Value: 3}))
	table.Freeze()
	table.Drop(1)
	mustAppend(t, table, one(`m{x="1"}`, memtable.Point{At: 4, Value: 9}))
	s, ok, err := table.Latest(mustName(t, "m"), metric.Matchers{})
	if err != nil || !ok || s.Series().Key() != `m{x="1"}` || s.Timestamp() != 5 || s.Value() != 2 {
		t.Errorf("Latest=%v %v %v, want the last sample at 5 of the greater key", s, ok, err)
	}
	if _, ok, _ := table.Latest(mustName(t, "none"), metric.Matchers{}); ok {
		t.Error("a metric without series has a latest sample")
	}
}

func TestUsageFollowsGenerations(t *testing.T) {
	table := memtable.New(0, 0)
	for i := range 10_000 {
		mustAppend(t, table, one("m", memtable.Point{At: int64(i), Value: 1}))
	}
	active := table.Usage()
	if active.Active < 160_000 || active.Active > 170_000 || active.Sealed != 0 {
		t.Errorf("usage of 10,000 samples is %+v, want 160,000 to 170,000 bytes active", active)
	}
	table.Freeze()
	if got := table.Usage(); got.Active != 0 || got.Sealed != active.Active {
		t.Errorf("usage after freeze is %+v, want %d sealed", got, active.Active)
	}
	merged := memtable.Merge(table.Frozen())
	table.Keep(merged)
	if got := table.Usage(); got.Sealed != merged.Bytes() || merged.Samples() != 10_000 || len(table.Frozen()) != 0 {
		t.Errorf("usage after keep is %+v of %d samples, want %d sealed", got, merged.Samples(), merged.Bytes())
	}
	table.Drop(1)
	if got := table.Usage(); got != (memtable.Usage{Catalogue: active.Catalogue}) || got.Catalogue == 0 {
		t.Errorf("usage after drop is %+v, want the catalogue's only", got)
	}
}
