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
	Null     bool    // before Number, which makes a value a third smaller
	Number   float64 // unless Null; for Count a whole number below 2^53
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

// evaluate computes fn of a cell of q from its partial.
func evaluate(q *Query, fn Function, p Partial) (Value, error) {
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
func (x *extra) evaluate(q *Query, fn Function, p Partial) (float64, error) {
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

func (s *Steps) evaluate(q *Query, fn Function) (float64, error) {
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
