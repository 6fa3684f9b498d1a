package aggregate

import (
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Detail says what partials carry besides count, sum, minimum and maximum. It is a set of bits, whose
// values travel between nodes.
type Detail uint8

// The details.
const (
	DetailEnds   Detail = 1 << iota // the first and the last sample
	DetailSpread                    // what Stddev needs
	DetailSteps                     // what Increase, Rate and Delta need
	DetailNarrow                    // what the query's Narrowing asks of the cells it names
	DetailSketch                    // what approximate quantiles need

	detailsAll = DetailSketch<<1 - 1
)

// ordered are the details for which a series' samples must be added in order.
const ordered = DetailEnds | DetailSteps

// DetailOf returns what functions need. Quantiles need no detail in a first round, from which exact
// ones are narrowed down; approximate asks for sketches instead.
func DetailOf(functions []Function, approximate bool) (d Detail) {
	for _, f := range functions {
		switch f {
		case First, Last:
			d |= DetailEnds
		case Stddev:
			d |= DetailSpread
		case Increase, Rate, Delta:
			d |= DetailSteps
		default: // count, sum, minimum and maximum are always there
			if _, is := f.Quantile(); is && approximate {
				d |= DetailSketch
			}
		}
	}
	return d
}

// End is the first or last sample of a cell.
type End struct {
	At     metric.Timestamp
	Value  float64
	Series string // the canonical key, which decides between samples of one time
}

// Details are the plain numbers of what a Partial carries besides Parts, for adapters that send or
// compute them. A nil field is a detail that it does not carry; all are nil for no samples.
type Details struct {
	Ends   *Ends
	Spread *Spread
	Steps  *Steps
	Spans  []SpanCount // one for each Span that the query's Narrowing has for the cell, in that order
	Sketch *Sketch
}

// Ends are the first and the last sample of a cell.
type Ends struct{ First, Last End }

// merge takes the ends of other samples: later in the log where both have samples of one series and time.
func (e *Ends) merge(o Ends) {
	if before(o.First, e.First) {
		e.First = o.First
	}
	if !before(o.Last, e.Last) {
		e.Last = o.Last
	}
}

func before(a, b End) bool { return a.At < b.At || a.At == b.At && a.Series < b.Series }

// ErrNoDetail is the sign of a defect: partials that lack what the query needs of them.
var ErrNoDetail = fault.New(fault.Internal, "partial_without_detail", "a partial lacks what the question needs; this is a defect, please report it")

// Details returns what p carries. The slices and pointers are p's own.
func (p Partial) Details() Details {
	if p.more == nil {
		return Details{}
	}
	return p.more.Details
}

// WithDetails returns p with d, of which it becomes the owner: details of exactly the samples of p, those
// that q asks for. It refuses what contradicts p or q as Corrupt.
func (p Partial) WithDetails(q Query, start metric.Timestamp, group []string, d Details) (Partial, error) {
	has := bitIf(d.Ends != nil, DetailEnds) | bitIf(d.Spread != nil, DetailSpread) |
		bitIf(d.Steps != nil, DetailSteps) | bitIf(d.Sketch != nil, DetailSketch)
	spans := q.narrowing.Spans(group, start)
	switch {
	case p.Count() == 0 || has != q.detail&^DetailNarrow || len(d.Spans) != len(spans):
		return Partial{}, errParts
	case d.Ends != nil && !d.Ends.valid(), d.Sketch != nil && d.Sketch.Count() != p.Count():
		return Partial{}, errParts
	case !spansValid(spans, d.Spans, p.Count()):
		return Partial{}, errParts
	}
	p.more = &extra{Details: d, spans: spans}
	return p, nil
}

func bitIf(is bool, bit Detail) Detail {
	if is {
		return bit
	}
	return 0
}

func (e *Ends) valid() bool {
	return e.First.At <= e.Last.At && isFinite(e.First.Value) && isFinite(e.Last.Value)
}

// extra is what a Partial carries for the richer questions.
type extra struct {
	Details
	spans []Span // what Details.Spans count
}

// extraSlabs are where a builder's details come from.
type extraSlabs struct {
	extras  slab[extra]
	ends    slab[Ends]
	spreads slab[Spread]
	steps   slab[Steps]
}

// extra returns what collects detail for a cell of which the query's plan has spans.
func (s *extraSlabs) extra(detail Detail, spans []Span) *extra {
	x := s.extras.one()
	x.spans = spans
	if detail&DetailSpread != 0 {
		x.Spread = s.spreads.one()
	}
	if detail&DetailSteps != 0 {
		x.Steps = s.steps.one()
	}
	if detail&DetailSketch != 0 {
		x.Sketch = &Sketch{}
	}
	if len(spans) > 0 {
		x.Spans = newSpanCounts(spans)
	}
	return x
}

// clone returns a copy that shares nothing with x.
func (x *extra) clone() *extra {
	if x == nil {
		return nil
	}
	c := &extra{spans: x.spans}
	c.Ends, c.Spread, c.Steps = copied(x.Ends), copied(x.Spread), copied(x.Steps)
	if x.Sketch != nil {
		c.Sketch = x.Sketch.clone()
	}
	if x.Spans != nil {
		c.Spans = slices.Clone(x.Spans)
		for i := range c.Spans {
			c.Spans[i].Bins = slices.Clone(c.Spans[i].Bins)
			c.Spans[i].Values = slices.Clone(c.Spans[i].Values)
		}
	}
	return c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// mergeExtra returns the details of two partials that both have samples; a is changed, b is not. What
// one of them lacks the result lacks.
func mergeExtra(a, b *extra) *extra {
	if a == nil || b == nil || (a.Ends == nil) != (b.Ends == nil) || (a.Spread == nil) != (b.Spread == nil) ||
		(a.Steps == nil) != (b.Steps == nil) || (a.Sketch == nil) != (b.Sketch == nil) || len(a.Spans) != len(b.Spans) {
		return nil
	}
	if a.Ends != nil {
		a.Ends.merge(*b.Ends)
	}
	if a.Spread != nil {
		a.Spread.merge(*b.Spread)
	}
	if a.Steps != nil {
		a.Steps.merge(*b.Steps)
	}
	if a.Sketch != nil {
		a.Sketch.Merge(b.Sketch)
	}
	for i := range a.Spans {
		a.Spans[i].merge(&b.Spans[i])
	}
	return a
}
