package memtable

import "math"

// Extent is what generations hold, told without looking at single samples.
type Extent struct {
	Samples        int
	Oldest, Newest int64 // times of samples; meaningless without any
	// SeriesMinutes bounds from above the minutes that have samples, each series' own.
	SeriesMinutes int64
	// Replacing reports that some samples may replace others, so that EachResolved may have effects.
	Replacing bool
}

// ExtentOf returns what generations, which are frozen, hold together.
func ExtentOf(generations []*Generation) Extent {
	const minute = 60_000_000
	e := Extent{Oldest: math.MaxInt64, Newest: math.MinInt64}
	for _, g := range generations {
		e.Samples += g.samples
		g.columns.All(func(c *column) {
			e.Replacing = e.Replacing || c.marked
			e.Oldest, e.Newest = min(e.Oldest, c.oldest), max(e.Newest, c.newest.At)
			e.SeriesMinutes += (c.newest.At-c.oldest)/minute + 1
		})
	}
	return e
}

// Cutoffs returns, by metric number, before when samples are forgotten.
func (t *Table) Cutoffs() []int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.catalogue.Cutoffs()
}
