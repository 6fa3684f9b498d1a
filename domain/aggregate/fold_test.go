package aggregate_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// TestSpreadKeepsItsDigits checks deviations that are tiny beside the values, and values whose squares
// leave float64's range, merged in parts.
func TestSpreadKeepsItsDigits(t *testing.T) {
	for _, c := range []struct {
		name          string
		offset, width float64
	}{
		{"plain", 0, 1},
		{"far from zero", 1e9, 1e-3},
		{"farther", 1 << 40, 8},
		{"huge", 0, 1e300},
		{"tiny", 0, 1e-200},
		{"between the classes", 0, 0x1p-400},
		{"large class", 0, 0x1p401},
	} {
		t.Run(c.name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				rnd := rand.New(rand.NewPCG(7, rapid.Uint64().Draw(r, "seed")))
				all := []trace{{series: seriesOf(r, "a", 0)}, {series: seriesOf(r, "b", 1)}}
				var values []float64
				for i := range rapid.IntRange(2, 300).Draw(r, "n") {
					v := c.offset + c.width*(2*rnd.Float64()-1)
					values = append(values, v)
					one := &all[i%2]
					one.times, one.values = append(one.times, int64(i)), append(one.values, v)
				}
				question := aggregate.Question{Query: mustQuery(r, aggregate.QuerySpec{}), Functions: []aggregate.Function{aggregate.Stddev}}
				answer, _, err := ask(r, question, &all, func() {})
				if err != nil {
					r.Fatal(err)
				}
				got, want := answer.Groups[0].Values[0].Number, naiveDeviation(values)
				// What twice the precision of float64 leaves of the variance beside the mean square.
				far := math.Abs(c.offset/want) + 1
				if math.Abs(got/want-1) > 1e-14+float64(len(values))*0x1p-104*far*far {
					r.Fatalf("stddev=%v, want %v", got, want)
				}
			})
		})
	}
}

func TestStepsThatOverflow(t *testing.T) {
	huge := math.MaxFloat64
	q := mustQuery(t, aggregate.QuerySpec{Detail: aggregate.DetailSteps})
	b := aggregate.NewBuilder(q)
	f := mustFold(t, b, 0)
	for i, v := range []float64{-huge, huge} {
		if err := f.Add(metric.Timestamp(i), v); err != nil {
			t.Fatal(err)
		}
	}
	_, err := aggregate.Finish(q, b.Table(), []aggregate.Function{aggregate.Delta}, aggregate.FillNone)
	if !errors.Is(err, aggregate.ErrOverflow) {
		t.Errorf("delta from -max to max: %v, want ErrOverflow", err)
	}
}

