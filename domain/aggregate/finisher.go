package aggregate

import "github.com/raftmetrics/raftmetrics/domain/metric"

// finisher makes the answer to a question of its merged table.
type finisher struct {
	query       Query
	functions   []Function
	fill        Fill
	exact       *quantiles       // what was found of exact quantiles, if any are asked for
	places      []int            // of functions: which of exact's functions it is
	first, last metric.Timestamp // starts of the first and last window to fill
	empty       bool             // no window at all
	loosest     float64          // relative error met
	key         string           // of the group, for exact
	tags        slab[metric.Tag]
	windowed    slab[WindowValues]
	slots       slab[Value] // one for each function of a window or group
}

func newFinisher(qn Question) *finisher {
	f := &finisher{query: qn.Query, functions: qn.Functions, fill: qn.Fill, places: make([]int, len(qn.Functions))}
	place := 0
	for i, fn := range qn.Functions {
		if _, is := fn.Quantile(); is {
			f.places[i] = place
			place++
		}
	}
	return f
}

// finish answers with the groups of t; windows to fill span those of all.
func (f *finisher) finish(t, all Table) (Answer, error) {
	groups := t.Groups
	if len(f.query.groupBy) == 0 && len(groups) == 0 {
		groups = []Group{{}}
	}
	if err := f.spanWindows(all, len(groups)); err != nil {
		return Answer{}, err
	}
	f.expect(groups)
	answer := Answer{Query: f.query, Groups: make([]AnswerGroup, len(groups))}
	for i := range groups {
		if err := f.group(&answer.Groups[i], &groups[i]); err != nil {
			return Answer{}, err
		}
	}
	answer.RelativeError = f.loosest
	return answer, nil
}

// spanWindows finds which windows a filled answer of so many groups spans.
func (f *finisher) spanWindows(t Table, groups int) error {
	w, r := f.query.window, f.query.span
	if w.IsZero() || f.fill == FillNone {
		return nil
	}
	f.empty = true
	for _, g := range t.Groups {
		first, last := g.Cells[0].Start, g.Cells[len(g.Cells)-1].Start
		if f.empty {
			f.first, f.last, f.empty = first, last, false
		}
		f.first, f.last = min(f.first, first), max(f.last, last)
	}
	fromOpen, toOpen := r.from == metric.TimestampMin, r.to == metric.TimestampMax
	if f.empty && (fromOpen || toOpen) {
		return nil
	}
	f.empty = false
	if !fromOpen {
		f.first = w.Start(r.from)
	}
	if !toOpen {
		f.last = w.Start(r.to)
	}
	if err := CheckWindows(w, f.first, f.last); err != nil {
		return err
	}
	if n := (int64(f.last-f.first)/w.Width() + 1) * int64(groups); n > CellsMax {
		return ErrTooManyCells.WithDetail("limit", CellsMax)
	}
	return nil
}

// windowCount returns how many windows the answer has of g: filled, or those with samples.
func (f *finisher) windowCount(g *Group) int {
	if f.fill == FillNone || f.empty {
		return len(g.Cells)
	}
	return max(len(g.Cells), int(int64(f.last-f.first)/f.query.window.Width())+1)
}

// expect makes room for the answer to groups.
func (f *finisher) expect(groups []Group) {
	f.tags.expected = len(groups) * len(f.query.groupBy)
	cells := len(groups)
	if !f.query.window.IsZero() {
		cells = 0
		for i := range groups {
			cells += f.windowCount(&groups[i])
		}
		f.windowed.expected = cells
	}
	f.slots.expected = cells * len(f.functions)
}

// group fills in what the answer has of g.
func (f *finisher) group(ag *AnswerGroup, g *Group) (err error) {
	if f.exact != nil {
		f.key = groupKey(g.Tags)
	}
	if n := len(f.query.groupBy); n > 0 {
		ag.Tags = f.tags.room(n)
	}
	for i, key := range f.query.groupBy {
		ag.Tags = append(ag.Tags, metric.Tag{Key: key, Value: g.Tags[i]})
	}
	if !f.query.window.IsZero() {
		ag.Windows, err = f.windows(g)
		return err
	}
	c := &Cell{}
	if len(g.Cells) > 0 {
		c = &g.Cells[0]
	}
	ag.Values, err = f.values(c)
	return err
}

func (f *finisher) windows(g *Group) ([]WindowValues, error) {
	w := f.query.window
	windows := f.windowed.room(f.windowCount(g))
	var previous []Value
	next := f.first
	for i := range g.Cells {
		c := &g.Cells[i]
		windows = f.fillTo(windows, next, c.Start, previous)
		values, err := f.values(c)
		if err != nil {
			return nil, err
		}
		next = w.End(c.Start)
		windows = append(windows, WindowValues{Start: c.Start, End: next, Values: values})
		previous = values
	}
	return f.fillTo(windows, next, w.End(f.last), previous), nil
}

// fillTo appends the windows from next to end, exclusive, which have no samples, if those are wanted.
func (f *finisher) fillTo(windows []WindowValues, next, end metric.Timestamp, previous []Value) []WindowValues {
	if f.fill == FillNone || f.empty {
		return windows
	}
	for next < end {
		start := next
		next = f.query.window.End(start)
		windows = append(windows, WindowValues{Start: start, End: next, Values: f.filler(previous)})
	}
	return windows
}

func (f *finisher) values(c *Cell) ([]Value, error) {
	var found []target
	if f.exact != nil {
		found = f.exact.values(f.key, c.Start)
	}
	if more := c.Partial.more; more != nil && more.Sketch != nil {
		f.loosest = max(f.loosest, more.Sketch.RelativeError())
	}
	values := f.slots.room(len(f.functions))
	for i, fn := range f.functions {
		if _, is := fn.Quantile(); is && found != nil {
			t := &found[f.places[i]]
			values = append(values, Value{Function: fn, Number: t.value, Null: t.null})
			continue
		}
		v, err := evaluate(&f.query, fn, c.Partial)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// filler returns the values of a window without samples.
func (f *finisher) filler(previous []Value) []Value {
	values := f.slots.room(len(f.functions))
	for i, fn := range f.functions {
		v := Value{Function: fn, Null: true}
		switch {
		case fn == Count, f.fill == FillZero && zeroable(fn):
			v.Null = false
		case f.fill == FillPrevious && previous != nil:
			v = previous[i]
		}
		values = append(values, v)
	}
	return values
}
