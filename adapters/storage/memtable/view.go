package memtable

import (
	"cmp"
	"context"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// View is what a query reads of a table, as of one instant: no later Append, Freeze, Drop, Remove or
// Retain changes it. It holds memory, so let go of it after use. Its methods only read.
//
// A query reads the rows of the file that lie in Span, in none of Tombstones, in generations up to
// Durable; and from the view what is in memory. For the series that Replacing names the two must be put
// together sample by sample, by Overlay.
type View struct {
	query    aggregate.Query
	durable  uint64
	from, to int64 // the query's range behind the cut-off
	live     bool
	dead     []Tombstone // of the metric, ascending by generation
	selection
	parts []part
}

// part is one series' samples in one generation: a frozen column, or a copy of an active one.
type part struct {
	series catalogue.SeriesID
	column *column
	last   uint64 // of the generation
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
	v.from, v.to = int64(q.Range().From()), int64(q.Range().To())
	if !v.known {
		return v
	}
	v.live = t.mu.catalogue.Live(v.metric) > 0
	v.from = max(v.from, t.mu.catalogue.Cutoff(v.metric))
	v.dead = deadOf(t.mu.tombstones, v.metric)
	active, sealed := t.mu.active, withSamples(t.mu.sealed)
	// An appender may be waiting, so what follows allocates twice, not for every series.
	copies := make([]column, 0, min(len(v.ids), active.columns.Len()))
	v.parts = make([]part, 0, v.partsMax(sealed)+cap(copies))
	for _, id := range v.ids {
		for _, g := range sealed {
			if c := g.column(id); v.wants(c) {
				v.parts = append(v.parts, part{series: id, column: c, last: g.last})
			}
		}
		if c := active.column(id); v.wants(c) {
			copies = append(copies, *c)
			v.parts = append(v.parts, part{series: id, column: &copies[len(copies)-1], last: active.last})
		}
	}
	return v
}

// withSamples leaves out the empty ones of generations: deletions make them.
func withSamples(generations []*Generation) []*Generation {
	empty := func(g *Generation) bool { return g.samples == 0 }
	if !slices.ContainsFunc(generations, empty) {
		return generations
	}
	return slices.DeleteFunc(slices.Clone(generations), empty)
}

// partsMax bounds the parts that the selected series can have in generations.
func (v *View) partsMax(generations []*Generation) (n int) {
	for _, g := range generations {
		n += min(len(v.ids), g.columns.Len())
	}
	return n
}

// wants reports whether c, which may be nil, may hold samples in the view's span.
func (v *View) wants(c *column) bool { return c != nil && c.overlaps(v.from, v.to) }

// selectSeries returns with the read lock held, so that what is read next belongs to the same
// instant as the selection. Matching runs without the lock, but for series that came meanwhile.
func (t *Table) selectSeries(name metric.Name, matchers metric.Matchers) selection {
	t.mu.RLock()
	s := t.selectionOf(name)
	if matchers.IsZero() || !s.known {
		return s
	}
	index := t.mu.catalogue.Index(s.metric)
	t.mu.RUnlock()
	matched := index.Select(s.list, s.ids, matchers)
	seen := len(s.ids)
	t.mu.RLock()
	s = t.selectionOf(name)
	var parts catalogue.Parts
	for _, id := range s.ids[seen:] {
		if matchers.Match(s.list.Tags(id, &parts)) {
			matched = append(matched, id)
		}
	}
	s.ids = matched
	return s
}

func (t *Table) selectionOf(name metric.Name) selection {
	id, series, known := t.mu.catalogue.Metric(name)
	return selection{metric: id, known: known, ids: series, list: t.mu.catalogue.Series()}
}

// Query returns what the view was taken for.
func (v *View) Query() aggregate.Query { return v.query }

// Durable returns the number of the newest durable generation: flushed rows of later ones must be
// ignored, for the view has them, and earlier ones are not in it (unless kept, see Table.Keep).
func (v *View) Durable() uint64 { return v.durable }

// Span returns the query's range behind the metric's cut-off, both ends included; it is empty, with from
// after to, where the whole range lies before the cut-off.
func (v *View) Span() (from, to int64) { return v.from, v.to }

// Tombstones returns the metric's deletions that the file does not know yet: no row in their ranges
// counts. Callers must not change them.
func (v *View) Tombstones() []Tombstone { return v.dead }

// Metric returns the metric's number and whether it has any series with samples, selected or not,
// inside the query's range or not.
func (v *View) Metric() (id catalogue.MetricID, known bool) { return v.metric, v.live }

// Selected returns the numbers of the selected series, ascending, whether or not they have samples in
// the view; callers must not change them.
func (v *View) Selected() []catalogue.SeriesID { return v.ids }

// Series returns all series of the shard as of the view.
func (v *View) Series() catalogue.List { return v.list }

// Fold begins a fold of one of Series in b, a builder for the same query. It makes the series only for queries
// that name it. parts is the caller's, for the tags, which nothing holds on to.
func (v *View) Fold(b *aggregate.Builder, id catalogue.SeriesID, parts *catalogue.Parts) (*aggregate.Fold, error) {
	switch {
	case v.query.NamesSeries():
		series, _ := v.list.At(id)
		return b.Fold(series)
	case len(v.query.GroupBy()) == 0:
		return b.FoldTags(metric.Tags{})
	}
	return b.FoldTags(v.list.Tags(id, parts))
}

// Replacing returns the series, ascending, that have samples in the span which may replace rows of the
// file. Mostly there is none.
func (v *View) Replacing() (ids []catalogue.SeriesID) {
	var w gathered
	for parts := range v.bySeries() {
		if marked(parts) {
			if _, effects := v.resolve(&w, parts); effects != nil {
				ids = append(ids, parts[0].series)
			}
		}
	}
	return ids
}

// Points is one series' samples in memory, see View.Points.
type Points struct {
	work gathered
}

// Points returns the samples in memory of a selected series inside the span that count, ascending by
// time, ties in log order, as Resolve leaves them: effects is nil, or tells which must replace rows of
// the file. Both are scratch's and valid until its next use, which is for one goroutine.
func (v *View) Points(id catalogue.SeriesID, scratch *Points) (points []Point, effects []Effect) {
	first, _ := slices.BinarySearchFunc(v.parts, id, func(p part, id catalogue.SeriesID) int { return cmp.Compare(p.series, id) })
	last := first
	for last < len(v.parts) && v.parts[last].series == id {
		last++
	}
	return v.resolve(&scratch.work, v.parts[first:last])
}

// InMemory returns the selected series, ascending, that may have samples in memory inside the span.
func (v *View) InMemory() (ids []catalogue.SeriesID) {
	for parts := range v.bySeries() {
		ids = append(ids, parts[0].series)
	}
	return ids
}

// bySeries yields each series' parts, ascending.
func (v *View) bySeries() func(yield func([]part) bool) {
	return func(yield func([]part) bool) {
		for rest := v.parts; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].series == rest[0].series {
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

func marked(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.column.marked })
}

// resolve gathers what counts of one series' parts.
func (v *View) resolve(w *gathered, parts []part) ([]Point, []Effect) {
	w.reset()
	for _, p := range parts {
		w.add(p.column, v.from, v.to, deadFrom(v.dead, p.last))
	}
	return w.resolve(false)
}

// AddTo adds the view's samples inside the query's range to b, a builder for the same query, and
// marks the metric known. It stops when ctx ends, with its cause. It is right where the file has no rows
// for the query; else for queries that are not Ordered, and all series but those of Replacing.
func (v *View) AddTo(ctx context.Context, b *aggregate.Builder) error {
	return v.AddSome(ctx, b, nil)
}

// AddSome is AddTo without the series in but, which is ascending.
func (v *View) AddSome(ctx context.Context, b *aggregate.Builder, but []catalogue.SeriesID) error {
	if v.live {
		b.MarkKnown()
	}
	a := adder{ctx: ctx, view: v, builder: b}
	for parts := range v.bySeries() {
		if _, left := slices.BinarySearch(but, parts[0].series); left {
			continue
		}
		if err := a.series(parts); err != nil {
			return err
		}
	}
	return nil
}
