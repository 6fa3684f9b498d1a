package aggregate_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// trace is the samples of one series, ascending by time.
type trace struct {
	series metric.Series
	times  []int64
	values []float64
}

var anyNumber = rapid.OneOf(
	rapid.Map(rapid.IntRange(-30, 300), func(i int) float64 { return float64(i) / 2 }),
	rapid.Map(rapid.IntRange(0, 3), func(i int) float64 { return float64(i) }),
	rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1e300, -1e300, 5e-324, 1e-200, 3e200, 75.5}),
)

func seriesOf(t rapid.TB, host string, i int) metric.Series {
	s, err := metric.ParseSeriesKey(fmt.Sprintf(`cpu{host="%s",i="%d"}`, host, i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var anyTraces = rapid.Custom(func(r *rapid.T) (all []trace) {
	for i := range rapid.IntRange(0, 6).Draw(r, "series") {
		one := trace{series: seriesOf(r, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "host"), i)}
		one.times = rapid.SliceOfN(rapid.Int64Range(-40, 40), 0, 40).Draw(r, "times")
		slices.Sort(one.times)
		for range one.times {
			one.values = append(one.values, anyNumber.Draw(r, "value"))
		}
		all = append(all, one)
	}
	return all
})

// fold answers q from traces: in parts by series, merged, as nodes do, with random ways to add.
func fold(r *rapid.T, q aggregate.Query, all []trace) aggregate.Table {
	builders := make([]*aggregate.Builder, rapid.IntRange(1, 3).Draw(r, "parts"))
	for i := range builders {
		builders[i] = aggregate.NewBuilder(q)
	}
	for _, one := range all {
		f, err := rapid.SampledFrom(builders).Draw(r, "part").Fold(one.series)
		if err != nil {
			r.Fatal(err)
		}
		if rapid.Bool().Draw(r, "all at once") {
			err = f.AddAll(one.times, one.values)
		} else {
			for i := range one.times {
				if err == nil {
					err = f.Add(metric.Timestamp(one.times[i]), one.values[i])
				}
			}
		}
		if err != nil {
			r.Fatal(err)
		}
	}
	merged := aggregate.NewBuilder(q)
	merged.MarkKnown()
	for _, b := range builders {
		if err := merged.Merge(b.Table()); err != nil {
			r.Fatal(err)
		}
	}
	return merged.Table()
}

// sought is one sample in the naive computation.
type sought struct {
	at    int64
	value float64
	key   string
	place int      // in the series
	prev  *float64 // the value before it in the series
}

// naive computes fn of samples of one cell, in one pass over all of them; slopes are those of the series
// that end in it.
func naive(fn aggregate.Function, cell []sought, width float64) aggregate.Value {
	v := aggregate.Value{Function: fn}
	if fn == aggregate.Count {
		v.Number = float64(len(cell))
		return v
	}
	if len(cell) == 0 {
		v.Null = true
		return v
	}
	values := make([]float64, 0, len(cell))
	sum, grown, delta := newBig(0), newBig(0), newBig(0)
	for _, s := range cell {
		values = append(values, s.value)
		sum.Add(sum, newBig(s.value))
		if s.prev == nil {
			continue
		}
		delta.Add(delta, newBig(s.value)).Sub(delta, newBig(*s.prev))
		if grown.Add(grown, newBig(s.value)); s.value >= *s.prev {
			grown.Sub(grown, newBig(*s.prev))
		}
	}
	slices.Sort(values)
	byTime := slices.Clone(cell)
	slices.SortFunc(byTime, func(a, b sought) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.key, b.key), cmp.Compare(a.place, b.place))
	})
	switch fn {
	case aggregate.Min:
		v.Number = values[0]
	case aggregate.Max:
		v.Number = values[len(values)-1]
	case aggregate.First:
		v.Number = byTime[0].value
	case aggregate.Last:
		v.Number = byTime[len(byTime)-1].value
	case aggregate.Sum:
		v.Number, _ = sum.Float64()
	case aggregate.Avg:
		v.Number, _ = sum.Quo(sum, newBig(float64(len(values)))).Float64()
	case aggregate.Increase:
		v.Number, _ = grown.Float64()
	case aggregate.Delta:
		v.Number, _ = delta.Float64()
	case aggregate.Stddev:
		v.Number = naiveDeviation(values)
	case aggregate.Rate:
		if width > 0 {
			v.Number, _ = grown.Quo(grown, newBig(width)).Float64()
			return v
		}
		v.Number = naiveRate(cell)
	default:
		v.Number = values[fn.Rank(uint64(len(values)))-1]
	}
	return v
}

