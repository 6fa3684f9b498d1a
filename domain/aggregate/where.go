package aggregate

import (
	"math"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Comparison compares a sample's value with a constant. The numbers travel between nodes.
type Comparison uint8

// The comparisons.
const (
	Greater Comparison = iota + 1
	GreaterOrEqual
	Less
	LessOrEqual
	Equal
	NotEqual
)

// comparisonTexts has the longer texts before those that they begin with.
var comparisonTexts = []struct {
	text string
	op   Comparison
}{{">=", GreaterOrEqual}, {"<=", LessOrEqual}, {"==", Equal}, {"!=", NotEqual}, {">", Greater}, {"<", Less}}

// String returns the operator as queries and SQL's relatives write it.
func (c Comparison) String() string {
	for _, t := range comparisonTexts {
		if t.op == c {
			return t.text
		}
	}
	return ""
}

// Where keeps the samples whose value compares so with a constant; what does not pass is not seen by
// any function. The zero Where keeps all.
type Where struct {
	op    Comparison
	value float64
}

// NewWhere builds a condition; value must be finite.
func NewWhere(op Comparison, value float64) (Where, error) {
	if op < Greater || op > NotEqual || math.IsNaN(value) || math.IsInf(value, 0) {
		return Where{}, errWhere("is no condition")
	}
	return Where{op: op, value: value}, nil
}

func errWhere(problem string) error {
	return fault.Field("where", problem, "value, one of > >= < <= == !=, and a number, such as value>90")
}

// ParseWhere reads a condition such as value>90.
func ParseWhere(text string) (Where, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "value")
	if !ok {
		return Where{}, errWhere("is " + strconv.Quote(text))
	}
	rest = strings.TrimSpace(rest)
	for _, t := range comparisonTexts {
		number, found := strings.CutPrefix(rest, t.text)
		if !found {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			break
		}
		return NewWhere(t.op, value)
	}
	return Where{}, errWhere("is " + strconv.Quote(text))
}

// IsZero reports whether every sample passes.
func (w Where) IsZero() bool { return w.op == 0 }

// Op returns the comparison, 0 for the zero Where.
func (w Where) Op() Comparison { return w.op }

// Value returns the constant.
func (w Where) Value() float64 { return w.value }

// Passes reports whether a sample with this value is kept.
func (w Where) Passes(value float64) bool {
	switch w.op {
	case Greater:
		return value > w.value
	case GreaterOrEqual:
		return value >= w.value
	case Less:
		return value < w.value
	case LessOrEqual:
		return value <= w.value
	case Equal:
		return value == w.value
	case NotEqual:
		return value != w.value
	}
	return true
}

// filter copies those of values that pass to the beginning of into, which is as long, and returns them.
func (w Where) filter(into, values []float64) []float64 {
	n, limit := 0, w.value
	into = into[:len(values)]
	switch w.op { // a loop for each, for they see millions of values
	case Greater:
		for _, v := range values {
			into[n] = v
			if v > limit {
				n++
			}
		}
	case GreaterOrEqual:
		for _, v := range values {
			into[n] = v
			if v >= limit {
				n++
			}
		}
	case Less:
		for _, v := range values {
			into[n] = v
			if v < limit {
				n++
			}
		}
	case LessOrEqual:
		for _, v := range values {
			into[n] = v
			if v <= limit {
				n++
			}
		}
	default:
		for _, v := range values {
			into[n] = v
			if w.Passes(v) {
				n++
			}
		}
	}
	return into[:n]
}
