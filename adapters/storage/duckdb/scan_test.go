package duckdb

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func scanQuery(t interface{ Fatal(args ...any) }, spec aggregate.QuerySpec) (aggregate.Query, metric.Series) {
	series, err := metric.ParseSeriesKey("m")
	if err != nil {
		t.Fatal(err)
	}
	spec.Metric = series.Name()
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		t.Fatal(err)
	}
	return q, series
}

// TestScanStops looks at the context between steps of one column.
func TestScanStops(t *testing.T) {
	q, series := scanQuery(t, aggregate.QuerySpec{})
	b := aggregate.NewBuilder(q)
	fold, err := b.Fold(series)
	if err != nil {
		t.Fatal(err)
	}
	times := make([]int64, 2*stepMax)
	for i := range times {
		times[i] = int64(i)
	}
	c := warm.NewColumn(times, make([]float64, len(times)))
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client went away")
	cancel(gone)
	if err := newScanner(q, b, false).addColumn(ctx, fold, &c, 0, c.Len()); !errors.Is(err, gone) {
		t.Errorf("err=%v, want %v", err, gone)
	}
}

// TestScanOverlays compares stored columns and samples in memory, in any relation to each other, with one
// list of all samples, by details that tell every order apart.
func TestScanOverlays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, series := scanQuery(t, aggregate.QuerySpec{Detail: aggregate.DetailEnds | aggregate.DetailSteps})
		points := func(label string) []memtable.Point {
			drawn := rapid.SliceOfN(rapid.Int64Range(0, 20), 0, 12).Draw(t, label)
			slices.Sort(drawn)
			var all []memtable.Point
			for _, at := range drawn {
				all = append(all, memtable.Point{At: at, Value: float64(rapid.IntRange(0, 3).Draw(t, "value"))})
			}
			return all
		}
		stored, recent := points("stored"), points("recent")
		var effects []memtable.Effect
		if rapid.Bool().Draw(t, "replacing") {
			all := make([]memtable.Effect, len(recent))
			for i := range all {
				all[i] = memtable.Effect(rapid.IntRange(0, int(memtable.Replaces)).Draw(t, "effect"))
			}
			recent, effects = memtable.Resolve(recent, all)
		}
		want := aggregate.NewBuilder(q)
		fold, err := want.Fold(series)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range memtable.Overlay(nil, stored, recent, effects) {
			if err := fold.Add(metric.Timestamp(p.At), p.Value); err != nil {
				t.Fatal(err)
			}
		}

		got := aggregate.NewBuilder(q)
		s := newScanner(q, got, true)
		s.recent, s.effects = recent, effects
		if fold, err = got.Fold(series); err != nil {
			t.Fatal(err)
		}
		cut := rapid.IntRange(0, len(stored)).Draw(t, "cut")
		for cut > 0 && cut < len(stored) && stored[cut].At == stored[cut-1].At {
			cut++ // Samples of one time lie in one column.
		}
		for _, piece := range [][]memtable.Point{stored[:cut], stored[cut:]} {
			var times []int64
			var values []float64
			for _, p := range piece {
				times, values = append(times, p.At), append(values, p.Value)
			}
			c := warm.NewColumn(times, values)
			if err := s.window(t.Context(), fold, []span{{from: 0, to: 30}}, &c, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.addPoints(fold, s.recent); err != nil {
			t.Fatal(err)
		}
		a, b := got.Table(), want.Table()
		if len(a.Groups) != len(b.Groups) {
			t.Fatalf("%d groups, want %d", len(a.Groups), len(b.Groups))
		}
		if len(a.Groups) == 0 {
			return
		}
		x, y := a.Groups[0].Cells[0].Partial, b.Groups[0].Cells[0].Partial
		if x.Parts() != y.Parts() || *x.Details().Ends != *y.Details().Ends || *x.Details().Steps != *y.Details().Steps {
			t.Fatalf("%+v %+v, want %+v %+v", x.Parts(), x.Details().Ends, y.Parts(), y.Details().Ends)
		}
	})
}
