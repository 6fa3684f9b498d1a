package aggregate_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// tableOf builds the table of values in windows of 10 µs: one group a slice, values by their start.
func tableOf(t *testing.T, q aggregate.Query, groups map[string]map[int64][]float64) aggregate.Table {
	t.Helper()
	b := aggregate.NewBuilder(q)
	for tag, cells := range groups {
		tags := []string{tag}
		if len(q.GroupBy()) == 0 {
			tags = nil
		}
		h, err := b.Group(tags)
		if err != nil {
			t.Fatal(err)
		}
		for at, values := range cells {
			for _, v := range values {
				if err := h.Add(metric.Timestamp(at), v); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return b.Table()
}

// show prints values.
func show(values []aggregate.Value) string {
	var parts []string
	for _, v := range values {
		text := strconv.FormatFloat(v.Number, 'g', -1, 64)
		if v.Null {
			text = "null"
		}
		parts = append(parts, v.Function.String()+"="+text)
	}
	return strings.Join(parts, " ")
}

// lines prints an answer, one line a group or window.
func lines(a aggregate.Answer) (out []string) {
	for _, g := range a.Groups {
		var tags strings.Builder
		for _, tag := range g.Tags {
			tags.WriteString(tag.Key + "=" + tag.Value + " ")
		}
		prefix := tags.String()
		if g.Windows == nil {
			out = append(out, prefix+show(g.Values))
		}
		for _, w := range g.Windows {
			out = append(out, fmt.Sprintf("%s[%d,%d) %s", prefix, w.Start, w.End, show(w.Values)))
		}
	}
	return out
}

func TestFinishWithoutWindows(t *testing.T) {
	all := []aggregate.Function{aggregate.Count, aggregate.Sum, aggregate.Avg, aggregate.Min, aggregate.Max}
	plain := mustQuery(t, aggregate.QuerySpec{})
	grouped := mustQuery(t, aggregate.QuerySpec{GroupBy: []string{"host"}})
	for _, c := range []struct {
		name   string
		query  aggregate.Query
		groups map[string]map[int64][]float64
		want   []string
	}{
		{"values", plain, map[string]map[int64][]float64{"": {0: {1, 2, 6}}}, []string{"count=3 sum=9 avg=3 min=1 max=6"}},
		{"none", plain, nil, []string{"count=0 sum=null avg=null min=null max=null"}},
		{
			"groups", grouped,
			map[string]map[int64][]float64{"b": {0: {1}}, "": {0: {2}}, "a": {0: {3}}},
			[]string{
				"host= count=1 sum=2 avg=2 min=2 max=2", "host=a count=1 sum=3 avg=3 min=3 max=3",
				"host=b count=1 sum=1 avg=1 min=1 max=1",
			},
		},
		{"no group", grouped, nil, nil},
	} {
		a, err := aggregate.Finish(c.query, tableOf(t, c.query, c.groups), all, aggregate.FillZero)
		if diff := cmp.Diff(c.want, lines(a)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

func TestFinishFills(t *testing.T) {
	ten, err := aggregate.WindowOf(10)
	if err != nil {
		t.Fatal(err)
	}
	open := aggregate.QuerySpec{Window: ten}
	closed := aggregate.QuerySpec{Window: ten, Range: mustRange(t, 5, 45)}
	from := metric.Timestamp(5)
	halfRange, err := aggregate.NewRange(&from, nil)
	if err != nil {
		t.Fatal(err)
	}
	half := aggregate.QuerySpec{Window: ten, Range: halfRange}
	by := aggregate.QuerySpec{Window: ten, GroupBy: []string{"host"}}
	two := map[string]map[int64][]float64{"": {12: {4}, 35: {6, 8}}}
	for _, c := range []struct {
		name   string
		spec   aggregate.QuerySpec
		fill   aggregate.Fill
		groups map[string]map[int64][]float64
		want   []string
	}{
		{"none", closed, aggregate.FillNone, two, []string{"[10,20) avg=4 count=1", "[30,40) avg=7 count=2"}},
		{"open null", open, aggregate.FillNull, two, []string{
			"[10,20) avg=4 count=1", "[20,30) avg=null count=0", "[30,40) avg=7 count=2",
		}},
		{"half zero", half, aggregate.FillZero, two, []string{
			"[0,10) avg=0 count=0", "[10,20) avg=4 count=1", "[20,30) avg=0 count=0", "[30,40) avg=7 count=2",
		}},
		{"closed previous", closed, aggregate.FillPrevious, two, []string{
			"[0,10) avg=null count=0", "[10,20) avg=4 count=1", "[20,30) avg=4 count=0", "[30,40) avg=7 count=2",
			"[40,50) avg=7 count=0",
		}},
		{"open, no sample", open, aggregate.FillNull, nil, nil},
		{"half, no sample", half, aggregate.FillNull, nil, nil},
		{"closed, no sample", aggregate.QuerySpec{Window: ten, Range: mustRange(t, -5, 5)}, aggregate.FillNull, nil, []string{
			"[-10,0) avg=null count=0", "[0,10) avg=null count=0",
		}},
		{"groups span alike", by, aggregate.FillNull, map[string]map[int64][]float64{"a": {0: {1}}, "b": {20: {2}}}, []string{
			"host=a [0,10) avg=1 count=1", "host=a [10,20) avg=null count=0", "host=a [20,30) avg=null count=0",
			"host=b [0,10) avg=null count=0", "host=b [10,20) avg=null count=0", "host=b [20,30) avg=2 count=1",
		}},
	} {
		q := mustQuery(t, c.spec)
		a, err := aggregate.Finish(q, tableOf(t, q, c.groups), []aggregate.Function{aggregate.Avg, aggregate.Count}, c.fill)
		if diff := cmp.Diff(c.want, lines(a)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

func TestFinishLimits(t *testing.T) {
	ten, err := aggregate.WindowOf(10)
	if err != nil {
		t.Fatal(err)
	}
	count := []aggregate.Function{aggregate.Count}
	apart := map[string]map[int64][]float64{"": {0: {1}, 10 * aggregate.WindowsMax: {1}}}
	q := mustQuery(t, aggregate.QuerySpec{Window: ten})
	if _, err := aggregate.Finish(q, tableOf(t, q, apart), count, aggregate.FillNull); !errors.Is(err, aggregate.ErrTooManyWindows) {
		t.Errorf("filling too many windows: %v", err)
	}
	if a, err := aggregate.Finish(q, tableOf(t, q, apart), count, aggregate.FillNone); err != nil || len(lines(a)) != 2 {
		t.Errorf("two windows far apart: %v, %v", lines(a), err)
	}

	groups := map[string]map[int64][]float64{}
	for i := range 101 {
		groups[strconv.Itoa(i)] = map[int64][]float64{0: {1}, 10 * 9_999: {1}}
	}
	q = mustQuery(t, aggregate.QuerySpec{Window: ten, GroupBy: []string{"k"}})
	if _, err := aggregate.Finish(q, tableOf(t, q, groups), count, aggregate.FillNull); !errors.Is(err, aggregate.ErrTooManyCells) {
		t.Errorf("filling too many cells: %v", err)
	}
}

func TestFinishOverflow(t *testing.T) {
	ten, err := aggregate.WindowOf(10)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []aggregate.QuerySpec{{}, {Window: ten}} {
		q := mustQuery(t, spec)
		table := tableOf(t, q, map[string]map[int64][]float64{"": {0: {1e308, 1e308}}})
		for _, f := range []aggregate.Function{aggregate.Sum, aggregate.Avg} {
			if a, err := aggregate.Finish(q, table, []aggregate.Function{f}, aggregate.FillNone); !errors.Is(err, aggregate.ErrOverflow) {
				t.Errorf("%s of an overflow: %v, %v", f, lines(a), err)
			}
		}
		a, err := aggregate.Finish(q, table, []aggregate.Function{aggregate.Max, aggregate.Count}, aggregate.FillNone)
		if err != nil || !strings.HasSuffix(lines(a)[0], "max=1e+308 count=2") {
			t.Errorf("max and count beside an overflow: %v, %v", lines(a), err)
		}
	}
}
