package contract

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// ask leads a question to its answer and compares it with one computed over samples.
func (s *subject) ask(spec aggregate.QuerySpec, functions []aggregate.Function, samples []sample, shards ...shard.ID) {
	s.Helper()
	q := s.query(spec)
	search := aggregate.NewSearch(aggregate.Question{Query: q, Functions: functions})
	for {
		round, more, err := search.Next()
		if err == nil && more {
			err = search.Take(s.partials(round, shards...))
		}
		if err != nil {
			s.Fatalf("search: %v", err)
		}
		if !more {
			break
		}
	}
	answer, err := search.Answer()
	if err != nil {
		s.Fatalf("Answer: %v", err)
	}
	cells := naive(q, samples)
	for _, g := range answer.Groups {
		values := make([]string, len(g.Tags))
		for i, tag := range g.Tags {
			values[i] = tag.Value
		}
		group := strings.Join(values, "\x00")
		if q.Window().IsZero() {
			s.compareValues(q, cellKey{group: group}, g.Values, cells)
		}
		for _, w := range g.Windows {
			s.compareValues(q, cellKey{group: group, start: w.Start}, w.Values, cells)
		}
	}
	if len(cells) > 0 {
		s.Fatalf("%d cells are missing: %v", len(cells), cells)
	}
}

// naiveCell is the samples of one cell and the steps that end in it.
type naiveCell struct {
	samples         []sample // by time, then series key, then log order
	increase, delta float64
	steps           float64 // Σ of the magnitudes at the steps' ends
	slope, slopes   float64 // of the whole range, and what its error may be measured by
}

// naive sorts out the samples of a query, the dumb way.
func naive(q aggregate.Query, samples []sample) map[cellKey]*naiveCell {
	bySeries := map[string][]sample{}
	for _, s := range samples {
		if s.series.Name() == q.Metric() && q.Matchers().Match(s.series.Tags()) &&
			q.Range().Contains(metric.Timestamp(s.at)) && q.Where().Passes(s.value) {
			bySeries[s.series.Key()] = append(bySeries[s.series.Key()], s)
		}
	}
	cells := map[cellKey]*naiveCell{}
	for _, own := range bySeries {
		slices.SortStableFunc(own, func(a, b sample) int { return cmp.Compare(a.at, b.at) })
		grown, size := 0.0, 0.0
		for i, s := range own {
			key := cellKey{group: strings.Join(q.GroupTags(s.series.Tags()), "\x00"), start: q.Window().Start(metric.Timestamp(s.at))}
			c := cells[key]
			if c == nil {
				c = &naiveCell{}
				cells[key] = c
			}
			c.samples = append(c.samples, s)
			if i > 0 {
				step := s.value - own[i-1].value
				c.delta += step
				c.steps += math.Abs(s.value) + math.Abs(own[i-1].value)
				if step < 0 {
					step = s.value
				}
				c.increase += step
				grown += step
				size += math.Abs(s.value) + math.Abs(own[i-1].value)
			}
			if span := s.at - own[0].at; i == len(own)-1 && span > 0 {
				c.slope += grown / (float64(span) / 1e6)
				c.slopes += size / (float64(span) / 1e6)
			}
		}
	}
	for _, c := range cells {
		slices.SortStableFunc(c.samples, func(a, b sample) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.series.Key(), b.series.Key()))
		})
	}
	return cells
}

// compareValues compares one cell's values and takes the cell away.
func (s *subject) compareValues(q aggregate.Query, key cellKey, values []aggregate.Value, cells map[cellKey]*naiveCell) {
	s.Helper()
	c := cells[key]
	delete(cells, key)
	for _, v := range values {
		if c == nil {
			if !v.Null && (v.Function != aggregate.Count || v.Number != 0) {
				s.Fatalf("cell %q: %v=%v of no samples", key.group, v.Function, v.Number)
			}
			continue
		}
		want, tolerance := c.value(q, v.Function)
		if v.Null || math.Abs(v.Number-want) > tolerance {
			s.Fatalf("cell %q %d: %v=%v (null %v), want %v within %v", key.group, key.start, v.Function, v.Number, v.Null, want, tolerance)
		}
	}
}

// value returns what f is of the cell, and how far off an answer may be.
func (c *naiveCell) value(q aggregate.Query, f aggregate.Function) (want, tolerance float64) {
	values := make([]float64, len(c.samples))
	sum, magnitude := newBig(0), newBig(0)
	for i, s := range c.samples {
		values[i] = s.value
		sum.Add(sum, newBig(s.value))
		magnitude.Add(magnitude, newBig(math.Abs(s.value)))
	}
	total, _ := sum.Float64()
	all, _ := magnitude.Float64()
	n := float64(len(values))
	switch f {
	case aggregate.Count:
		return n, 0
	case aggregate.Sum:
		return total, 2e-15 * all
	case aggregate.Avg:
		return total / n, 2e-15 * all / n
	case aggregate.First:
		return values[0], 0
	case aggregate.Last:
		return values[len(values)-1], 0
	case aggregate.Stddev:
		return c.deviation(total / n), 1e-7*all/n + 1e-150 // Squares of the smallest values vanish.
	case aggregate.Increase:
		return c.increase, 1e-13 * c.steps
	case aggregate.Delta:
		return c.delta, 1e-13 * c.steps
	case aggregate.Rate:
		if q.Window().IsZero() {
			return c.slope, 1e-13 * c.slopes
		}
		width := float64(q.Window().Width()) / 1e6
		return c.increase / width, 1e-13 * c.steps / width
	case aggregate.Min:
		return slices.Min(values), 0
	case aggregate.Max:
		return slices.Max(values), 0
	default:
		slices.Sort(values)
		return values[f.Rank(uint64(len(values)))-1], 0
	}
}

// deviation is the root of the mean squared distance from mean.
func (c *naiveCell) deviation(mean float64) float64 {
	squares := newBig(0)
	for _, s := range c.samples {
		d := newBig(s.value)
		d.Sub(d, newBig(mean))
		squares.Add(squares, d.Mul(d, d))
	}
	variance, _ := squares.Float64()
	return math.Sqrt(variance / float64(len(c.samples)))
}
