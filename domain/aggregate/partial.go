// Package aggregate is the mathematics of the answers: functions, ranges, windows, and partials that
// several nodes compute and one merges. It is pure; values may be copied and shared freely.
package aggregate

import (
	"math"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// ErrOverflow is returned where a sum lies outside the range of float64. A sum may leave the range and
// come back, whatever the order, but for parts that storage summed up itself and told as infinite.
var ErrOverflow = fault.New(fault.Unprocessable, "overflow",
	"the sum exceeds the range of a 64-bit float; narrow the range or leave out sum and avg")

// Partial is the mergeable part of an aggregation over some samples. The zero Partial is that of no
// samples. The sum is kept as an unevaluated pair hi+lo (Neumaier's improved Kahan–Babuška
// summation, ZAMM 54, 1974, with Dekker's TwoSum), so any split and order of merging stays within
// 1e-15·Σ|v| of the true sum and is exact while the sums are integers below 2^53.
// A Partial is not safe for concurrent change.
type Partial struct { //nolint:recvcheck // small value: read by copy, changed in place by Add and Merge
	count  uint64  // with scaledFlag: hi and lo are the sum times scale, because it left float64's range
	hi, lo float64 // without scaledFlag a hi that is not finite means that the sum is lost
	min    float64
	max    float64
	more   *extra // what richer questions need; nil for the plain ones
}

const (
	scaledFlag = 1 << 63
	scale      = 0x1p-64
)

// Parts are the plain numbers of a Partial, for adapters that store or send one. Sum is infinite where
// the sum is outside float64's range; Compensation then is the sum times 2^-64, or 0 where that is
// not known.
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
	if !(p.Min <= p.Max) || math.IsInf(p.Min, 0) || math.IsInf(p.Max, 0) || p.Count >= scaledFlag {
		return Partial{}, errParts
	}
	restored := Partial{count: p.Count, hi: p.Sum, lo: p.Compensation, min: p.Min, max: p.Max}
	if math.IsInf(p.Sum, 0) && p.Compensation != 0 && isFinite(p.Compensation) {
		restored.count |= scaledFlag
		restored.hi, restored.lo = p.Compensation, 0
	}
	return restored, nil
}

var errParts = fault.New(fault.Corrupt, "invalid_partial", "a partial's numbers contradict each other")

// Parts returns the plain numbers.
func (p Partial) Parts() Parts {
	parts := Parts{Count: p.Count(), Sum: p.hi, Compensation: p.lo, Min: p.min, Max: p.max}
	if p.count&scaledFlag == 0 {
		return parts
	}
	parts.Sum, parts.Compensation = p.hi/scale, p.lo/scale
	if !isFinite(parts.Sum) {
		parts.Compensation = p.hi + p.lo
	}
	return parts
}

// Add takes one more sample's value, which must be finite.
func (p *Partial) Add(v float64) {
	if int64(p.count) <= 0 { // none yet, or scaled
		p.addRarely(v)
		return
	}
	p.count++
	p.min = min(p.min, v)
	p.max = max(p.max, v)
	sum, err := twoSum(p.hi, v)
	lo := p.lo + err
	if lo != lo { // NaN: the sum left the range
		p.widen(v, 0)
		return
	}
	p.hi, p.lo = sum, lo
}

// addRarely is Add where it is not the usual case.
func (p *Partial) addRarely(v float64) {
	if p.count == 0 {
		*p = Partial{count: 1, hi: v, min: v, max: v, more: p.more}
		return
	}
	p.count++
	p.min = min(p.min, v)
	p.max = max(p.max, v)
	p.addScaled(v*scale, 0)
}

// widen adds hi+lo to a sum that leaves the range by it: from now on the sum is scaled. Values that
// scaling rounds are too small to count beside such sums.
func (p *Partial) widen(hi, lo float64) {
	if !isFinite(p.hi) || !isFinite(hi) {
		p.lose()
		return
	}
	p.count |= scaledFlag
	p.hi, p.lo = p.hi*scale, p.lo*scale
	p.addScaled(hi*scale, lo*scale)
}

func (p *Partial) addScaled(hi, lo float64) {
	sum, err := twoSum(p.hi, hi)
	p.hi = sum
	p.lo += err + lo
}

// lose makes the sum one that is not known, and beyond the range.
func (p *Partial) lose() {
	p.count &^= scaledFlag
	p.hi, p.lo = math.Inf(1), 0
}

// Merge takes all samples of o, which must not share samples with p. It keeps nothing of o's memory.
func (p *Partial) Merge(o Partial) {
	switch {
	case o.count == 0:
		return
	case p.count == 0:
		*p = o
		p.more = o.more.clone()
		return
	}
	if p.more != nil || o.more != nil {
		p.more = mergeExtra(p.more, o.more)
	}
	p.mergePlain(o)
}

// mergePlain is Merge but for the details, which stay p's.
func (p *Partial) mergePlain(o Partial) {
	if p.count == 0 {
		o.more = p.more
		*p = o
		return
	}
	scaled := (p.count | o.count) & scaledFlag
	p.count = p.count&scaledFlag + p.Count() + o.Count()
	p.min = min(p.min, o.min)
	p.max = max(p.max, o.max)
	if scaled != 0 {
		p.mergeScaled(o)
		return
	}
	sum, err := twoSum(p.hi, o.hi)
	lo := p.lo + (err + o.lo)
	if lo != lo { // NaN: the sum left the range
		p.widen(o.hi, o.lo)
		return
	}
	p.hi, p.lo = sum, lo
}

// mergeScaled merges sums of which at least one is scaled.
func (p *Partial) mergeScaled(o Partial) {
	if !isFinite(p.hi) || !isFinite(o.hi) {
		p.lose()
		return
	}
	if o.count&scaledFlag == 0 {
		o.hi, o.lo = o.hi*scale, o.lo*scale
	}
	if p.count&scaledFlag == 0 {
		p.count |= scaledFlag
		p.hi, p.lo = p.hi*scale, p.lo*scale
	}
	p.addScaled(o.hi, o.lo)
}

func isFinite(v float64) bool { return v-v == 0 }

// twoSum returns a+b rounded, and the exact error of that rounding (Dekker 1971, Knuth TAOCP 2, 4.2.2).
func twoSum(a, b float64) (sum, err float64) {
	sum = a + b
	bb := sum - a
	return sum, (a - (sum - bb)) + (b - bb)
}

// Count returns the number of samples.
func (p Partial) Count() uint64 { return p.count &^ scaledFlag }

// Sum returns the compensated sum; 0 for no samples; ErrOverflow when it left float64's range.
func (p Partial) Sum() (float64, error) {
	s := p.hi + p.lo
	if p.count&scaledFlag != 0 {
		s /= scale
	}
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return 0, ErrOverflow
	}
	return s, nil
}

// Min returns the least value; meaningless for no samples.
func (p Partial) Min() float64 { return p.min }

// scaledSum returns the sum times factor as two numbers, the second the rounding of the first. factor is
// a power of two that brings it into float64's range; a sum that is lost is not finite.
func (p Partial) scaledSum(factor float64) (hi, lo float64) {
	if p.count&scaledFlag != 0 {
		factor /= scale
	}
	return twoSum(p.hi*factor, p.lo*factor)
}

// Max returns the greatest value; meaningless for no samples.
func (p Partial) Max() float64 { return p.max }
