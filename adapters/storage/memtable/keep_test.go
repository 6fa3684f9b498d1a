package memtable_test

import (
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
)

// TestKeepReplaces merges neighbouring generations step by step; nothing may be lost or read twice.
func TestKeepReplaces(t *testing.T) {
	table := memtable.New(0, 0)
	q := mustQuery(t, aggregate.QuerySpec{Metric: mustName(t, "cpu")})
	for i := range 6 {
		mustAppend(t, table, one("cpu", memtable.Point{At: int64(10 - i), Value: float64(i)}))
		if i < 5 {
			table.Freeze()
		}
	}
	generations := table.Frozen()
	if len(generations) != 5 {
		t.Fatalf("%d frozen generations, want 5", len(generations))
	}
	check := func(step string, frozen int, durable uint64) {
		t.Helper()
		v := table.View(q)
		count, sum := counts(t, v, q)
		if count != 6 || sum != 15 || v.Durable() != durable || len(table.Frozen()) != frozen {
			t.Errorf("%s: count=%d sum=%v durable=%d frozen=%d, want 6 15 %d %d",
				step, count, sum, v.Durable(), len(table.Frozen()), durable, frozen)
		}
	}
	check("nothing kept", 5, 0)
	first := memtable.Merge(generations[:1])
	table.Keep(first)
	check("the first kept", 4, 1)
	middle := memtable.Merge(generations[1:3])
	if middle.First() != 2 || middle.Last() != 3 || middle.Samples() != 2 {
		t.Errorf("merged generations %d to %d hold %d samples, want 2 to 3 with 2", middle.First(), middle.Last(), middle.Samples())
	}
	table.Keep(middle)
	check("two more kept", 2, 3)
	table.Keep(memtable.Merge([]*memtable.Generation{first, middle}))
	check("kept ones merged", 2, 3)
	table.Keep(memtable.Merge(generations))
	check("all in one", 0, 5)
	old := table.View(q)
	table.Drop(5)
	if count, _ := counts(t, table.View(q), q); count != 1 {
		t.Errorf("%d samples after the drop, want 1", count)
	}
	if count, _ := counts(t, old, q); count != 6 {
		t.Errorf("%d samples in a view from before the drop, want 6", count)
	}
}
