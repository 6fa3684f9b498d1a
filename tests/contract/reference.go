package contract

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// sample is one sample as the reference keeps it: a plain list in log order.
type sample struct {
	series metric.Series
	at     int64
	value  float64
}

// columnsOf encodes samples as the state machine would.
func columnsOf(samples []sample) outbound.Columns {
	var c outbound.Columns
	index := map[string]uint32{}
	for _, s := range samples {
		i, ok := index[s.series.Key()]
		if !ok {
			i = uint32(len(c.Keys))
			index[s.series.Key()] = i
			c.Keys = append(c.Keys, s.series.Key())
		}
		c.Series = append(c.Series, i)
		c.Timestamps = append(c.Timestamps, s.at)
		c.Values = append(c.Values, s.value)
	}
	return c
}

// cellKey addresses a cell of the reference's answer.
type cellKey struct {
	group string
	start metric.Timestamp
}

// exact is what a cell must hold: the sum without any rounding.
type exact struct {
	count     uint64
	min, max  float64
	sum       *big.Float
	magnitude *big.Float // Σ|v|
	integers  bool       // all values are integers and no partial sum can reach 2^53
}

// bigBits holds any sum of float64 exactly.
const bigBits = 2300

func newBig(v float64) *big.Float { return new(big.Float).SetPrec(bigBits).SetFloat64(v) }

// evaluate answers q over samples, the dumb way.
func evaluate(q aggregate.Query, samples []sample) (known bool, cells map[cellKey]*exact) {
	cells = map[cellKey]*exact{}
	for _, s := range samples {
		if s.series.Name() != q.Metric() {
			continue
		}
		known = true
		at := metric.Timestamp(s.at)
		if !q.Matchers().Match(s.series.Tags()) || !q.Range().Contains(at) {
			continue
		}
		key := cellKey{group: strings.Join(q.GroupTags(s.series.Tags()), "\x00"), start: q.Window().Start(at)}
		e := cells[key]
		if e == nil {
			e = &exact{min: math.Inf(1), max: math.Inf(-1), sum: newBig(0), magnitude: newBig(0), integers: true}
			cells[key] = e
		}
		e.count++
		e.min, e.max = min(e.min, s.value), max(e.max, s.value)
		e.sum.Add(e.sum, newBig(s.value))
		e.magnitude.Add(e.magnitude, newBig(math.Abs(s.value)))
		e.integers = e.integers && s.value == math.Trunc(s.value)
	}
	return known, cells
}

// compare fails unless got answers q over samples: count, min and max exactly, sums within promise 4.
func compare(t failer, q aggregate.Query, got aggregate.Table, samples []sample) {
	t.Helper()
	known, cells := evaluate(q, samples)
	if got.SeriesKnown != known {
		t.Fatalf("SeriesKnown=%v, want %v", got.SeriesKnown, known)
	}
	if !slices.IsSortedFunc(got.Groups, func(a, b aggregate.Group) int { return slices.Compare(a.Tags, b.Tags) }) {
		t.Fatalf("groups are not ascending: %v", got.Groups)
	}
	n := 0
	for _, g := range got.Groups {
		if !slices.IsSortedFunc(g.Cells, func(a, b aggregate.Cell) int { return cmp.Compare(a.Start, b.Start) }) {
			t.Fatalf("cells of %v are not ascending", g.Tags)
		}
		for _, c := range g.Cells {
			n++
			key := cellKey{group: strings.Join(g.Tags, "\x00"), start: c.Start}
			want := cells[key]
			if want == nil {
				t.Fatalf("cell %q %d has %d samples, want none", key.group, key.start, c.Partial.Count())
				return
			}
			compareCell(t, key, c.Partial, want)
		}
	}
	if n != len(cells) {
		t.Fatalf("%d cells, want %d: got %v", n, len(cells), got.Groups)
	}
}

func compareCell(t failer, key cellKey, got aggregate.Partial, want *exact) {
	t.Helper()
	if got.Count() != want.count || got.Min() != want.min || got.Max() != want.max {
		t.Fatalf("cell %q %d: count=%d min=%v max=%v, want %d %v %v", key.group, key.start,
			got.Count(), got.Min(), got.Max(), want.count, want.min, want.max)
	}
	sum, err := got.Sum()
	if err != nil {
		t.Fatalf("cell %q %d: sum: %v", key.group, key.start, err)
	}
	off := newBig(sum)
	off.Sub(off, want.sum).Abs(off)
	bound := newBig(1e-15)
	bound.Mul(bound, want.magnitude)
	if want.integers && want.magnitude.Cmp(newBig(1<<53)) < 0 {
		bound = newBig(0)
	}
	if off.Cmp(bound) > 0 {
		t.Fatalf("cell %q %d: sum=%v is off by %v, want at most %v", key.group, key.start, sum, off, bound)
	}
}

// latestOf returns the newest sample of the selected series, the dumb way.
func latestOf(samples []sample, name metric.Name, matchers metric.Matchers) (best sample, ok bool) {
	for _, s := range samples {
		if s.series.Name() != name || !matchers.Match(s.series.Tags()) {
			continue
		}
		if !ok || s.at > best.at || (s.at == best.at && s.series.Key() >= best.series.Key()) {
			best, ok = s, true
		}
	}
	return best, ok
}
