package memtable

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// View is what a query reads of a table, as of one instant: no later Append, Freeze or Drop changes
// it. It holds memory, so let go of it after use. Its methods only read.
type View struct {
	query   aggregate.Query
	durable uint64
	selection
	parts []part
}

// part is one series' samples in one generation: a frozen column, or a copy of an active one.
type part struct {
	series catalogue.SeriesID
	column *column
}

// selection is the series that a query selects.
type selection struct {
	metric catalogue.MetricID
	known  bool
	ids    []catalogue.SeriesID
	list   catalogue.List
}

// View pins what q reads: the samples in memory of the series that q selects.
func (t *Table) View(q aggregate.Query) *View {
	v := &View{query: q, selection: t.selectSeries(q.Metric(), q.Matchers())}
	defer t.mu.RUnlock()
	v.durable = t.mu.durable
	active := t.mu.active
	// An appender may be waiting, so what follows allocates twice, not for every series.
	copies := make([]column, 0, min(len(v.ids), len(active.columns)))
	v.parts = make([]part, 0, v.partsMax(t.mu.sealed)+cap(copies))
	for _, id := range v.ids {
		for _, g := range t.mu.sealed {
			if c := g.column(id); v.wants(c) {
				v.parts = append(v.parts, part{series: id, column: c})
			}
		}
		if c := active.column(id); v.wants(c) {
			copies = append(copies, *c)
			v.parts = append(v.parts, part{series: id, column: &copies[len(copies)-1]})
		}
	}
	return v
}

// partsMax bounds the parts that the selected series can have in generations.
func (v *View) partsMax(generations []*Generation) (n int) {
	for _, g := range generations {
		n += min(len(v.ids), len(g.columns))
	}
	return n
}

// wants reports whether c, which may be nil, may hold samples in the query's range.
func (v *View) wants(c *column) bool {
	span := v.query.Range()
	return c != nil && c.overlaps(int64(span.From()), int64(span.To()))
}

// selectSeries returns with the read lock held, so that what is read next belongs to the same
// instant as the selection. Matching runs without the lock, but for series that came meanwhile.
func (t *Table) selectSeries(name metric.Name, matchers metric.Matchers) selection {
	t.mu.RLock()
	s := t.selectionOf(name)
	if matchers.IsZero() {
		return s
	}
	t.mu.RUnlock()
	matched := s.filter(nil, 0, matchers)
	seen := len(s.ids)
	t.mu.RLock()
	s = t.selectionOf(name)
	s.ids = s.filter(matched, seen, matchers)
	return s
}

func (t *Table) selectionOf(name metric.Name) selection {
	id, series, known := t.mu.catalogue.Metric(name)
	return selection{metric: id, known: known, ids: series, list: t.mu.catalogue.Series()}
}

// filter appends to matched the ids from index first on that matchers select.
func (s *selection) filter(matched []catalogue.SeriesID, first int, matchers metric.Matchers) []catalogue.SeriesID {
	for _, id := range s.ids[first:] {
		if series, _ := s.list.At(id); matchers.Match(series.Tags()) {
			matched = append(matched, id)
		}
	}
	return matched
}

// Durable returns the number of the newest durable generation: flushed rows of later ones must be
// ignored, for the view has them, and earlier ones are not in it (unless kept, see Table.Keep).
func (v *View) Durable() uint64 { return v.durable }

// Metric returns the metric's number and whether it has any series.
func (v *View) Metric() (id catalogue.MetricID, known bool) { return v.metric, v.known }

// Selected returns the numbers of the selected series, ascending, whether or not they have samples in
// the view; callers must not change them.
func (v *View) Selected() []catalogue.SeriesID { return v.ids }

// Series returns all series of the shard as of the view.
func (v *View) Series() catalogue.List { return v.list }

// AddTo adds the view's samples inside the query's range to b, a builder for the same query, and
// marks the metric known. It stops when ctx ends, with its cause.
func (v *View) AddTo(ctx context.Context, b *aggregate.Builder) error {
	if v.known {
		b.MarkKnown()
	}
	a := adder{query: v.query}
	for i := range v.parts {
		p := &v.parts[i]
		if i == 0 || (len(v.query.GroupBy()) > 0 && v.parts[i-1].series != p.series) {
			series, _ := v.list.At(p.series)
			group, err := b.Group(v.query.GroupTags(series.Tags()))
			if err != nil {
				return err
			}
			a.group = group
		}
		if err := a.column(ctx, p.column); err != nil {
			return err
		}
	}
	return nil
}
