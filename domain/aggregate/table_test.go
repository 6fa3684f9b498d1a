package aggregate_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// point is one sample of one group, an integer so that sums compare exactly.
type point struct {
	group string
	at    int64
	value int
}

var anyPoint = rapid.Custom(func(r *rapid.T) point {
	return point{
		group: rapid.SampledFrom([]string{"", "a", "b", "ř"}).Draw(r, "group"),
		at:    rapid.Int64Range(-50, 50).Draw(r, "at"),
		value: rapid.IntRange(-1000, 1000).Draw(r, "value"),
	}
})

func build(r *rapid.T, q aggregate.Query, points []point) aggregate.Table {
	b := aggregate.NewBuilder(q)
	for _, p := range points {
		h, err := b.Group([]string{p.group})
		if err != nil {
			r.Fatalf("Group: %v", err)
		}
		if err := h.Add(metric.Timestamp(p.at), float64(p.value)); err != nil {
			r.Fatalf("Add: %v", err)
		}
	}
	if len(points) > 0 {
		b.MarkKnown()
	}
	return b.Table()
}

// plain turns a table into something that cmp can look into.
func plain(t aggregate.Table) map[string]aggregate.Parts {
	m := map[string]aggregate.Parts{"known": {Count: map[bool]uint64{true: 1}[t.SeriesKnown]}}
	for _, g := range t.Groups {
		for _, c := range g.Cells {
			m[fmt.Sprint(g.Tags, c.Start)] = c.Partial.Parts()
		}
	}
	return m
}

func TestTablesInAnySplit(t *testing.T) {
	width, err := aggregate.WindowOf(7)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		spec := aggregate.QuerySpec{GroupBy: []string{"k"}}
		if rapid.Bool().Draw(r, "windows") {
			spec.Window = width
		}
		q := mustQuery(r, spec)
		points := rapid.SliceOf(anyPoint).Draw(r, "points")
		whole := build(r, q, points)

		merged := aggregate.NewBuilder(q)
		for rest := rapid.Permutation(points).Draw(r, "order"); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "part")
			if err := merged.Merge(build(r, q, rest[:n])); err != nil {
				r.Fatalf("Merge: %v", err)
			}
			rest = rest[n:]
		}
		table := merged.Table()
		if diff := cmp.Diff(plain(whole), plain(table)); diff != "" {
			r.Fatalf("merged parts differ from the whole (-whole +merged):\n%s", diff)
		}
		if !slices.IsSortedFunc(table.Groups, func(a, b aggregate.Group) int { return slices.Compare(a.Tags, b.Tags) }) {
			r.Fatalf("groups are not in order: %v", table.Groups)
		}
		for _, g := range table.Groups {
			for i, c := range g.Cells {
				if i > 0 && g.Cells[i-1].Start >= c.Start {
					r.Fatalf("cells are not in order: %v", g.Cells)
				}
			}
		}
	})
}

func TestBuilderLeavesEmptyOut(t *testing.T) {
	b := aggregate.NewBuilder(mustQuery(t, aggregate.QuerySpec{GroupBy: []string{"k"}}))
	if _, err := b.Group([]string{"no cell"}); err != nil {
		t.Fatal(err)
	}
	h, err := b.Group([]string{"no sample"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Cell(0); err != nil {
		t.Fatal(err)
	}
	if table := b.Table(); len(table.Groups) != 0 || table.SeriesKnown {
		t.Errorf("table=%+v, want nothing", table)
	}
}

func TestBuilderLimits(t *testing.T) {
	window, err := aggregate.WindowOf(1)
	if err != nil {
		t.Fatal(err)
	}
	q := mustQuery(t, aggregate.QuerySpec{GroupBy: []string{"k"}, Window: window})
	b := aggregate.NewBuilder(q)
	add := func(group, cells int) error {
		h, err := b.Group([]string{strconv.Itoa(group)})
		if err != nil {
			return err
		}
		for at := range cells {
			if err := h.Add(metric.Timestamp(at), 1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(0, aggregate.WindowsMax); err != nil {
		t.Fatalf("%d windows: %v", aggregate.WindowsMax, err)
	}
	if err := add(0, aggregate.WindowsMax+1); !errors.Is(err, aggregate.ErrTooManyWindows) {
		t.Errorf("one window too many: %v", err)
	}
	for g := 1; g < aggregate.GroupsMax; g++ {
		if err := add(g, 98); err != nil {
			t.Fatalf("group %d: %v", g, err)
		}
	}
	if err := add(aggregate.GroupsMax, 1); !errors.Is(err, aggregate.ErrTooManyGroups) {
		t.Errorf("one group too many: %v", err)
	}
	left := aggregate.CellsMax - aggregate.WindowsMax - 98*(aggregate.GroupsMax-1)
	if err := add(1, 98+left); err != nil {
		t.Errorf("%d cells: %v", aggregate.CellsMax, err)
	}
	if err := add(2, 99); !errors.Is(err, aggregate.ErrTooManyCells) {
		t.Errorf("one cell too many: %v", err)
	}
	full := b.Table()
	if err := aggregate.NewBuilder(q).Merge(full); err != nil {
		t.Errorf("merging a full table: %v", err)
	}
	again := aggregate.NewBuilder(q)
	other := aggregate.Table{Groups: []aggregate.Group{{Tags: []string{"other"}, Cells: full.Groups[0].Cells[:1]}}}
	if err := errors.Join(again.Merge(full), again.Merge(other)); !errors.Is(err, aggregate.ErrTooManyGroups) {
		t.Errorf("merging one group too many: %v", err)
	}
	wide := aggregate.NewBuilder(q)
	late := full.Groups[0].Cells[0]
	late.Start = -1
	err = errors.Join(wide.Merge(full), wide.Merge(aggregate.Table{
		Groups: []aggregate.Group{{Tags: []string{"0"}, Cells: []aggregate.Cell{late}}},
	}))
	if !errors.Is(err, aggregate.ErrTooManyWindows) {
		t.Errorf("merging one window too many: %v", err)
	}
}
