package memtable

import (
	"cmp"
	"math"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Tombstone is a deletion as storage sees it: the metric's samples from From to To, both included, in
// generations up to Generation are forgotten. Later ones count.
type Tombstone struct {
	Metric     catalogue.MetricID
	From, To   int64
	Generation uint64
}

// tombstoneBytes is what a deletion counts as in Usage.Active, so that very many of them want a cut: it
// is what they cost flushes and queries rather than memory.
const tombstoneBytes = 256 << 10

// forgotten reports whether any of dead covers at; the caller looked at metric and generation.
func forgotten(dead []Tombstone, at int64) bool {
	for i := range dead {
		if at >= dead[i].From && at <= dead[i].To {
			return true
		}
	}
	return false
}

// deadFrom returns those of tombstones, ascending by generation, that a generation up to last is under.
func deadFrom(tombstones []Tombstone, last uint64) []Tombstone {
	for len(tombstones) > 0 && tombstones[0].Generation < last {
		tombstones = tombstones[1:]
	}
	return tombstones
}

// deadOf returns the tombstones of one metric; nil without any.
func deadOf(tombstones []Tombstone, id catalogue.MetricID) (own []Tombstone) {
	for _, d := range tombstones {
		if d.Metric == id {
			own = append(own, d)
		}
	}
	return own
}

// Removal is a deletion that is worked out and changes nothing yet: it knows which series lose their
// newest sample, and what of them is left in memory. Of those that it calls Unsettled the adapter looks
// up what is left in its file, and tells by Observe; Table.Remove then does it all at once. Between
// PlanRemoval and Remove there must be no other change by the log; flushes may go on.
type Removal struct {
	name       metric.Name
	metric     catalogue.MetricID
	existed    bool
	from, to   int64
	since      int64 // the metric's cut-off
	durable    uint64
	tombstones []Tombstone
	lost       []lost // ascending by series
}

// lost is a series that loses its newest sample.
type lost struct {
	series catalogue.SeriesID
	left   Point
	some   bool // left is the newest that is left
}

// PlanRemoval works out what d does.
func (t *Table) PlanRemoval(d outbound.Deletion) *Removal {
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, series, known := t.mu.catalogue.Metric(d.Metric)
	r := &Removal{name: d.Metric, metric: id, from: int64(d.Range.From()), to: int64(d.Range.To())}
	if !known || t.mu.catalogue.Live(id) == 0 {
		return r
	}
	r.existed, r.durable, r.since = true, t.mu.durable, t.mu.catalogue.Cutoff(id)
	r.tombstones = deadOf(t.mu.tombstones, id)
	for _, s := range series {
		at, _, ok := t.mu.catalogue.Newest(s)
		if !ok || at < r.from || at > r.to {
			continue
		}
		l := lost{series: s}
		if r.from > r.since {
			l.left, l.some = t.newestBeforeLocked(s, r)
		}
		r.lost = append(r.lost, l)
	}
	return r
}

// newestBeforeLocked returns the newest sample in memory of a series before a removal's range.
func (t *Table) newestBeforeLocked(s catalogue.SeriesID, r *Removal) (best Point, ok bool) {
	look := func(g *Generation) {
		c := g.column(s)
		if c == nil || c.oldest >= r.from {
			return
		}
		dead := deadFrom(r.tombstones, g.last)
		for piece := range c.pieces() {
			for _, p := range piece {
				if p.At < r.from && p.At >= r.since && (!ok || p.At >= best.At) && !forgotten(dead, p.At) {
					best, ok = p, true
				}
			}
		}
	}
	for _, g := range t.mu.sealed {
		look(g)
	}
	look(t.mu.active)
	return best, ok
}

// Existed reports whether the metric has a series with samples. Without one the removal does nothing.
func (r *Removal) Existed() bool { return r.existed }

// Metric returns the metric's number, if Existed.
func (r *Removal) Metric() catalogue.MetricID { return r.metric }

// Unsettled returns the series, ascending, that lose their newest sample and may have an older one in
// the file.
func (r *Removal) Unsettled() []catalogue.SeriesID {
	if r.durable == 0 || r.from <= r.since {
		return nil
	}
	ids := make([]catalogue.SeriesID, len(r.lost))
	for i, l := range r.lost {
		ids[i] = l.series
	}
	return ids
}

// Span returns the times, both included, between which to look: rows outside it do not count or go.
func (r *Removal) Span() (from, to int64) { return r.since, r.from - 1 }

// Durable returns up to which generation rows of the file count; later ones are in memory as well.
func (r *Removal) Durable() uint64 { return r.durable }

// Tombstones returns the earlier deletions of the metric that the file does not know: rows in their
// ranges do not count. Callers must not change them.
func (r *Removal) Tombstones() []Tombstone { return r.tombstones }

// Observe tells the newest row that is left of one of Unsettled: of several with one timestamp the last
// in the log.
func (r *Removal) Observe(id catalogue.SeriesID, stored Point) {
	i, ok := slices.BinarySearchFunc(r.lost, id, func(l lost, id catalogue.SeriesID) int { return cmp.Compare(l.series, id) })
	if !ok {
		return
	}
	if l := &r.lost[i]; !l.some || stored.At > l.left.At {
		l.left, l.some = stored, true
	}
}

// Remove forgets what was planned. Nothing of it is visible in part.
func (t *Table) Remove(r *Removal) {
	if !r.existed {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range r.lost {
		t.mu.catalogue.Forget(l.series)
		if l.some {
			t.mu.catalogue.Observe(l.series, l.left.At, l.left.Value)
		}
	}
	d := Tombstone{Metric: r.metric, From: r.from, To: r.to, Generation: t.mu.active.last}
	t.mu.active.deleted = &d
	t.sealLocked()
	t.pending.deletions++
	t.mu.tombstones = append(slices.Clip(t.mu.tombstones), d)
	t.storeActiveBytesLocked()
}

// Tombstones returns the deletions in generations, in their order: what a flush of generations has to
// do to what was stored before. EachSeries and EachResolved know them.
func Tombstones(generations []*Generation) (all []Tombstone) {
	for _, g := range generations {
		if g.deleted != nil {
			all = append(all, *g.deleted)
		}
	}
	return all
}

// Retain moves cut-offs by the rule of outbound.SampleRemover. Samples behind them are not read any
// more, from now on, and refused when they come.
func (t *Table) Retain(cutoffs metric.Cutoffs) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.retention = t.mu.retention.With(cutoffs)
	t.mu.retentionNew = true
	t.applyRetentionLocked()
}

// RestoreRetention tells the stored cut-offs when a shard is opened, beside Define and Observe.
func (t *Table) RestoreRetention(r Retention) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.retention = r
	t.applyRetentionLocked()
}

func (t *Table) applyRetentionLocked() {
	t.mu.catalogue.SetCutoffs(func(name metric.Name) int64 { return int64(t.mu.retention.Of(name)) })
}

// Retention returns the cut-offs as of now.
func (t *Table) Retention() Retention {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.retention
}

// Expired returns how many samples came that lay before their metric's cut-off.
func (t *Table) Expired() uint64 { return t.expired.Load() }

// everything is a span without ends.
func everything() (from, to int64) { return markAt + 1, math.MaxInt64 }
