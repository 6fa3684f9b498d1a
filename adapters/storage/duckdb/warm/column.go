// Package warm keeps what shard files hold decoded in memory, bounded, so that questions that come again
// are answered in plain Go.
package warm

import (
	"sort"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
)

// Column is one series' stored samples in one window of time, ascending by time, those of one time in the order of
// the log. It is immutable; the zero Column has no samples.
type Column struct {
	first, step int64   // sample i is at first + i*step where times is nil
	times       []int64 // nil where times are regular: most series tick
	values      []float64
}

// NewColumn returns a column of samples, ascending by time. It keeps values, and copies of times where
// they are needed.
func NewColumn(times []int64, values []float64) Column {
	if len(times) == 0 {
		return Column{}
	}
	c := Column{first: times[0], values: values}
	if len(times) > 1 {
		c.step = times[1] - times[0]
	}
	for i, at := range times {
		if at != c.first+int64(i)*c.step {
			c.times = append(make([]int64, 0, len(times)), times...)
			break
		}
	}
	return c
}

// Len returns the number of samples.
func (c *Column) Len() int { return len(c.values) }

// At returns the time of sample i, in microseconds.
func (c *Column) At(i int) int64 {
	if c.times != nil {
		return c.times[i]
	}
	return c.first + int64(i)*c.step
}

// Values returns the values; callers must not change them.
func (c *Column) Values() []float64 { return c.values }

// Times returns the times of samples lo to hi, exclusive, which may be in scratch; callers must not
// change them otherwise.
func (c *Column) Times(lo, hi int, scratch []int64) []int64 {
	if c.times != nil {
		return c.times[lo:hi]
	}
	scratch = scratch[:0]
	for i := lo; i < hi; i++ {
		scratch = append(scratch, c.first+int64(i)*c.step)
	}
	return scratch
}

// From returns the index of the first sample, not before index lo, at or after time at.
func (c *Column) From(lo int, at int64) int {
	n := len(c.values)
	switch {
	case lo >= n || c.At(lo) >= at:
		return lo
	case c.At(n-1) < at:
		return n
	case c.times != nil:
		return lo + sort.Search(n-lo, func(i int) bool { return c.times[lo+i] >= at })
	case c.step == 0:
		return n
	}
	return int((at-c.first-1)/c.step) + 1
}

// Bytes returns the memory in use, the struct apart.
func (c *Column) Bytes() int64 { return 8 * int64(cap(c.times)+cap(c.values)) }

// Hour is the exact partial of one series' stored samples in one hour.
type Hour struct {
	Start   int64 // microseconds
	Partial aggregate.Partial
}

// Hours are one series' hours in one window of time, ascending, each once, none without samples. Immutable.
type Hours []Hour

// Bytes returns the memory in use, the slice's head apart.
func (h Hours) Bytes() int64 { return int64(cap(h)) * HourBytes }

// HourBytes is the memory that one Hour takes.
const HourBytes = int64(unsafe.Sizeof(Hour{}))

// Between returns the hours that start in [from, to].
func (h Hours) Between(from, to int64) Hours {
	if len(h) == 0 || h[0].Start >= from && h[len(h)-1].Start <= to {
		return h
	}
	lo := sort.Search(len(h), func(i int) bool { return h[i].Start >= from })
	hi := sort.Search(len(h), func(i int) bool { return h[i].Start > to })
	return h[lo:max(lo, hi)]
}
