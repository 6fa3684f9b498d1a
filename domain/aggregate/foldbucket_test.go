package aggregate

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// TestBucketsEqualSamples adds the same samples one by one and as buckets, where those tell enough, or
// as columns of one window, under random conditions and spans.
func TestBucketsEqualSamples(t *testing.T) {
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	series, err := metric.ParseSeriesKey("m")
	if err != nil {
		t.Fatal(err)
	}
	enough := 0
	rapid.Check(t, func(t *rapid.T) {
		spec := QuerySpec{Metric: name, Window: Window{width: 10}}
		value := rapid.Map(rapid.IntRange(-3, 12), func(n int) float64 { return float64(n) })
		if op := Comparison(rapid.IntRange(0, int(NotEqual)).Draw(t, "op")); op != 0 {
			spec.Where, _ = NewWhere(op, value.Draw(t, "than"))
		}
		if rapid.Bool().Draw(t, "narrow") {
			edges := rapid.SliceOfNDistinct(value, 4, 4, rapid.ID).Draw(t, "edges")
			slices.Sort(edges)
			scale := Scale(rapid.IntRange(0, int(Ordinal)).Draw(t, "scale"))
			first := Span{Low: edges[0], High: edges[1]}
			if scale != Values {
				first = first.Binned(3, scale)
			}
			plan, err := NewNarrowing([]PlannedCell{{Tags: []string{}, Start: spec.Window.Start(0), Spans: []Span{first, {Low: edges[2], High: edges[3]}}}})
			if err != nil {
				t.Fatal(err)
			}
			spec.Narrowing, spec.Detail = plan, DetailNarrow
		}
		q, err := NewQuery(spec)
		if err != nil {
			t.Fatal(err)
		}
		one, many := NewBuilder(q), NewBuilder(q)
		buckets := rapid.SliceOfN(rapid.SliceOfN(value, 1, 6), 1, 8).Draw(t, "buckets")
		add := func(b *Builder, bucketwise bool) {
			fold, err := b.Fold(series)
			if err != nil {
				t.Fatal(err)
			}
			for i, values := range buckets {
				at := metric.Timestamp(i / 4 * 10) // four buckets a window
				if bucketwise {
					var p Partial
					p.AddAll(values)
					done, err := fold.AddBucket(at, p)
					if err == nil && !done {
						err = fold.AddWithin(at, values)
					} else if done {
						enough++
					}
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				for _, v := range values {
					if err := fold.Add(at, v); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		add(one, false)
		add(many, true)
		a, b := one.Table(), many.Table()
		if len(a.Groups) != len(b.Groups) {
			t.Fatalf("%d groups, want %d", len(b.Groups), len(a.Groups))
		}
		for i := range a.Groups {
			if !slices.EqualFunc(a.Groups[i].Cells, b.Groups[i].Cells, equalCells) {
				t.Fatalf("got %+v, want %+v", b.Groups[i].Cells, a.Groups[i].Cells)
			}
		}
	})
	if enough == 0 {
		t.Error("no bucket told enough")
	}
}

func equalCells(a, b Cell) bool {
	x, y := a.Partial.Details().Spans, b.Partial.Details().Spans
	return a.Start == b.Start && a.Partial.Parts() == b.Partial.Parts() && slices.EqualFunc(x, y, func(p, q SpanCount) bool {
		byValue := cmp.Compare[float64]
		return p.Below == q.Below && p.Inside == q.Inside && slices.Equal(p.Bins, q.Bins) &&
			slices.Equal(slices.SortedFunc(slices.Values(p.Values), byValue), slices.SortedFunc(slices.Values(q.Values), byValue))
	})
}