func mustFold(tb testing.TB, b *aggregate.Builder, i int) *aggregate.Fold {
	tb.Helper()
	f, err := b.Fold(seriesOf(tb, "h"+strconv.Itoa(i), i))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestFoldLimits(t *testing.T) {
	t.Run("samples", func(t *testing.T) {
		for _, all := range []bool{false, true} {
			b := aggregate.NewBuilder(mustQuery(t, aggregate.QuerySpec{}))
			aggregate.LeaveSamples(b, 3)
			var err error
			if f := mustFold(t, b, 0); all {
				err = f.AddAll([]int64{1, 2, 3, 4}, []float64{1, 2, 3, 4})
			} else {
				for i := range 4 {
					if err != nil {
						t.Fatalf("after %d samples: %v", i, err)
					}
					err = f.Add(metric.Timestamp(i), 1)
				}
			}
			if !errors.Is(err, aggregate.ErrTooManySamples) {
				t.Errorf("4 of at most 3 samples: %v", err)
			}
		}
	})
	t.Run("samples of branches", func(t *testing.T) {
		b := aggregate.NewBuilder(mustQuery(t, aggregate.QuerySpec{}))
		aggregate.LeaveSamples(b, 5)
		for i, want := range []error{nil, aggregate.ErrTooManySamples} {
			branch := b.Branch()
			if err := mustFold(t, branch, i).AddAll([]int64{1, 2, 3}, []float64{1, 2, 3}); want == nil && err != nil {
				t.Fatal(err)
			}
			if err := b.Absorb(branch); !errors.Is(err, want) {
				t.Errorf("after %d samples of at most 5: %v, want %v", 3*(i+1), err, want)
			}
		}
		if table := b.Table(); len(table.Groups) != 1 || table.Groups[0].Cells[0].Partial.Count() != 3 {
			t.Errorf("%+v: want what the first branch found", table)
		}
	})
	t.Run("held", func(t *testing.T) {
		q := mustQuery(t, aggregate.QuerySpec{GroupBy: []string{"host"}, Detail: aggregate.DetailSketch})
		b := aggregate.NewBuilder(q)
		aggregate.LeaveRoom(b, 200)
		var err error
		for i := 0; err == nil && i < 10; i++ {
			var f *aggregate.Fold
			if f, err = b.Fold(seriesOf(t, strconv.Itoa(i), i)); err == nil {
				err = f.Add(0, 1)
			}
		}
		if !errors.Is(err, aggregate.ErrTooManyHeld) {
			t.Errorf("sketches beyond the limit: %v", err)
		}
	})
}

// TestDetailsThatStorageForgot checks that a missing detail is noticed rather than answered.
func TestDetailsThatStorageForgot(t *testing.T) {
	q := mustQuery(t, aggregate.QuerySpec{Detail: aggregate.DetailEnds})
	b := aggregate.NewBuilder(q)
	h, err := b.Group(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Add(1, 1); err != nil {
		t.Fatal(err)
	}
	if err := mustFold(t, b, 0).Add(2, 2); !errors.Is(err, aggregate.ErrNoDetail) {
		t.Errorf("a fold over samples without details: %v", err)
	}
	for _, f := range []aggregate.Function{aggregate.First, aggregate.Stddev, aggregate.Rate, p(50)} {
		if _, err := aggregate.Finish(q, b.Table(), []aggregate.Function{f}, aggregate.FillNone); !errors.Is(err, aggregate.ErrNoDetail) {
			t.Errorf("%v without its detail: %v", f, err)
		}
	}
}

func BenchmarkFold(b *testing.B) {
	times, values := make([]int64, 10_000), make([]float64, 10_000)
	for i := range times {
		times[i], values[i] = int64(i)*10_000_000, float64(i*7919%10_000)/100
	}
	where, err := aggregate.ParseWhere("value>90")
	if err != nil {
		b.Fatal(err)
	}
	hour, err := aggregate.ParseWindow("1h")
	if err != nil {
		b.Fatal(err)
	}
	plan := func(spans ...aggregate.Span) aggregate.Narrowing {
		n, err := aggregate.NewNarrowing([]aggregate.PlannedCell{{Spans: spans}})
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	whole := aggregate.Span{Low: 0, High: 99.99}
	for _, c := range []struct {
		name string
		spec aggregate.QuerySpec
	}{
		{"plain", aggregate.QuerySpec{}},
		{"hours", aggregate.QuerySpec{Window: hour}},
		{"where", aggregate.QuerySpec{Where: where}},
		{"ends", aggregate.QuerySpec{Detail: aggregate.DetailEnds}},
		{"spread", aggregate.QuerySpec{Detail: aggregate.DetailSpread}},
		{"steps", aggregate.QuerySpec{Detail: aggregate.DetailSteps}},
		{"sketch", aggregate.QuerySpec{Detail: aggregate.DetailSketch}},
		{"linear bins", aggregate.QuerySpec{Detail: aggregate.DetailNarrow, Narrowing: plan(whole.Binned(1024, aggregate.Linear))}},
		{"ordinal bins", aggregate.QuerySpec{Detail: aggregate.DetailNarrow, Narrowing: plan(whole.Binned(1024, aggregate.Ordinal))}},
		{"two spans", aggregate.QuerySpec{Detail: aggregate.DetailNarrow, Narrowing: plan(aggregate.Span{Low: 95, High: 95.1}, aggregate.Span{Low: 98.9, High: 99})}},
	} {
		q := mustQuery(b, c.spec)
		for _, all := range []string{"one by one", "all"} {
			b.Run(c.name+"/"+all, func(b *testing.B) {
				for b.Loop() {
					f := mustFold(b, aggregate.NewBuilder(q), 0)
					var err error
					if all == "all" {
						err = f.AddAll(times, values)
					} else {
						for i, at := range times {
							if e := f.Add(metric.Timestamp(at), values[i]); e != nil {
								err = e
							}
						}
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(times)), "ns/sample")
			})
		}
	}
}
