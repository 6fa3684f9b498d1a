package memtable

import (
	"math"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// appendLocked appends columns run by run: neighbours of one series. Where samples may be expired or
// replace others it looks at what is the newest of each series.
func (t *Table) appendLocked(ids []catalogue.SeriesID, columns outbound.Columns) {
	careful := columns.Replace || t.mu.catalogue.CutoffMax() > oldestOf(columns.Timestamps)
	t.scratch.slots = append(t.scratch.slots[:0], make([]uint32, len(ids))...)
	if careful {
		t.scratch.newest = append(t.scratch.newest[:0], make([]Point, len(ids))...)
		t.scratch.cutoffs = append(t.scratch.cutoffs[:0], make([]int64, len(ids))...)
	}
	for at := 0; at < len(columns.Series); {
		key := columns.Series[at]
		end := at + 1
		for end < len(columns.Series) && columns.Series[end] == key {
			end++
		}
		times, values := columns.Timestamps[at:end], columns.Values[at:end]
		switch {
		case !careful:
			t.appendRunLocked(ids, key, times, values)
		case t.isPlainLocked(ids, key, times):
			t.appendRunLocked(ids, key, times, values)
			t.scratch.newest[key] = Point{At: times[len(times)-1], Value: values[len(values)-1]}
		default:
			t.appendCarefullyLocked(ids, key, times, values, columns.Replace)
		}
		at = end
	}
}

// oldestOf returns the least of times.
func oldestOf(times []int64) int64 {
	oldest := int64(math.MaxInt64)
	for _, at := range times {
		oldest = min(oldest, at)
	}
	return oldest
}

// columnLocked returns the active generation's column of a key's series.
func (t *Table) columnLocked(ids []catalogue.SeriesID, key uint32) *column {
	slot := &t.scratch.slots[key]
	if *slot == 0 {
		*slot = t.mu.active.slot(ids[key]) + 1
	}
	return t.mu.active.columns.At(*slot - 1)
}

func (t *Table) appendRunLocked(ids []catalogue.SeriesID, key uint32, times []int64, values []float64) {
	g := t.mu.active
	g.bytes += t.columnLocked(ids, key).appendRun(times, values)
	g.samples += len(times)
}

// isPlainLocked reports whether times, all of which are of a key's series, rise from behind its newest
// sample and its cut-off on, as they mostly do. It looks both up at the key's first run.
func (t *Table) isPlainLocked(ids []catalogue.SeriesID, key uint32, times []int64) bool {
	if t.scratch.slots[key] == 0 { // Nothing was appended, so this is still so.
		newest := Point{At: math.MinInt64}
		if at, value, ok := t.mu.catalogue.Newest(ids[key]); ok {
			newest = Point{At: at, Value: value}
		}
		t.scratch.newest[key] = newest
		t.scratch.cutoffs[key] = t.mu.catalogue.CutoffOf(ids[key])
	}
	last := t.scratch.newest[key].At
	if times[0] < t.scratch.cutoffs[key] {
		return false
	}
	for _, at := range times {
		if at <= last {
			return false
		}
		last = at
	}
	return true
}

// appendCarefullyLocked appends a run sample by sample. One that is later than all of its series replaces
// nothing; one that is as late as the newest and equal changes nothing, for that one counts. The others
// are marked, to be resolved by whoever reads them.
func (t *Table) appendCarefullyLocked(ids []catalogue.SeriesID, key uint32, times []int64, values []float64, replace bool) {
	g := t.mu.active
	newest := &t.scratch.newest[key]
	for i := range times {
		p := Point{At: times[i], Value: values[i]}
		if p.At < t.scratch.cutoffs[key] {
			t.expired.Add(1)
			continue
		}
		late := p.At <= newest.At
		if replace && p == *newest {
			continue
		}
		c := t.columnLocked(ids, key)
		if replace && late {
			g.bytes += c.mark(Replaces)
		}
		g.bytes += c.append(p)
		g.samples++
		if p.At >= newest.At {
			*newest = p
		}
	}
}
