package aggregate

import (
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// SamplesMax bounds the samples that one node reads one by one for a query, of which rollups answer none.
const SamplesMax = 500_000_000

// ErrTooManySamples is what a query beyond SamplesMax gets.
var ErrTooManySamples = fault.Newf(fault.Unprocessable, "too_many_samples",
	"the question has to read more than %d samples one by one; narrow the range or filter by tags", SamplesMax)

// Fold adds the samples of one series to a Builder: the one way in for storage that has samples at
// hand, whatever the query asks for. A builder has one fold at a time: it ends when the next begins, or
// with the builder's Table, and must not be used afterwards. To fold on several goroutines give each its
// own builder and merge their tables. It is not safe for concurrent use.
type Fold struct {
	group  GroupHandle
	series metric.Series
	where  Where
	detail Detail
	active bool

	cell       *Partial
	start, end metric.Timestamp // of cell's window
	held       int              // by cell's details when the fold came to it

	// Of the samples that passed, with an ordered detail:
	firstAt, lastAt metric.Timestamp
	value           float64     // the last
	some            bool        // there was one
	grown           Compensated // by how much the series grew before cell, as a counter
	// In the cell: the value that the first step leads from, and the sum of those that falls led from.
	base   float64
	resets Compensated
}

// Fold returns a fold of series, which the query selects. It returns ErrTooManyGroups over the
// limit, or what the fold before could not tell.
func (b *Builder) Fold(series metric.Series) (*Fold, error) {
	f, err := b.beginFold(series.Tags())
	if err != nil {
		return nil, err
	}
	f.series = series
	return f, nil
}

// FoldTags is Fold for queries that do not name series (Query.NamesSeries), told by its tags alone, of which it
// keeps nothing but texts: so storage need not make a series.
func (b *Builder) FoldTags(tags metric.Tags) (*Fold, error) {
	if b.query.NamesSeries() {
		panic("aggregate: a fold that names series was begun without one")
	}
	return b.beginFold(tags)
}

func (b *Builder) beginFold(tags metric.Tags) (*Fold, error) {
	if b.endFold(); b.err != nil {
		return nil, b.err
	}
	group := b.alone
	if group.g == nil || len(b.query.groupBy) > 0 {
		var err error
		if group, err = b.GroupOf(tags); err != nil {
			return nil, err
		}
		b.alone = group
	}
	b.fold = Fold{group: group, where: b.query.where, detail: b.query.detail, active: true}
	return &b.fold, nil
}

// Add takes a sample inside the query's range; the query's condition on values is looked at here. Where
// Query.Ordered says so, samples of a series come ascending by time, those of one time in the order of
// the log, and each series has one fold a builder. It returns ErrTooManySamples, ErrTooManyCells,
// ErrTooManyWindows or ErrTooManyHeld over a limit.
func (f *Fold) Add(at metric.Timestamp, value float64) error {
	b := f.group.b
	if b.left--; b.left < 0 {
		return ErrTooManySamples.WithDetail("limit", SamplesMax)
	}
	if f.where.op != 0 && !f.where.Passes(value) {
		return nil
	}
	if f.cell == nil || at < f.start || at >= f.end {
		if err := f.move(at); err != nil {
			return err
		}
	}
	f.cell.Add(value)
	if f.detail != 0 {
		f.addDetail(at, value)
	}
	return nil
}

// runMax bounds the samples that AddAll looks at in one step.
const runMax = 512

// AddAll is Add for many samples, given as columns of equal length, which it only reads. It is much
// faster where neighbours share a window.
func (f *Fold) AddAll(times []int64, values []float64) error {
	if f.detail&ordered != 0 && f.where.op != 0 {
		for i, at := range times {
			if err := f.Add(metric.Timestamp(at), values[i]); err != nil {
				return err
			}
		}
		return nil
	}
	b := f.group.b
	if b.left -= int64(len(times)); b.left < 0 {
		return ErrTooManySamples.WithDetail("limit", SamplesMax)
	}
	for len(times) > 0 {
		start, end := f.start, f.end
		if at := metric.Timestamp(times[0]); f.cell == nil || at < start || at >= end {
			start, end = b.query.window.bounds(at)
		}
		n := run(times[:min(len(times), runMax)], int64(start), int64(end))
		if passed := f.passing(values[:n]); len(passed) > 0 {
			if f.cell == nil || start != f.start {
				if err := f.move(metric.Timestamp(times[0])); err != nil {
					return err
				}
			}
			f.cell.AddAll(passed)
			if f.detail&ordered != 0 {
				f.follow(times[:n], passed)
			}
			if f.detail&^ordered != 0 {
				f.cell.more.addAll(passed)
			}
		}
		times, values = times[n:], values[n:]
	}
	return nil
}

// follow takes the next samples of the series in the cell, in order.
func (f *Fold) follow(times []int64, values []float64) {
	f.enterCell(metric.Timestamp(times[0]), values[0])
	if f.detail&DetailSteps != 0 {
		before := f.value
		for _, v := range values {
			if v < before {
				f.resets.add(before, 0)
			}
			before = v
		}
	}
	f.lastAt, f.value = metric.Timestamp(times[len(times)-1]), values[len(values)-1]
}

// run returns how many of times lie in [start, end) before the first that does not.
func run(times []int64, start, end int64) int {
	for i, at := range times {
		if at < start || at >= end {
			return i
		}
	}
	return len(times)
}

// passing returns those of at most runMax values that pass the condition, valid until the next call.
func (f *Fold) passing(values []float64) []float64 {
	if f.where.op == 0 {
		return values
	}
	b := f.group.b
	if b.passed == nil {
		b.passed = make([]float64, runMax)
	}
	return f.where.filter(b.passed, values)
}

// move goes to the cell of the window that holds at.
func (f *Fold) move(at metric.Timestamp) error {
	if err := f.leave(); err != nil {
		return err
	}
	b := f.group.b
	f.start, f.end = b.query.window.bounds(at)
	start := b.query.window.Start(at)
	cell, err := f.group.Cell(start)
	if err != nil {
		return err
	}
	if f.cell = cell; f.detail == 0 {
		return nil
	}
	if cell.more == nil {
		if cell.count > 0 {
			f.cell = nil
			return ErrNoDetail
		}
		cell.more = b.slabs.extras.extra(f.detail, b.query.narrowing.spans(f.group.g.key, start))
	}
	f.held = cell.more.held()
	return nil
}

// leave settles the cell that the fold was at.
func (f *Fold) leave() error {
	if f.cell == nil || f.detail == 0 {
		return nil
	}
	x := f.cell.more
	if f.detail&DetailEnds != 0 {
		if last := (End{At: f.lastAt, Value: f.value, Series: f.series.Key()}); !before(last, x.Ends.Last) {
			x.Ends.Last = last
		}
	}
	if f.detail&DetailSteps != 0 {
		x.Steps.step(f.base, f.value, f.resets, &f.grown)
		f.resets = Compensated{}
	}
	return f.group.b.hold(x.held() - f.held)
}

// addDetail adds a sample to the details of the cell.
func (f *Fold) addDetail(at metric.Timestamp, value float64) {
	if f.detail&ordered != 0 {
		f.enterCell(at, value)
		if value < f.value {
			f.resets.add(f.value, 0)
		}
		f.lastAt, f.value = at, value
	}
	f.cell.more.add(value)
}

// enterCell takes note of a sample that may be the series' first in the cell.
func (f *Fold) enterCell(at metric.Timestamp, value float64) {
	if f.some && f.lastAt >= f.start {
		return
	}
	if !f.some { // no step leads to it
		f.some, f.firstAt, f.value = true, at, value
	}
	f.base = f.value
	if f.detail&DetailEnds == 0 {
		return
	}
	x, first := f.cell.more, End{At: at, Value: value, Series: f.series.Key()}
	switch {
	case x.Ends == nil:
		x.Ends = f.group.b.slabs.extras.ends.one()
		*x.Ends = Ends{First: first, Last: first}
	case before(first, x.Ends.First):
		x.Ends.First = first
	}
}

// add takes a value into the details that need no order.
func (x *extra) add(v float64) {
	if x.Spread != nil {
		x.Spread.add(v)
	}
	if x.Sketch != nil {
		x.Sketch.Add(v)
	}
	for i := range x.Spans {
		x.Spans[i].add(&x.spans[i], v)
	}
}

func (x *extra) addAll(values []float64) {
	if x.Spread != nil {
		x.Spread.addAll(values)
	}
	if x.Sketch != nil {
		x.Sketch.addAll(values)
	}
	for i := range x.Spans {
		x.Spans[i].addAll(&x.spans[i], values)
	}
}

// held returns how many numbers x holds beyond a few.
func (x *extra) held() (n int) {
	for i := range x.Spans {
		n += len(x.Spans[i].Bins)*binNumbers + len(x.Spans[i].Values)
	}
	if x.Sketch != nil {
		n += (len(x.Sketch.positive) + len(x.Sketch.negative)) * sketchPageSize
	}
	return n
}

// endFold settles what the fold in progress knows only at its end.
func (b *Builder) endFold() {
	f := &b.fold
	if !f.active {
		return
	}
	f.active = false
	if err := f.leave(); err != nil && b.err == nil {
		b.err = err
	}
	if f.detail&DetailSteps != 0 && f.some && f.lastAt > f.firstAt {
		seconds := float64(f.lastAt-f.firstAt) / float64(microsPerSecond)
		f.cell.more.Steps.Slope.add((f.grown.High+f.grown.Low)/seconds, 0)
	}
}
