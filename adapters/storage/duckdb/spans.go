package duckdb

import (
	"math"
	"slices"
)

// span is a piece of time, both ends inclusive, in microseconds.
type span struct{ from, to int64 }

// inside returns what s has in common with o; ok is false for nothing.
func (s span) inside(o span) (both span, ok bool) {
	both = span{from: max(s.from, o.from), to: min(s.to, o.to)}
	return both, both.from <= both.to
}

// without returns what is left of spans, ascending and disjoint, after hole.
func without(spans []span, hole span) []span {
	var left []span
	for _, s := range spans {
		if s.from < hole.from {
			left = append(left, span{from: s.from, to: min(s.to, hole.from-1)})
		}
		if s.to > hole.to {
			left = append(left, span{from: max(s.from, hole.to+1), to: s.to})
		}
	}
	return left
}

// extent is what the runs of a file tell of where its samples lie. It is immutable.
type extent struct {
	of      *[]run
	runs    []run
	all     span     // from the first to the last sample
	windows []window // ascending
}

// window is a piece of time that no run crosses the ends of.
type window struct{ day, days int64 }

func (w window) span() span {
	return span{from: w.day * dayMicros, to: (w.day+w.days)*dayMicros - 1}
}

// extent returns that of the runs as of now, computed once for each list of runs. A query takes it
// after its view.
func (r *replica) extent() *extent {
	runs := r.runs.Load()
	if runs == nil {
		return &extent{}
	}
	if known := r.extents.Load(); known != nil && known.of == runs {
		return known
	}
	e := newExtent(*runs)
	e.of = runs
	r.extents.Store(e)
	return e
}

func newExtent(runs []run) *extent {
	e := &extent{runs: runs, all: span{from: math.MaxInt64, to: math.MinInt64}}
	var windows []window
	for _, r := range runs {
		e.all = span{from: min(e.all.from, r.from), to: max(e.all.to, r.to)}
		windows = append(windows, window{day: r.day, days: r.days})
	}
	slices.SortFunc(windows, func(a, b window) int {
		if a.day != b.day {
			return int(min(1, max(-1, a.day-b.day)))
		}
		return int(min(1, max(-1, b.days-a.days)))
	})
	// Windows are as wide as a power of two and aligned to it, so of two that overlap one holds the other.
	for _, w := range windows {
		if n := len(e.windows); n == 0 || w.day >= e.windows[n-1].day+e.windows[n-1].days {
			e.windows = append(e.windows, w)
		}
	}
	return e
}

// overlapping returns the windows that have a piece of s.
func (e *extent) overlapping(s span) []window {
	lo, _ := slices.BinarySearchFunc(e.windows, s.from, func(w window, at int64) int {
		if w.span().to < at {
			return -1
		}
		return 1
	})
	hi := lo
	for hi < len(e.windows) && e.windows[hi].day*dayMicros <= s.to {
		hi++
	}
	return e.windows[lo:hi]
}

// changed reports whether a window has rows of one of two generations that it does not have of the other.
func (e *extent) changed(w window, a, b uint64) bool {
	low, high := int64(min(a, b)), int64(max(a, b))
	if low == high {
		return false
	}
	for i := range e.runs {
		if r := &e.runs[i]; r.gen > low && r.gen <= high && r.day < w.day+w.days && r.day+r.days > w.day {
			return true
		}
	}
	return false
}

// cut cuts spans into the whole buckets in them and the rest. Where no sample of the file is outside, a
// bucket counts as whole that reaches beyond the span.
func (e *extent) cut(spans []span, width int64) (whole, rest []span) {
	for _, s := range spans {
		if s.from <= e.all.from {
			s.from = floorTo(e.all.from, width)
		}
		if s.to >= e.all.to {
			s.to = ceilTo(e.all.to+1, width) - 1
		}
		first, last := ceilTo(s.from, width), floorTo(s.to+1, width)-1
		if first > last {
			rest = append(rest, s)
			continue
		}
		whole = append(whole, span{from: first, to: last})
		if s.from < first {
			rest = append(rest, span{from: s.from, to: first - 1})
		}
		if s.to > last {
			rest = append(rest, span{from: last + 1, to: s.to})
		}
	}
	return whole, rest
}

// ceilTo returns the least multiple of width that is not before at.
func ceilTo(at, width int64) int64 { return -floorTo(-at, width) }

// runsIn returns how many runs may have samples in s.
func (e *extent) runsIn(s span) (n int) {
	for i := range e.runs {
		if e.runs[i].from <= s.to && e.runs[i].to >= s.from {
			n++
		}
	}
	return n
}

// haveMinutes reports whether every run with samples in s has them rolled up by minutes.
func (e *extent) haveMinutes(s span) bool {
	for i := range e.runs {
		if r := &e.runs[i]; r.from <= s.to && r.to >= s.from && !r.minutes {
			return false
		}
	}
	return true
}

// rowsIn bounds how many samples lie in a window.
func (e *extent) rowsIn(w window) (n int64) {
	for i := range e.runs {
		if r := &e.runs[i]; r.day < w.day+w.days && r.day+r.days > w.day {
			n += r.rows
		}
	}
	return n
}
