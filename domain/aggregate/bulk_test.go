package aggregate

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestAddAllEqualsAdd compares with one value after the other: numbers alike, sums within the bound.
func TestAddAllEqualsAdd(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float64Range(-100, 100),
		rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
		rapid.SampledFrom([]float64{0, 1, -1, 1e300, -1e300, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64}),
	)
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(value, 0, 3).Draw(t, "before")
		values := rapid.SliceOfN(value, 0, 40).Draw(t, "values")
		var one, all Partial
		for _, v := range before {
			one.Add(v)
			all.Add(v)
		}
		exact, absolute := new(big.Float).SetPrec(2200), new(big.Float).SetPrec(2200)
		for _, v := range values {
			one.Add(v)
		}
		for _, v := range append(before, values...) {
			exact.Add(exact, big.NewFloat(v))
			absolute.Add(absolute, big.NewFloat(math.Abs(v)))
		}
		all.AddAll(values)
		if all.Count() != one.Count() || all.Min() != one.Min() || all.Max() != one.Max() {
			t.Fatalf("count, min, max are %d %v %v, want %d %v %v", all.Count(), all.Min(), all.Max(), one.Count(), one.Min(), one.Max())
		}
		sum, err := all.Sum()
		if _, want := one.Sum(); (err == nil) != (want == nil) {
			t.Fatalf("err=%v, want %v", err, want)
		}
		if err != nil {
			return
		}
		off := new(big.Float).SetPrec(2200).Sub(exact, big.NewFloat(sum))
		bound := new(big.Float).Mul(absolute, big.NewFloat(1e-15))
		bound.Add(bound, big.NewFloat(math.SmallestNonzeroFloat64))
		if off.Abs(off).Cmp(bound) > 0 {
			t.Fatalf("sum=%v is off by %v, more than %v", sum, off, bound)
		}
	})
}

func BenchmarkAddAll(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 8640)
	cents := 5000.0
	for i := range values {
		cents = math.Max(0, math.Min(10_000, cents+random.NormFloat64()*100))
		values[i] = math.Round(cents) / 100
	}
	b.Run("one by one", func(b *testing.B) {
		b.SetBytes(int64(len(values)))
		for b.Loop() {
			var p Partial
			for _, v := range values {
				p.Add(v)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.SetBytes(int64(len(values)))
		for b.Loop() {
			var p Partial
			p.AddAll(values)
		}
	})
}
