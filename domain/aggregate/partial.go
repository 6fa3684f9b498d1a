// Package aggregate is the mathematics of the answers: functions, ranges, windows, and partials that
// several nodes compute and one merges. It is pure; values may be copied and shared freely.
package aggregate

import (
	"math"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// ErrOverflow is returned where a sum leaves the range of float64, be it on the way only: samples
// that would bring it back count for nothing then, and another order may not overflow.
var ErrOverflow = fault.New(fault.Unprocessable, "overflow",
	"the sum exceeds the range of a 64-bit float; narrow the range or leave out sum and avg")

// Partial is the mergeable part of an aggregation over some samples. The zero Partial is that of no
// samples. The sum is kept as an unevaluated pair hi+lo (Neumaier's improved Kahan–Babuška
// summation, ZAMM 54, 1974, with Dekker's TwoSum), so any split and order of merging stays within
// 1e-15·Σ|v| of the true sum and is exact while the sums are integers below 2^53.
// A Partial is not safe for concurrent change.
type Partial struct { //nolint:recvcheck // small value: read by copy, changed in place by Add and Merge
	count  uint64
	hi, lo float64
	min    float64
	max    float64
}

// Parts are the plain numbers of a Partial, for adapters that store or send one.
type Parts struct {
	Count        uint64
	Sum          float64
	Compensation float64
	Min          float64
	Max          float64
}

// RestorePartial rebuilds a Partial from its parts. It refuses what no samples can yield: an empty
// one with numbers, min above max, or NaN in min or max. A sum that is not finite means overflow.
func RestorePartial(p Parts) (Partial, error) {
	if p.Count == 0 {
		if p != (Parts{}) {
			return Partial{}, errParts
		}
		return Partial{}, nil
	}
	if !(p.Min <= p.Max) || math.IsInf(p.Min, 0) || math.IsInf(p.Max, 0) {
		return Partial{}, errParts
	}
	return Partial{count: p.Count, hi: p.Sum, lo: p.Compensation, min: p.Min, max: p.Max}, nil
}

var errParts = fault.New(fault.Corrupt, "invalid_partial", "a partial's numbers contradict each other")

// Parts returns the plain numbers.
func (p Partial) Parts() Parts {
	return Parts{Count: p.count, Sum: p.hi, Compensation: p.lo, Min: p.min, Max: p.max}
}

// Add takes one more sample's value, which must be finite.
func (p *Partial) Add(v float64) {
	if p.count == 0 {
		*p = Partial{count: 1, hi: v, min: v, max: v}
		return
	}
	p.count++
	p.min = min(p.min, v)
	p.max = max(p.max, v)
	sum, err := twoSum(p.hi, v)
	p.hi = sum
	p.lo += err
}

// Merge takes all samples of o, which must not share samples with p.
func (p *Partial) Merge(o Partial) {
	switch {
	case o.count == 0:
		return
	case p.count == 0:
		*p = o
		return
	}
	p.count += o.count
	p.min = min(p.min, o.min)
	p.max = max(p.max, o.max)
	sum, err := twoSum(p.hi, o.hi)
	p.hi = sum
	p.lo += err + o.lo
}

// twoSum returns a+b rounded, and the exact error of that rounding (Dekker 1971, Knuth TAOCP 2, 4.2.2).
func twoSum(a, b float64) (sum, err float64) {
	sum = a + b
	bb := sum - a
	return sum, (a - (sum - bb)) + (b - bb)
}

// Count returns the number of samples.
func (p Partial) Count() uint64 { return p.count }

// Sum returns the compensated sum; 0 for no samples; ErrOverflow when it left float64's range.
func (p Partial) Sum() (float64, error) {
	s := p.hi + p.lo
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return 0, ErrOverflow
	}
	return s, nil
}

// Min returns the least value; meaningless for no samples.
func (p Partial) Min() float64 { return p.min }

// Max returns the greatest value; meaningless for no samples.
func (p Partial) Max() float64 { return p.max }
