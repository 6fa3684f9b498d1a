package aggregate

import (
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Fill says what stands in windows without samples.
type Fill uint8

// The ways to fill. In a filled window count is always 0, for it is a fact.
const (
	FillNone     Fill = iota // leave the window out
	FillNull                 // null
	FillZero                 // 0
	FillPrevious             // what the last window with samples had, null before the first
)

// ParseFill reads null, 0 or previous.
func ParseFill(text string) (Fill, error) {
	switch text {
	case "null":
		return FillNull, nil
	case "0":
		return FillZero, nil
	case "previous":
		return FillPrevious, nil
	}
	return FillNone, fault.Field("fill", "is "+strconv.Quote(text), "null, 0 or previous")
}

// Value is the result of one function. Null stands where there were no samples.
type Value struct {
	Function Function
	Number   float64 // unless Null; for Count a whole number below 2^53
	Null     bool
}

// WindowValues is one window, [Start, End), and its values.
type WindowValues struct {
	Start, End metric.Timestamp
	Values     []Value
}

// AnswerGroup is one group's result: Windows when the query has a window, else Values.
type AnswerGroup struct {
	Tags    []metric.Tag // the group_by keys, in that order, and their values; "" where not set
	Values  []Value
	Windows []WindowValues
}

// Answer is the finished result of a Query. A query without group_by has exactly one group, unless a
// ranking or limit says otherwise.
type Answer struct {
	Query  Query
	Groups []AnswerGroup
	// RelativeError bounds by how much quantiles may be off, as a share of the true value; 0: exact.
	RelativeError float64
}

// Finish computes the answer from the merged table: the values of functions in their order, windows
// filled as fill says (an open end of the range reaches to the group-independent first or last sample's window).
// It returns ErrOverflow for a sum or avg out of range and ErrTooManyWindows or ErrTooManyCells where filling
// would exceed the limits. It is the end of a search (see NewSearch) that took one round: exact quantiles,
// which take more, are ErrNoDetail here.
func Finish(q Query, t Table, functions []Function, fill Fill) (Answer, error) {
	f := newFinisher(Question{Query: q, Functions: functions, Fill: fill})
	return f.finish(t, t)
}

type finisher struct {
	query       Query
	functions   []Function
	fill        Fill
	exact       *quantiles       // what was found of exact quantiles, if any are asked for
	places      []int            // of functions: which of exact's functions it is
	first, last metric.Timestamp // starts of the first and last window to fill
	empty       bool             // no window at all
	loosest     float64          // relative error met
	room        []Value          // see slots
}

// slots returns a value for each function, from memory taken for many windows at once.
func (f *finisher) slots() []Value {
	n, cells := len(f.functions), 64
	if f.query.window.IsZero() && len(f.query.groupBy) == 0 {
		cells = 1
	}
	if len(f.room) < n {
		f.room = make([]Value, n*cells)
	}
	values := f.room[:n:n]
	f.room = f.room[n:]
	return values
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
	answer := Answer{Query: f.query, Groups: make([]AnswerGroup, 0, len(groups))}
	for _, g := range groups {
		ag, err := f.group(g)
		if err != nil {
			return Answer{}, err
		}
		answer.Groups = append(answer.Groups, ag)
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

func (f *finisher) group(g Group) (AnswerGroup, error) {
	ag := AnswerGroup{}
	for i, key := range f.query.groupBy {
		ag.Tags = append(ag.Tags, metric.Tag{Key: key, Value: g.Tags[i]})
	}
	var err error
	if !f.query.window.IsZero() {
		ag.Windows, err = f.windows(g)
		return ag, err
	}
	var c Cell
	if len(g.Cells) > 0 {
		c = g.Cells[0]
	}
	ag.Values, err = f.values(g, c)
	return ag, err
}

func (f *finisher) windows(g Group) ([]WindowValues, error) {
	w := f.query.window
	windows := make([]WindowValues, 0, len(g.Cells))
	var previous []Value
	next := f.first
	fillTo := func(end metric.Timestamp) {
		for ; f.fill != FillNone && !f.empty && next < end; next = w.End(next) {
			windows = append(windows, WindowValues{Start: next, End: w.End(next), Values: f.filler(previous)})
		}
	}
	for _, c := range g.Cells {
		fillTo(c.Start)
		values, err := f.values(g, c)
		if err != nil {
			return nil, err
		}
		windows = append(windows, WindowValues{Start: c.Start, End: w.End(c.Start), Values: values})
		previous, next = values, w.End(c.Start)
	}
	fillTo(w.End(f.last))
	return windows, nil
}

func (f *finisher) values(g Group, c Cell) ([]Value, error) {
	var found []target
	if f.exact != nil {
		found = f.exact.values(groupKey(g.Tags), c.Start)
	}
	if more := c.Partial.more; more != nil && more.Sketch != nil {
		f.loosest = max(f.loosest, more.Sketch.RelativeError())
	}
	values := f.slots()
	for i, fn := range f.functions {
		if _, is := fn.Quantile(); is && found != nil {
			t := &found[f.places[i]]
			values[i] = Value{Function: fn, Number: t.value, Null: t.null}
			continue
		}
		v, err := evaluate(f.query, fn, c.Partial)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// evaluate computes fn of a cell of q from its partial.
func evaluate(q Query, fn Function, p Partial) (Value, error) {
	v := Value{Function: fn, Null: p.count == 0}
	if fn == Count {
		return Value{Function: fn, Number: float64(p.Count())}, nil
	}
	if v.Null {
		return v, nil
	}
	var err error
	switch fn {
	case Min:
		v.Number = p.min
	case Max:
		v.Number = p.max
	case Sum, Avg:
		if v.Number, err = p.Sum(); fn == Avg {
			v.Number /= float64(p.Count())
		}
	default:
		v.Number, err = p.more.evaluate(q, fn, p)
	}
	return v, err
}

// evaluate is for the functions that need more than plain numbers.
func (x *extra) evaluate(q Query, fn Function, p Partial) (float64, error) {
	_, quantile := fn.Quantile()
	switch {
	case x == nil:
	case quantile && x.Sketch != nil:
		return min(max(p.min, x.Sketch.quantile(fn.Rank(p.Count()))), p.max), nil
	case (fn == First || fn == Last) && x.Ends != nil:
		if fn == First {
			return x.Ends.First.Value, nil
		}
		return x.Ends.Last.Value, nil
	case fn == Stddev && x.Spread != nil:
		return finite(x.Spread.deviation(p))
	case x.Steps != nil:
		return x.Steps.evaluate(q, fn)
	}
	return 0, ErrNoDetail
}

func (s *Steps) evaluate(q Query, fn Function) (float64, error) {
	switch {
	case fn == Increase:
		return s.Increase.Value()
	case fn == Delta:
		return s.Delta.Value()
	case fn == Rate && q.window.IsZero():
		return s.Slope.Value()
	case fn == Rate:
		grown, err := s.Increase.Value()
		return grown / (float64(q.window.Width()) / float64(microsPerSecond)), err
	}
	return 0, ErrNoDetail
}

// zeroable reports whether 0 can stand for fn of no samples: for what adds up, and as always for the
// extremes and the average. A sample, a quantile or a deviation of 0 would be invented.
func zeroable(fn Function) bool {
	_, quantile := fn.Quantile()
	return !quantile && fn != First && fn != Last && fn != Stddev
}

// filler returns the values of a window without samples.
func (f *finisher) filler(previous []Value) []Value {
	values := f.slots()
	for i, fn := range f.functions {
		switch {
		case fn == Count, f.fill == FillZero && zeroable(fn):
			values[i] = Value{Function: fn}
		case f.fill == FillPrevious && previous != nil:
			values[i] = previous[i]
		default:
			values[i] = Value{Function: fn, Null: true}
		}
	}
	return values
}
