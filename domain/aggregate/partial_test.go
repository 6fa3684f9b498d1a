package aggregate_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// bigBits holds every sum of float64 exactly.
const bigBits = 2300

func newBig(v float64) *big.Float { return new(big.Float).SetPrec(bigBits).SetFloat64(v) }

func partialOf(values []float64) aggregate.Partial {
	var p aggregate.Partial
	for _, v := range values {
		p.Add(v)
	}
	return p
}

// mergedOf splits values at random and merges the parts in random order, as shards and nodes do.
func mergedOf(r *rapid.T, values []float64) aggregate.Partial {
	var parts []aggregate.Partial
	for rest := values; len(rest) > 0; {
		n := rapid.IntRange(1, len(rest)).Draw(r, "part")
		parts = append(parts, partialOf(rest[:n]))
		rest = rest[n:]
	}
	if rapid.Bool().Draw(r, "with empty") {
		parts = append(parts, aggregate.Partial{})
	}
	for len(parts) > 1 {
		i := rapid.IntRange(1, len(parts)-1).Draw(r, "right")
		j := rapid.IntRange(0, i-1).Draw(r, "left")
		parts[j].Merge(parts[i])
		parts = append(parts[:i], parts[i+1:]...)
	}
	if len(parts) == 0 {
		return aggregate.Partial{}
	}
	return parts[0]
}

// checkPartial fails unless got is the partial of values: sums within bound, in units of Σ|v|.
func checkPartial(r *rapid.T, got aggregate.Partial, values []float64, bound float64) {
	sum, magnitude := newBig(0), newBig(0)
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		sum.Add(sum, newBig(v))
		magnitude.Add(magnitude, newBig(math.Abs(v)))
		least, greatest = min(least, v), max(greatest, v)
	}
	if got.Count() != uint64(len(values)) {
		r.Fatalf("count=%d, want %d", got.Count(), len(values))
	}
	if len(values) > 0 && (got.Min() != least || got.Max() != greatest) {
		r.Fatalf("min=%v max=%v, want %v and %v", got.Min(), got.Max(), least, greatest)
	}
	s, err := got.Sum()
	if err != nil {
		r.Fatalf("Sum: %v", err)
	}
	off := newBig(s)
	off.Sub(off, sum).Abs(off)
	if off.Cmp(magnitude.Mul(magnitude, newBig(bound))) > 0 {
		r.Fatalf("sum=%v is off by %v, want at most %v", s, off, magnitude)
	}
}

// TestPartialsInAnySplit holds promise 4 against exact arithmetic.
func TestPartialsInAnySplit(t *testing.T) {
	for _, c := range []struct {
		name  string
		value *rapid.Generator[float64]
		bound float64
	}{
		{"integers", rapid.Map(rapid.Int64Range(-1<<40, 1<<40), func(i int64) float64 { return float64(i) }), 0},
		{"decimals", rapid.Map(rapid.Int64Range(-1e6, 1e6), func(i int64) float64 { return float64(i) / 100 }), 1e-15},
		{"anything", rapid.Float64Range(-1e300, 1e300), 1e-15},
		{
			"cancelling",
			rapid.SampledFrom([]float64{1, 1e16, -1e16, 1e100, -1e100, 0.1, -0.1, 5e-324, -5e-324, 0, math.Copysign(0, -1)}), 1e-15,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				values := rapid.SliceOfN(c.value, 0, 200).Draw(r, "values")
				checkPartial(r, partialOf(values), values, c.bound)
				shuffled := rapid.Permutation(values).Draw(r, "order")
				checkPartial(r, mergedOf(r, shuffled), values, c.bound)
			})
		})
	}
}

func TestManyPartials(t *testing.T) {
	const n = 1_000_000
	var whole, merged aggregate.Partial
	for i := range n {
		whole.Add(0.1)
		if i%1000 == 999 {
			merged.Merge(partialOf(tenths[:]))
		}
	}
	want, _ := new(big.Float).Mul(newBig(0.1), newBig(n)).Float64()
	for name, p := range map[string]aggregate.Partial{"whole": whole, "merged": merged} {
		if sum, err := p.Sum(); err != nil || math.Abs(sum-want) > 1e-15*want || p.Count() != n {
			t.Errorf("%s: %d times 0.1 is %v, %v, want %v", name, p.Count(), sum, err, want)
		}
	}
}

var tenths = func() (t [1000]float64) {
	for i := range t {
		t[i] = 0.1
	}
	return t
}()

func TestOverflow(t *testing.T) {
	huge := math.MaxFloat64
	for _, values := range [][]float64{{huge, huge}, {-huge, -huge, 1}, {huge, huge, 5, -1}} {
		whole := partialOf(values)
		merged := partialOf(values[:1])
		merged.Merge(partialOf(values[1:]))
		for _, p := range []aggregate.Partial{whole, merged} {
			if sum, err := p.Sum(); !errors.Is(err, aggregate.ErrOverflow) || p.Count() != uint64(len(values)) {
				t.Errorf("sum of %v is %v, %v, want ErrOverflow", values, sum, err)
			}
		}
	}
	near := partialOf([]float64{huge, -huge, huge})
	if sum, err := near.Sum(); sum != huge || err != nil {
		t.Errorf("sum=%v, %v, want %v", sum, err, huge)
	}
}

