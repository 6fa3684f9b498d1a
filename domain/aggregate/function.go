package aggregate

import (
	"slices"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Function is one aggregation that a query may ask for.
type Function uint8

// The functions.
const (
	Avg Function = iota + 1
	Min
	Max
	Sum
	Count
)

var functionNames = map[Function]string{Avg: "avg", Min: "min", Max: "max", Sum: "sum", Count: "count"}

// DefaultFunctions is what a query that names none gets.
func DefaultFunctions() []Function { return []Function{Avg, Min, Max, Count} }

// String returns the name used in queries and answers.
func (f Function) String() string { return functionNames[f] }

// ParseFunction reads the name of one function.
func ParseFunction(text string) (Function, error) {
	for f, name := range functionNames {
		if name == text {
			return f, nil
		}
	}
	names := make([]string, 0, len(functionNames))
	for f := Avg; f <= Count; f++ {
		names = append(names, f.String())
	}
	return 0, fault.Field("agg", "unknown function "+text, "a comma list of "+strings.Join(names, ","))
}

// ParseFunctions reads a comma list such as "avg,max"; each function may stand once.
func ParseFunctions(text string) ([]Function, error) {
	parts := strings.Split(text, ",")
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
