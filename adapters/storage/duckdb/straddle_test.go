package duckdb_test

import (
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// TestFlushBetweenViewAndCache has a flush, and another question that leaves in the cache what the file has
// behind it, come between a question's view and its look into the cache. What was in the view's memory must
// not count again as a part of the file.
func TestFlushBetweenViewAndCache(t *testing.T) {
	const minute = 60_000_000
	var between func()
	options := duckdb.Options{CacheBytesMax: 1 << 20}.WithFault(func(statement string) string {
		if do := between; do != nil && strings.Contains(statement, ".hours") {
			between = nil
			do()
		}
		return ""
	})
	s := start(t, newNode(t, options))
	open(t, s, 0)
	add := func(samples int, first, step int64) {
		c := outbound.Columns{Keys: []string{"m"}}
		for i := range samples {
			c.Series, c.Timestamps, c.Values = append(c.Series, 0), append(c.Timestamps, first+int64(i)*step), append(c.Values, 1)
		}
		if err := s.Append(t.Context(), 0, c); err != nil {
			t.Fatal(err)
		}
	}
	flush := func(index uint64) {
		s.Cut(0, outbound.AppliedState{Index: index})
		if _, err := s.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	from := metric.Timestamp(5 * minute)
	since, err := aggregate.NewRange(&from, nil)
	if err != nil {
		t.Fatal(err)
	}
	positive, err := aggregate.NewWhere(aggregate.Greater, 0)
	if err != nil {
		t.Fatal(err)
	}
	count := func(spec aggregate.QuerySpec) (n uint64) {
		if spec.Metric, err = metric.NewName("m"); err != nil {
			t.Fatal(err)
		}
		q, err := aggregate.NewQuery(spec)
		if err != nil {
			t.Fatal(err)
		}
		table, err := s.Partials(t.Context(), []shard.ID{0}, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range table.Groups {
			for _, c := range g.Cells {
				n += c.Partial.Count()
			}
		}
		return n
	}
	// Answered from columns, which are kept from the second time on, and not from hours.
	columns := aggregate.QuerySpec{Where: positive, Window: window(t, "7m")}

	add(20, 0, 10*minute)
	flush(1)
	for range 2 {
		if n := count(columns); n != 20 {
			t.Fatalf("%d samples, want 20", n)
		}
	}
	add(10, 6*minute, minute)
	between = func() {
		flush(2)
		if n := count(columns); n != 30 {
			t.Errorf("%d samples after the flush, want 30", n)
		}
	}
	if n := count(aggregate.QuerySpec{Range: since}); n != 29 {
		t.Errorf("%d samples, want 29: 19 of the file and 10 of memory", n)
	}
	if between != nil {
		t.Error("no flush came between")
	}
}
