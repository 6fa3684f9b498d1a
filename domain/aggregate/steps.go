package aggregate

import "math"

// Compensated is a sum kept as that of Partial is, as two plain numbers, but without its care for sums
// beyond float64's range: one that left it is not finite.
type Compensated struct{ High, Low float64 } //nolint:recvcheck // small value: read by copy, added to in place

func (s *Compensated) add(hi, lo float64) {
	sum, err := twoSum(s.High, hi)
	s.High = sum
	s.Low += err + lo
}

// Value returns the sum, or ErrOverflow.
func (s Compensated) Value() (float64, error) { return finite(s.High + s.Low) }

func finite(v float64) (float64, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, ErrOverflow
	}
	return v, nil
}

// Steps are what Increase, Delta and Rate need of a cell, each a sum over series.
type Steps struct {
	Increase Compensated // of the steps that end in the cell, resets taken into account
	Delta    Compensated // of the steps that end in the cell, as they are
	// Slope has for each series whose last sample in the range lies in the cell its increase over the
	// whole range a second between its first and last sample; nothing for one without time between.
	// So the cells of all windows together make the rate of the whole range.
	Slope Compensated
}

func (s *Steps) merge(o Steps) {
	s.Increase.add(o.Increase.High, o.Increase.Low)
	s.Delta.add(o.Delta.High, o.Delta.Low)
	s.Slope.add(o.Slope.High, o.Slope.Low)
}

// step adds the steps of a series from the value base to the value last, between which counters fell from
// values that add up to resets. Between falls steps telescope; a fall from a to b counts b, so a more than
// it is. It adds to grown what the series grew by.
func (s *Steps) step(base, last float64, resets Compensated, grown *Compensated) {
	delta, err := twoSum(last, -base)
	s.Delta.add(delta, err)
	resets.add(delta, err)
	s.Increase.add(resets.High, resets.Low)
	grown.add(resets.High, resets.Low)
}
