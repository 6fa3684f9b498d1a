package aggregate

import "math"

// Spread is what the standard deviation needs besides count and sum: the sum of the squared values in
// twice the precision of float64 (each square is exact by a fused multiply-add, their sum compensated).
// That keeps what the mean takes away again, Σv²−(Σv)²/n, right in any order of adding and merging, where
// running means (Welford) lose digits with each merge. As in BLAS' dnrm2 (Blue, TOMS 4, 1978) values whose
// squares leave float64's range are summed up scaled: a Spread is three sums.
type Spread struct {
	Small Compensated // of values below 2^-400, times 2^600
	Usual Compensated
	Large Compensated // of values above 2^400, times 2^-600
}

const (
	spreadLeast  = 0x1p-400
	spreadMost   = 0x1p400
	spreadFactor = 0x1p600
)

func (s *Spread) add(v float64) {
	switch a := math.Abs(v); {
	case a >= spreadLeast && a <= spreadMost:
		addSquare(&s.Usual, v)
	case a > spreadMost:
		addSquare(&s.Large, v/spreadFactor)
	default:
		addSquare(&s.Small, v*spreadFactor)
	}
}

// addAll is add for many values. Two sums side by side keep the processor busy.
func (s *Spread) addAll(values []float64) {
	var one, two Compensated
	i := 0
	for ; i+1 < len(values); i += 2 {
		a, b := values[i], values[i+1]
		if !usual(a) || !usual(b) {
			s.add(a)
			s.add(b)
			continue
		}
		square, other := a*a, b*b
		one.add(square, math.FMA(a, a, -square))
		two.add(other, math.FMA(b, b, -other))
	}
	if i < len(values) {
		s.add(values[i])
	}
	s.Usual.add(one.High, one.Low)
	s.Usual.add(two.High, two.Low)
}

func usual(v float64) bool { return math.Abs(v) >= spreadLeast && math.Abs(v) <= spreadMost }

func addSquare(s *Compensated, v float64) {
	square := v * v
	s.add(square, math.FMA(v, v, -square))
}

func (s *Spread) merge(o Spread) {
	s.Small.add(o.Small.High, o.Small.Low)
	s.Usual.add(o.Usual.High, o.Usual.Low)
	s.Large.add(o.Large.High, o.Large.Low)
}

// deviation returns the standard deviation of the population that p and s tell of.
func (s *Spread) deviation(p Partial) float64 {
	if p.min == p.max {
		return 0 // and no dust of rounding
	}
	// The largest class that has values sets the scale; the squares of the next smaller are added in it.
	squares, next, factor := s.Usual, s.Small, 1.0
	switch {
	case s.Large.High != 0:
		squares, next, factor = s.Large, s.Usual, 1/spreadFactor
	case s.Usual.High == 0:
		squares, next, factor = s.Small, Compensated{}, spreadFactor
	}
	squares.add(next.High/spreadFactor/spreadFactor, next.Low/spreadFactor/spreadFactor)
	n := float64(p.Count())
	hi, lo := p.scaledSum(factor)
	// (hi+lo)²/n subtracted in double precision: first the exact square of hi, then the rest.
	square := hi * hi
	rest := math.FMA(hi, hi, -square) + 2*hi*lo
	quotient := square / n
	rest = (math.FMA(-quotient, n, square) + rest) / n
	squares.add(-quotient, -rest)
	return math.Sqrt(max(0, squares.High+squares.Low)/n) / factor
}
