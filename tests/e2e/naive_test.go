package e2e

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

// point is one sample as the naive computations of these tests see it.
type point struct {
	at    time.Time
	value float64
}

// history is one series' samples in the order in which they were written.
type history []point

// replaced returns h after a sample was recorded by the rule of protocols in which a repeated timestamp
// replaces the value.
func (h history) replaced(p point) history {
	last, found := math.NaN(), false
	for _, q := range h {
		if q.at.Equal(p.at) {
			last, found = q.value, true
		}
	}
	if found && last == p.value {
		return h
	}
	return append(h.without(p.at, p.at), p)
}

// without returns h after the samples from and to, both inclusive, were forgotten.
func (h history) without(from, to time.Time) history {
	return slices.DeleteFunc(h, func(p point) bool { return !p.at.Before(from) && !p.at.After(to) })
}

// sorted returns the samples by time, those of one time in the order of writing.
func (h history) sorted() history {
	points := slices.Clone(h)
	slices.SortStableFunc(points, func(a, b point) int { return a.at.Compare(b.at) })
	return points
}

// naiveFunctions is what naive computes.
const naiveFunctions = "count,sum,min,max,first,last,stddev,increase,delta,p1,p50,p99.9"

// naive computes every aggregation over the series, each by its definition and by the simplest means.
// Series are in the order of their keys.
func naive(series ...history) map[string]float64 {
	var values []float64
	sum, increase, delta := new(big.Rat), 0.0, 0.0
	var first, last *point
	for _, h := range series {
		points := h.sorted()
		for i, p := range points {
			values = append(values, p.value)
			sum.Add(sum, new(big.Rat).SetFloat64(p.value))
			if i > 0 {
				step := p.value - points[i-1].value
				delta += step
				if step < 0 {
					step = p.value
				}
				increase += step
			}
			if first == nil || p.at.Before(first.at) {
				first = &points[i]
			}
			if last == nil || !p.at.Before(last.at) {
				last = &points[i]
			}
		}
	}
	answer := map[string]float64{"count": float64(len(values)), "increase": increase, "delta": delta}
	if len(values) == 0 {
		return answer
	}
	slices.Sort(values)
	answer["sum"], _ = sum.Float64()
	mean, squares := answer["sum"]/float64(len(values)), 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	answer["stddev"] = math.Sqrt(squares / float64(len(values)))
	answer["min"], answer["max"] = values[0], values[len(values)-1]
	answer["first"], answer["last"] = first.value, last.value
	for name, perMille := range map[string]int{"p1": 10, "p50": 500, "p99.9": 999} {
		answer[name] = values[max(1, (len(values)*perMille+999)/1000)-1]
	}
	return answer
}

// differences tells where got is not what naive computed: choices of a sample exactly, sums within rounding.
func differences(got node.Aggregations, want map[string]float64) string {
	var list []string
	for name, w := range want {
		g, asked := got[name]
		if !asked {
			continue
		}
		tolerance := 0.0
		switch name {
		case "sum", "stddev", "increase", "delta":
			tolerance = 1e-9 * max(1, math.Abs(w))
		}
		if g == nil || math.Abs(*g-w) > tolerance {
			shown := "null"
			if g != nil {
				shown = fmt.Sprint(*g)
			}
			list = append(list, fmt.Sprintf("%s=%s, want %v", name, shown, w))
		}
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}