// TestSumsThatComeBack checks that a sum within the range is found in any order and split, through
// what adapters send too, however far it goes on the way.
func TestSumsThatComeBack(t *testing.T) {
	huge := math.MaxFloat64
	rapid.Check(t, func(r *rapid.T) {
		values := rapid.SliceOfN(rapid.SampledFrom([]float64{huge, huge / 2, 1e308, 1, 0.1, -3, 5e-324}), 0, 40).Draw(r, "values")
		for _, v := range values[:len(values)-len(values)/10] {
			values = append(values, -v)
		}
		values = rapid.Permutation(values).Draw(r, "order")
		exact, magnitude := newBig(0), newBig(0)
		for _, v := range values {
			exact.Add(exact, newBig(v))
			magnitude.Add(magnitude, newBig(math.Abs(v)))
		}
		whole := partialOf(values)
		merged := mergedOf(r, values)
		cut := rapid.IntRange(0, len(values)).Draw(r, "cut")
		var sent aggregate.Partial
		for _, part := range [][]float64{values[:cut], values[cut:]} {
			p, err := aggregate.RestorePartial(partialOf(part).Parts())
			if err != nil {
				r.Fatal(err)
			}
			sent.Merge(p)
		}
		limit := newBig(huge)
		if new(big.Float).Abs(exact).Cmp(limit.Mul(limit, newBig(1-1e-13))) > 0 {
			return // so near the end that rounding decides
		}
		for name, p := range map[string]aggregate.Partial{"whole": whole, "merged": merged, "sent": sent} {
			sum, err := p.Sum()
			if err != nil || p.Count() != uint64(len(values)) {
				r.Fatalf("%s: sum of %v is %v, %v of %d", name, values, sum, err, p.Count())
			}
			off := newBig(sum)
			off.Sub(off, exact).Abs(off)
			if bound := new(big.Float).Mul(magnitude, newBig(1e-15)); off.Cmp(bound) > 0 {
				r.Fatalf("%s: sum of %v is %v, off by %v", name, values, sum, off)
			}
		}
	})
}

func TestASumThatStorageLostStaysLost(t *testing.T) {
	huge := math.MaxFloat64
	for _, sum := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		p, err := aggregate.RestorePartial(aggregate.Parts{Count: 2, Sum: sum, Min: -huge, Max: huge})
		if err != nil {
			t.Fatal(err)
		}
		p.Add(-huge)
		scaled := partialOf([]float64{huge, huge})
		scaled.Merge(p)
		p.Merge(partialOf([]float64{-huge, -huge}))
		p.Add(1)
		for _, p := range []aggregate.Partial{p, scaled} {
			if got, err := p.Sum(); !errors.Is(err, aggregate.ErrOverflow) {
				t.Errorf("with %v: sum %v, %v, want ErrOverflow", sum, got, err)
			}
		}
	}
}

func TestEmptyPartial(t *testing.T) {
	var p aggregate.Partial
	p.Merge(aggregate.Partial{})
	if sum, err := p.Sum(); p.Count() != 0 || sum != 0 || err != nil || p.Parts() != (aggregate.Parts{}) {
		t.Errorf("empty partial has count %d, sum %v, %v", p.Count(), sum, err)
	}
}

func TestRestorePartial(t *testing.T) {
	for _, values := range [][]float64{nil, {1}, {0.1, 0.2, 1e16}, {math.MaxFloat64, math.MaxFloat64}} {
		p := partialOf(values)
		again, err := aggregate.RestorePartial(p.Parts())
		wantSum, wantErr := p.Sum()
		sum, sumErr := again.Sum()
		if err != nil || again.Count() != p.Count() || again.Min() != p.Min() || again.Max() != p.Max() ||
			sum != wantSum || !errors.Is(sumErr, wantErr) {
			t.Errorf("partial of %v restored is %+v, %v, want %+v", values, again.Parts(), err, p.Parts())
		}
	}
	for _, bad := range []aggregate.Parts{
		{Sum: 1},
		{Min: math.NaN()},
		{Count: 1, Min: 2, Max: 1},
		{Count: 1, Min: math.NaN(), Max: 1},
		{Count: 1, Min: 1, Max: math.NaN()},
		{Count: 1, Min: math.Inf(-1), Max: 1},
		{Count: 1, Min: 1, Max: math.Inf(1)},
		{Count: 1 << 63, Sum: 1, Min: 1, Max: 1},
	} {
		if _, err := aggregate.RestorePartial(bad); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("RestorePartial(%+v): %v, want Corrupt", bad, err)
		}
	}
}

func BenchmarkPartialAdd(b *testing.B) {
	var p aggregate.Partial
	for b.Loop() {
		for _, v := range tenths {
			p.Add(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(tenths)), "ns/value")
}