func naiveDeviation(values []float64) float64 {
	mean, squares, n := newBig(0), newBig(0), newBig(float64(len(values)))
	for _, v := range values {
		mean.Add(mean, newBig(v))
	}
	mean.Quo(mean, n)
	for _, v := range values {
		d := newBig(v)
		d.Sub(d, mean)
		squares.Add(squares, d.Mul(d, d))
	}
	out, _ := squares.Quo(squares, n).Sqrt(squares).Float64()
	return out
}

// naiveRate adds up the rates of the series of a cell that is the whole range.
func naiveRate(cell []sought) float64 {
	bySeries := map[string][]sought{}
	for _, s := range cell {
		bySeries[s.key] = append(bySeries[s.key], s)
	}
	rate := newBig(0)
	for _, list := range bySeries {
		grown := newBig(0)
		for i := 1; i < len(list); i++ {
			if grown.Add(grown, newBig(list[i].value)); list[i].value >= list[i-1].value {
				grown.Sub(grown, newBig(list[i-1].value))
			}
		}
		if took := list[len(list)-1].at - list[0].at; took > 0 {
			rate.Add(rate, grown.Quo(grown, newBig(float64(took)/1e6)))
		}
	}
	out, _ := rate.Float64()
	return out
}

// cellsOf puts what passes into cells, by group and window.
func cellsOf(q aggregate.Query, all []trace) map[string]map[int64][]sought {
	cells := map[string]map[int64][]sought{}
	for _, one := range all {
		group := strings.Join(q.GroupTags(one.series.Tags()), ",")
		var prev *float64
		for i, v := range one.values {
			if !q.Where().Passes(v) {
				continue
			}
			if cells[group] == nil {
				cells[group] = map[int64][]sought{}
			}
			start := int64(q.Window().Start(metric.Timestamp(one.times[i])))
			cells[group][start] = append(cells[group][start], sought{one.times[i], v, one.series.Key(), i, prev})
			prev = &one.values[i]
		}
	}
	return cells
}

// sameNumber allows for roundings in what is not defined bit by bit.
func sameNumber(fn aggregate.Function, got, want, magnitude float64) bool {
	switch fn {
	case aggregate.Sum, aggregate.Avg, aggregate.Increase, aggregate.Delta, aggregate.Rate, aggregate.Stddev:
		return math.Abs(got-want) <= 1e-13*magnitude || got == want
	default: // a count, or a value that was recorded
		return got == want
	}
}

// ask leads a question to its answer over traces; between rounds changes may come.
func ask(r *rapid.T, question aggregate.Question, all *[]trace, between func()) (aggregate.Answer, int, error) {
	s := aggregate.NewSearch(question)
	for rounds := 0; ; rounds++ {
		q, more, err := s.Next()
		if err != nil {
			return aggregate.Answer{}, rounds, err
		}
		if !more {
			a, err := s.Answer()
			return a, rounds, err
		}
		if err := s.Take(fold(r, q, *all)); err != nil {
			return aggregate.Answer{}, rounds, err
		}
		between()
	}
}

var richer = []aggregate.Function{
	aggregate.Avg, aggregate.Min, aggregate.Max, aggregate.Sum, aggregate.Count, aggregate.First, aggregate.Last,
	aggregate.Stddev, aggregate.Rate, aggregate.Increase, aggregate.Delta, p(50), p(95), p(99.9), p(1),
}

func p(percent float64) aggregate.Function {
	f, err := aggregate.ParseFunction(fmt.Sprintf("p%v", percent))
	if err != nil {
		panic(err)
	}
	return f
}

