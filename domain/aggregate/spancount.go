package aggregate

import (
	"math"
	"slices"
)

// SpanCount is what a Span counts of a cell's values.
type SpanCount struct {
	Below  uint64    // values less than Low
	Inside uint64    // values from Low to High
	Bins   []Bin     // these by bins; nil with the scale Values
	Values []float64 // with the scale Values: these values in any order, or nil if more than SpanValuesMax
}

// Bin is what is known of the values in one bin. Min and Max are +Inf and −Inf in an empty one.
type Bin struct {
	Count    uint64
	Min, Max float64
}

// EmptyBin returns a bin without values.
func EmptyBin() Bin { return Bin{Min: math.Inf(1), Max: math.Inf(-1)} }

func (b *Bin) add(v float64) {
	b.Count++
	if v < b.Min {
		b.Min = v
	}
	if v > b.Max {
		b.Max = v
	}
}

func newSpanCounts(spans []Span) []SpanCount {
	counts := make([]SpanCount, len(spans))
	for i := range spans {
		if n := spans[i].Bins; n > 0 {
			counts[i].Bins = make([]Bin, n)
			for j := range counts[i].Bins {
				counts[i].Bins[j] = EmptyBin()
			}
		}
	}
	return counts
}

// add takes a value of the cell.
func (c *SpanCount) add(s *Span, v float64) {
	switch {
	case v < s.Low:
		c.Below++
	case v > s.High:
	case c.Bins != nil:
		c.Inside++
		c.Bins[s.Bin(v)].add(v)
	default:
		if c.Inside++; c.Inside <= SpanValuesMax {
			c.Values = append(c.Values, v)
		} else {
			c.Values = nil
		}
	}
}

// addAll is add for many values, with a loop for each of the usual scales.
func (c *SpanCount) addAll(s *Span, values []float64) {
	switch {
	case s.Scale == Linear:
		c.addLinear(s, values)
	case s.Scale == Values && c.Inside+uint64(len(values)) <= SpanValuesMax:
		c.keep(s, values)
	default:
		for _, v := range values {
			c.add(s, v)
		}
	}
}

func (c *SpanCount) addLinear(s *Span, values []float64) {
	low, high, factor, bins := s.Low, s.High, s.Factor, c.Bins
	var below, inside uint64
	for _, v := range values {
		if v < low {
			below++
			continue
		}
		if v > high {
			continue
		}
		inside++
		i := min(int((v-low)*factor), len(bins)-1)
		bins[i].add(v)
	}
	c.Below += below
	c.Inside += inside
}

// keep keeps the values inside s, for all of which there is room.
func (c *SpanCount) keep(s *Span, values []float64) {
	low, high := s.Low, s.High
	c.Values = slices.Grow(c.Values, len(values)) // mostly all of them or few
	var below uint64
	for _, v := range values {
		if v < low {
			below++
		} else if v <= high {
			c.Values = append(c.Values, v)
		}
	}
	c.Below += below
	c.Inside = uint64(len(c.Values))
}

func (c *SpanCount) merge(o *SpanCount) {
	c.Below += o.Below
	c.Inside += o.Inside
	for i := range c.Bins {
		c.Bins[i].Count += o.Bins[i].Count
		c.Bins[i].Min = min(c.Bins[i].Min, o.Bins[i].Min)
		c.Bins[i].Max = max(c.Bins[i].Max, o.Bins[i].Max)
	}
	if c.Bins != nil {
		return
	}
	if c.Inside > SpanValuesMax {
		c.Values = nil
		return
	}
	c.Values = append(c.Values, o.Values...)
}

// spansValid reports whether counts can be what spans count of a cell of count values.
func spansValid(spans []Span, counts []SpanCount, count uint64) bool {
	for i := range counts {
		c, s := &counts[i], &spans[i]
		if c.Inside > count || c.Below > count-c.Inside || len(c.Bins) != s.Bins {
			return false
		}
		if s.Bins > 0 {
			sum := uint64(0)
			for _, b := range c.Bins {
				if b != EmptyBin() && !(b.Count > 0 && s.Low <= b.Min && b.Min <= b.Max && b.Max <= s.High) {
					return false
				}
				sum += b.Count
			}
			if sum != c.Inside || c.Values != nil {
				return false
			}
			continue
		}
		kept := c.Inside
		if kept > SpanValuesMax {
			kept = 0
		}
		if uint64(len(c.Values)) != kept {
			return false
		}
		for _, v := range c.Values {
			if !(v >= s.Low && v <= s.High) {
				return false
			}
		}
	}
	return true
}
