package aggregate_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// distributions are shapes of values that a search has to narrow down.
var distributions = []struct {
	name   string
	rounds int // the most that it may take, the first included
	draw   func(rnd *rand.Rand) float64
}{
	{"two decimals", 4, func(rnd *rand.Rand) float64 { return float64(rnd.IntN(10_000)) / 100 }},
	{"constant", 1, func(*rand.Rand) float64 { return 75.5 }},
	{"mostly zero", 4, func(rnd *rand.Rand) float64 { return max(0, float64(rnd.IntN(1000)-900)) }},
	{"half of one value", 5, func(rnd *rand.Rand) float64 {
		if rnd.IntN(2) == 0 {
			return 1.0 / 3
		}
		return rnd.Float64()
	}},
	{"outlier", 5, func(rnd *rand.Rand) float64 {
		if rnd.IntN(10_000) == 0 {
			return 1e300
		}
		return rnd.Float64() * 100
	}},
	{"both signs", 4, func(rnd *rand.Rand) float64 { return rnd.NormFloat64() }},
	{"many magnitudes", 8, func(rnd *rand.Rand) float64 { return math.Pow(10, 600*rnd.Float64()-300) }},
	{"magnitudes of both signs", 8, func(rnd *rand.Rand) float64 {
		return math.Pow(10, 600*rnd.Float64()-300) * float64(1-2*rnd.IntN(2))
	}},
	{"extremes", 4, func(rnd *rand.Rand) float64 { return math.MaxFloat64 * float64(rnd.IntN(3)-1) }},
}

var quantileFunctions = []aggregate.Function{p(50), p(0.01), p(25), p(90), p(95), p(99), p(99.9), p(99.99)}

// tracesOf spreads n drawn values over hosts.
func tracesOf(r *rapid.T, n int, draw func(*rand.Rand) float64) []trace {
	rnd := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(r, "seed")))
	all := make([]trace, 4)
	for i := range all {
		all[i].series = seriesOf(r, string(rune('a'+i%2)), i)
	}
	for j := range n {
		one := &all[rnd.IntN(len(all))]
		one.times = append(one.times, int64(j))
		one.values = append(one.values, draw(rnd))
	}
	return all
}

// quantilesOf computes by sorting.
func quantilesOf(values []float64, functions []aggregate.Function) (out []float64) {
	sorted := slices.Sorted(slices.Values(values))
	for _, f := range functions {
		out = append(out, sorted[f.Rank(uint64(len(sorted)))-1])
	}
	return out
}

func TestQuantilesOfManyValues(t *testing.T) {
	for _, d := range distributions {
		t.Run(d.name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				all := tracesOf(r, rapid.IntRange(4_500, 15_000).Draw(r, "n"), d.draw)
				q := mustQuery(r, aggregate.QuerySpec{GroupBy: rapid.SampledFrom([][]string{nil, {"host"}}).Draw(r, "by")})
				answer, rounds, err := ask(r, aggregate.Question{Query: q, Functions: quantileFunctions}, &all, func() {})
				if err != nil {
					r.Fatal(err)
				}
				if rounds > d.rounds {
					r.Fatalf("took %d rounds, want at most %d", rounds, d.rounds)
				}
				for _, g := range answer.Groups {
					var values []float64
					for _, one := range all {
						if host, _ := one.series.Tags().Get("host"); len(g.Tags) == 0 || host == g.Tags[0].Value {
							values = append(values, one.values...)
						}
					}
					want := quantilesOf(values, quantileFunctions)
					for i, v := range g.Values {
						if v.Number != want[i] || v.Null {
							r.Fatalf("%v=%v, want %v", v.Function, v.Number, want[i])
						}
					}
				}
			})
		})
	}
}

