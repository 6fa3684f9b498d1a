package aggregate

import "math"

// Compensated is a sum kept as that of Partial is, as two plain numbers, but without its care for sums
// beyond float64's range: one that left it is not finite.
type Compensated struct{ High, Low float64 }

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

// step adds the step from one sample of a series to its next and returns what a counter grew by.
func (s *Steps) step(from, to float64) (grown, rest float64) {
	delta, err := twoSum(to, -from)
	s.Delta.add(delta, err)
	if delta < 0 {
		delta, err = to, 0
	}
	s.Increase.add(delta, err)
	return delta, err
}
