package aggregate_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func cpu(t interface{ Fatalf(string, ...any) }) metric.Name {
	name, err := metric.NewName("cpu")
	if err != nil {
		t.Fatalf("NewName: %v", err)
	}
	return name
}

func mustQuery(t interface{ Fatalf(string, ...any) }, spec aggregate.QuerySpec) aggregate.Query {
	spec.Metric = cpu(t)
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		t.Fatalf("NewQuery(%+v): %v", spec, err)
	}
	return q
}

func mustRange(t interface{ Fatalf(string, ...any) }, from, to metric.Timestamp) aggregate.Range {
	r, err := aggregate.NewRange(&from, &to)
	if err != nil {
		t.Fatalf("NewRange(%d, %d): %v", from, to, err)
	}
	return r
}

func TestRange(t *testing.T) {
	r := mustRange(t, -5, 5)
	for at, want := range map[metric.Timestamp]bool{-6: false, -5: true, 0: true, 5: true, 6: false} {
		if got := r.Contains(at); got != want {
			t.Errorf("Contains(%d)=%v, want %v", at, got, want)
		}
	}
	at := metric.Timestamp(7)
	if r, err := aggregate.NewRange(&at, nil); err != nil || r.From() != 7 || r.To() != metric.TimestampMax {
		t.Errorf("range from 7 is %v, %v", r, err)
	}
	if r, err := aggregate.NewRange(nil, &at); err != nil || r.From() != metric.TimestampMin || r.To() != 7 {
		t.Errorf("range to 7 is %v, %v", r, err)
	}
	before := at - 1
	if _, err := aggregate.NewRange(&at, &before); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a range that ends before it starts: %v, want Invalid", err)
	}
}

func TestQueryKeepsTheInstantZero(t *testing.T) {
	if r := mustQuery(t, aggregate.QuerySpec{Range: mustRange(t, 0, 0)}).Range(); r.From() != 0 || r.To() != 0 {
		t.Errorf("range of the instant 0 became %v", r)
	}
	if r := mustQuery(t, aggregate.QuerySpec{}).Range(); r != aggregate.Everything() {
		t.Errorf("no range became %v, want everything", r)
	}
}

func TestNewQuery(t *testing.T) {
	by := []string{"zone", "host"}
	q := mustQuery(t, aggregate.QuerySpec{GroupBy: by, Window: mustWindow(t, "1h")})
	by[0] = "changed"
	tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: "a"}, {Key: "other", Value: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(q.GroupBy(), []string{"zone", "host"}) || !slices.Equal(q.GroupTags(tags), []string{"", "a"}) {
		t.Errorf("group_by=%v tags=%v", q.GroupBy(), q.GroupTags(tags))
	}
	if q.Metric() != cpu(t) || !q.Matchers().IsZero() || q.Window().Width() != 3600_000_000 {
		t.Errorf("query=%+v", q)
	}

	many := make([]string, metric.TagsMax+1)
	for i := range many {
		many[i] = fmt.Sprint("k", i)
	}
	for what, spec := range map[string]aggregate.QuerySpec{
		"no metric": {},
		"bad key":   {Metric: cpu(t), GroupBy: []string{"a\n"}},
		"empty key": {Metric: cpu(t), GroupBy: []string{""}},
		"key twice": {Metric: cpu(t), GroupBy: []string{"a", "b", "a"}},
		"many keys": {Metric: cpu(t), GroupBy: many},
	} {
		if _, err := aggregate.NewQuery(spec); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want Invalid", what, err)
		}
	}
}

func TestWindowLimit(t *testing.T) {
	hour := mustWindow(t, "1h")
	const width = 3600_000_000
	for last, ok := range map[metric.Timestamp]bool{
		aggregate.WindowsMax*width - 1: true,
		aggregate.WindowsMax * width:   false,
		metric.TimestampMax - 1:        false,
	} {
		_, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: cpu(t), Window: hour, Range: mustRange(t, 0, last)})
		if ok != (err == nil) || (!ok && !errors.Is(err, aggregate.ErrTooManyWindows)) {
			t.Errorf("windows up to %d: %v, want ok %v", last, err, ok)
		}
	}
	mustQuery(t, aggregate.QuerySpec{Range: mustRange(t, 0, metric.TimestampMax-1)})
	mustQuery(t, aggregate.QuerySpec{Window: hour}) // How many windows an open range has, the samples say.
}

func TestFunctions(t *testing.T) {
	got, err := aggregate.ParseFunctions("avg, min,max,sum,count")
	want := []aggregate.Function{aggregate.Avg, aggregate.Min, aggregate.Max, aggregate.Sum, aggregate.Count}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("ParseFunctions=%v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"", "avg,", "median", "AVG", "avg,max,avg"} {
		if f, err := aggregate.ParseFunctions(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseFunctions(%q)=%v, %v, want Invalid", text, f, err)
		}
	}
	for _, f := range aggregate.DefaultFunctions() {
		if again, err := aggregate.ParseFunction(f.String()); err != nil || again != f {
			t.Errorf("ParseFunction(%s)=%v, %v", f, again, err)
		}
	}
	for text, want := range map[string]aggregate.Fill{
		"null": aggregate.FillNull, "0": aggregate.FillZero, "previous": aggregate.FillPrevious,
	} {
		if f, err := aggregate.ParseFill(text); err != nil || f != want {
			t.Errorf("ParseFill(%q)=%d, %v, want %d", text, f, err, want)
		}
	}
	if _, err := aggregate.ParseFill("linear"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("ParseFill(linear): %v, want Invalid", err)
	}
}