// TestQuantilesWhileSamplesComeAndGo changes the samples between rounds: the quantile found must be one
// as of some moment of the search, or the search must say that it found none.
func TestQuantilesWhileSamplesComeAndGo(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := rapid.SampledFrom(distributions).Draw(r, "distribution")
		all := tracesOf(r, rapid.IntRange(5_000, 20_000).Draw(r, "n"), d.draw)
		functions := quantileFunctions[rapid.IntRange(0, len(quantileFunctions)-1).Draw(r, "function"):][:1]
		var possible []float64
		note := func() {
			var values []float64
			for _, one := range all {
				values = append(values, one.values...)
			}
			if len(values) > 0 {
				possible = append(possible, quantilesOf(values, functions)...)
			}
		}
		rnd := rand.New(rand.NewPCG(2, 3))
		change := func() {
			note()
			for i := range all {
				one := &all[i]
				switch rapid.IntRange(0, 3).Draw(r, "change") {
				case 0:
					keep := rapid.IntRange(0, len(one.values)).Draw(r, "keep")
					one.times, one.values = one.times[:keep], one.values[:keep]
				case 1:
					shift := rapid.SampledFrom([]float64{0, 1e3, -1e3}).Draw(r, "shift")
					for range rapid.IntRange(0, 20_000).Draw(r, "more") {
						one.times, one.values = append(one.times, 1e6), append(one.values, min(max(d.draw(rnd), -1e300), 1e300)+shift)
					}
				}
			}
		}
		question := aggregate.Question{Query: mustQuery(r, aggregate.QuerySpec{}), Functions: functions}
		answer, _, err := ask(r, question, &all, change)
		if err != nil {
			if !errors.Is(err, aggregate.ErrQuantileUnsettled) {
				r.Fatal(err)
			}
			return
		}
		v := answer.Groups[0].Values[0]
		if !v.Null && !slices.Contains(possible, v.Number) {
			r.Fatalf("found %v, want one of %v", v.Number, possible)
		}
	})
}

// TestTooManyCellsForQuantiles checks that a search is refused before it asks for more than it may hold.
func TestTooManyCellsForQuantiles(t *testing.T) {
	window, err := aggregate.WindowOf(1)
	if err != nil {
		t.Fatal(err)
	}
	q := mustQuery(t, aggregate.QuerySpec{Window: window, GroupBy: []string{"host"}})
	var three aggregate.Partial
	three.AddAll([]float64{1, 2, 3})
	many := make([]float64, 3000)
	for i := range many {
		many[i] = float64(i)
	}
	var large aggregate.Partial
	large.AddAll(many)
	tableOf := func(cells int, p aggregate.Partial) (table aggregate.Table) {
		for i := 0; i < cells; i += aggregate.WindowsMax {
			g := aggregate.Group{Tags: []string{string(rune('a' + i/aggregate.WindowsMax))}}
			for j := range min(aggregate.WindowsMax, cells-i) {
				g.Cells = append(g.Cells, aggregate.Cell{Start: metric.Timestamp(j), Partial: p})
			}
			table.Groups = append(table.Groups, g)
		}
		table.SeriesKnown = true
		return table
	}
	f := func(cells int, p aggregate.Partial, want error) {
		t.Helper()
		s := aggregate.NewSearch(aggregate.Question{Query: q, Functions: []aggregate.Function{aggregate.Count, quantileFunctions[0]}})
		if _, _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		err := s.Take(tableOf(cells, p))
		if err == nil {
			_, _, err = s.Next()
		}
		if !errors.Is(err, want) {
			t.Errorf("%d cells of %d samples: %v, want %v", cells, p.Count(), err, want)
		}
	}
	f(aggregate.PlannedCellsMax, three, nil)
	f(aggregate.PlannedCellsMax+1, three, aggregate.ErrTooManyPlanned)
	f(20_000, large, nil) // too many values to keep, so they get bins
	f(60_000, large, aggregate.ErrTooManyHeld)
	var alike aggregate.Partial
	alike.AddAll([]float64{7, 7, 7})
	f(2*aggregate.PlannedCellsMax, alike, nil) // known at once
}
