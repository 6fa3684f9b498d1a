package aggregate

import (
	"slices"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Function is one aggregation that a query may ask for: one of the constants, or a Quantile.
type Function uint16

// The functions without parameters.
const (
	Avg Function = iota + 1
	Min
	Max
	Sum
	Count
	// First and Last are the values with the least and the greatest timestamp: of equal timestamps
	// within a series the first and the last in the log, across series those of the lesser and of the
	// greater series key.
	First
	Last
	// Stddev is the standard deviation of the population: the root of the mean squared deviation.
	Stddev
	// Increase is by how much counters grew. A step leads from one sample of a series to its next
	// inside the range and belongs to the window of the later one, so that windows add up to the
	// whole. A counter that falls began anew at zero: the step is then its new value.
	Increase
	// Rate is Increase a second: of a window's width or, without windows, of the time between each
	// series' first and last sample; over the series of a group the sum.
	Rate
	// Delta is the sum of the steps as they are, falling ones negative: for gauges.
	Delta
)

// quantileBase is the number of p0; a quantile counts hundredths of a percent.
const (
	quantileBase  = 10_000
	quantileUnits = 10_000
)

var functionNames = [...]string{
	Avg: "avg", Min: "min", Max: "max", Sum: "sum", Count: "count", First: "first", Last: "last",
	Stddev: "stddev", Increase: "increase", Rate: "rate", Delta: "delta",
}

// FunctionsMax bounds the functions of one query.
const FunctionsMax = 32

// DefaultFunctions is what a query that names none gets.
func DefaultFunctions() []Function { return []Function{Avg, Min, Max, Count} }

// Quantile returns the quantile as a share between 0 and 1, both exclusive, and whether f is one. The
// quantile of n values is the ⌈share·n⌉-th least (nearest rank), so always a value that was recorded.
func (f Function) Quantile() (share float64, is bool) {
	if f <= quantileBase {
		return 0, false
	}
	return float64(f-quantileBase) / quantileUnits, true
}

// Rank returns which of count values, ascending from 1, the quantile f is. It is exact.
func (f Function) Rank(count uint64) uint64 {
	units := uint64(f - quantileBase)
	// Split so that nothing overflows.
	rank := count/quantileUnits*units + (count%quantileUnits*units+quantileUnits-1)/quantileUnits
	return max(1, rank)
}

// String returns the name used in queries and answers.
func (f Function) String() string {
	if int(f) < len(functionNames) {
		return functionNames[f]
	}
	text := strconv.FormatFloat(float64(f-quantileBase)/100, 'f', -1, 64)
	return "p" + text
}

const functionForm = "a comma list of avg, min, max, sum, count, first, last, stddev, rate, increase, delta, p50 and other quantiles up to p99.99"

// ParseFunction reads the name of one function.
func ParseFunction(text string) (Function, error) {
	for f, name := range functionNames {
		if name == text && name != "" {
			return Function(f), nil
		}
	}
	if f, ok := parseQuantile(text); ok {
		return f, nil
	}
	return 0, fault.Field("agg", "unknown function "+strconv.Quote(text), functionForm)
}

// parseQuantile reads p and a percentage above 0 and below 100 with at most two decimals.
func parseQuantile(text string) (Function, bool) {
	digits, ok := strings.CutPrefix(text, "p")
	whole, fraction, _ := strings.Cut(digits, ".")
	if !ok || len(whole) < 1 || len(whole) > 2 || len(fraction) > 2 || strings.HasSuffix(digits, ".") {
		return 0, false
	}
	units, err := strconv.ParseUint(whole+(fraction + "00")[:2], 10, 16)
	if err != nil || units == 0 {
		return 0, false
	}
	return Function(quantileBase + units), true
}

// ParseFunctions reads a comma list such as "avg,max"; each function may stand once.
func ParseFunctions(text string) ([]Function, error) {
	parts := strings.Split(text, ",")
	if len(parts) > FunctionsMax {
		return nil, fault.Field("agg", "names "+strconv.Itoa(len(parts))+" functions", "at most "+strconv.Itoa(FunctionsMax))
	}
	functions := make([]Function, 0, len(parts))
	for _, part := range parts {
		f, err := ParseFunction(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if slices.Contains(functions, f) {
			return nil, fault.Field("agg", "names "+f.String()+" twice", "each function once")
		}
		functions = append(functions, f)
	}
	return functions, nil
}
