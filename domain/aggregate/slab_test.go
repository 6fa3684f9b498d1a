package aggregate_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// TestGroupsKeepApart checks what shares memory with its neighbours: each group answers as it does alone, and
// whoever appends to a part of a table or of an answer changes no other part.
func TestGroupsKeepApart(t *testing.T) {
	window, err := aggregate.WindowOf(7)
	if err != nil {
		t.Fatal(err)
	}
	functions := []aggregate.Function{aggregate.Count, aggregate.Last, aggregate.Stddev, aggregate.Increase}
	rapid.Check(t, func(r *rapid.T) {
		spec := aggregate.QuerySpec{
			Range: mustRange(t, -40, 40), GroupBy: rapid.SampledFrom([][]string{nil, {"i"}, {"host"}, {"host", "i"}}).Draw(r, "by"),
			Detail: aggregate.DetailOf(functions, false),
		}
		if rapid.Bool().Draw(r, "windows") {
			spec.Window = window
		}
		q := mustQuery(r, spec)
		table := fold(r, q, anyTraces.Draw(r, "traces"))
		fill := rapid.SampledFrom([]aggregate.Fill{aggregate.FillNone, aggregate.FillNull, aggregate.FillZero, aggregate.FillPrevious}).Draw(r, "fill")
		finish := func(t aggregate.Table) aggregate.Answer {
			answer, err := aggregate.Finish(q, t, functions, fill)
			if err != nil {
				r.Skip(err) // a sum may overflow
			}
			return answer
		}
		answer := finish(table)
		cells, want := plain(table), lines(answer)

		var alone []string
		for _, g := range table.Groups {
			alone = append(alone, lines(finish(aggregate.Table{Groups: []aggregate.Group{g}}))...)
		}
		if diff := cmp.Diff(want, alone); len(table.Groups) > 0 && diff != "" {
			r.Fatalf("groups alone differ (-together +alone):\n%s", diff)
		}

		scribble(table, answer)
		if diff := cmp.Diff(cells, plain(table)); diff != "" {
			r.Fatalf("appending changed the table (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, lines(answer)); diff != "" {
			r.Fatalf("appending changed the answer (-want +got):\n%s", diff)
		}
	})
}

// scribble appends to everything that may be appended to.
func scribble(t aggregate.Table, a aggregate.Answer) {
	for _, g := range t.Groups {
		_ = append(g.Tags, "scribble")
		_ = append(g.Cells, aggregate.Cell{Start: -1})
	}
	values := func(v []aggregate.Value) { _ = append(v, aggregate.Value{Number: -1}) }
	for _, g := range a.Groups {
		_ = append(g.Tags, metric.Tag{Key: "scribble"})
		_ = append(g.Windows, aggregate.WindowValues{Start: -1})
		values(g.Values)
		for _, w := range g.Windows {
			values(w.Values)
		}
	}
}

// TestTablesInTheOrderOfTags checks that groups by several keys, in whatever order they come, are in the order
// of their tags.
func TestTablesInTheOrderOfTags(t *testing.T) {
	q := mustQuery(t, aggregate.QuerySpec{GroupBy: []string{"a", "b"}})
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.SampledFrom([]string{"", " ", "a", "a ", "aa", "b", "ř", "\U0010FFFF"})
		b := aggregate.NewBuilder(q)
		for range rapid.IntRange(0, 30).Draw(r, "groups") {
			h, err := b.Group([]string{value.Draw(r, "a"), value.Draw(r, "b")})
			if err == nil {
				err = h.Add(0, 1)
			}
			if err != nil {
				r.Fatal(err)
			}
		}
		groups := b.Table().Groups
		for i := 1; i < len(groups); i++ {
			if slices.Compare(groups[i-1].Tags, groups[i].Tags) >= 0 {
				r.Fatalf("%q is before %q", groups[i-1].Tags, groups[i].Tags)
			}
		}
	})
}