var anyQuestion = rapid.Custom(func(r *rapid.T) aggregate.Question {
	spec := aggregate.QuerySpec{}
	if rapid.Bool().Draw(r, "grouped") {
		spec.GroupBy = []string{"host"}
	}
	if rapid.Bool().Draw(r, "windows") {
		spec.Window, _ = aggregate.WindowOf(rapid.Int64Range(1, 50).Draw(r, "width"))
	}
	if rapid.Bool().Draw(r, "where") {
		op := aggregate.Comparison(rapid.IntRange(1, 6).Draw(r, "op"))
		spec.Where, _ = aggregate.NewWhere(op, rapid.SampledFrom([]float64{0, 1, 20, 1e200}).Draw(r, "limit"))
	}
	functions := rapid.Permutation(richer).Draw(r, "functions")
	question := aggregate.Question{Query: mustQuery(r, spec), Functions: functions[:rapid.IntRange(1, len(functions)).Draw(r, "n")]}
	if spec.GroupBy != nil && rapid.Bool().Draw(r, "ranked") {
		question.Ranking = &aggregate.Ranking{Count: rapid.IntRange(1, 4).Draw(r, "top"), Least: rapid.Bool().Draw(r, "least")}
	}
	question.Limit = rapid.IntRange(0, 3).Draw(r, "limit")
	return question
})

// TestEveryAnswerIsThatOfOneComputation holds all functions, in any split of samples, against one pass.
func TestEveryAnswerIsThatOfOneComputation(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := anyTraces.Draw(r, "traces")
		question := anyQuestion.Draw(r, "question")
		answer, _, err := ask(r, question, &all, func() {})
		if err != nil {
			r.Fatal(err)
		}
		checkAnswer(r, question, answer, all)
	})
}

func checkAnswer(r *rapid.T, question aggregate.Question, answer aggregate.Answer, all []trace) {
	q := question.Query
	cells := cellsOf(q, all)
	width := float64(q.Window().Width()) / 1e6
	wanted := naiveGroups(question, all)
	if len(answer.Groups) != len(wanted) {
		r.Fatalf("%d groups, want %v", len(answer.Groups), wanted)
	}
	for i, g := range answer.Groups {
		name := wanted[i]
		if len(g.Tags) > 0 && g.Tags[0].Value != name {
			r.Fatalf("group %d is %v, want %v of %v", i, g.Tags, name, wanted)
		}
		if q.Window().IsZero() {
			checkValues(r, g.Values, cells[name][0], width, all)
			continue
		}
		if len(g.Windows) != len(cells[name]) {
			r.Fatalf("group %s has %d windows, want %d", name, len(g.Windows), len(cells[name]))
		}
		for _, w := range g.Windows {
			checkValues(r, w.Values, cells[name][int64(w.Start)], width, all)
		}
	}
}

func checkValues(r *rapid.T, got []aggregate.Value, cell []sought, width float64, all []trace) {
	magnitude := 0.0
	for _, s := range cell {
		magnitude += math.Abs(s.value)
	}
	for _, one := range all {
		for _, v := range one.values {
			magnitude = max(magnitude, math.Abs(v))
		}
	}
	for _, v := range got {
		want := naive(v.Function, cell, width)
		bound := magnitude
		if v.Function == aggregate.Rate {
			bound *= 1e6 * float64(len(all)+1)
		}
		if v.Null != want.Null || !sameNumber(v.Function, v.Number, want.Number, bound) {
			r.Fatalf("%v = %v (null %v), want %v (null %v) of %v", v.Function, v.Number, v.Null, want.Number, want.Null, cell)
		}
	}
}

// naiveGroups returns the groups that the answer must have, in order.
func naiveGroups(question aggregate.Question, all []trace) (names []string) {
	q := question.Query
	if len(q.GroupBy()) == 0 {
		return []string{""}
	}
	flat := cellsOf(q.Whole(0), all)
	for name := range flat {
		names = append(names, name)
	}
	slices.Sort(names)
	if r := question.Ranking; r != nil {
		value := func(name string) float64 {
			v := naive(question.Functions[0], flat[name][0], 0)
			if r.Least {
				return v.Number
			}
			return -v.Number
		}
		slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(value(a), value(b)) })
		names = names[:min(r.Count, len(names))]
	}
	if question.Limit > 0 {
		names = names[:min(question.Limit, len(names))]
	}
	return names
}
