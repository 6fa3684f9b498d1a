package duckdb

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// TestCutTakesEveryInstantOnce cuts random spans and asks of every instant where it went.
func TestCutTakesEveryInstantOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const width = 7
		first := rapid.Int64Range(-30, 30).Draw(t, "first")
		last := rapid.Int64Range(first, 40).Draw(t, "last")
		e := &extent{all: span{from: first, to: last}}
		spans := []span{{from: rapid.Int64Range(-60, 40).Draw(t, "from"), to: 0}}
		spans[0].to = rapid.Int64Range(spans[0].from, 60).Draw(t, "to")
		for range rapid.IntRange(0, 3).Draw(t, "holes") {
			from := rapid.Int64Range(-60, 60).Draw(t, "hole")
			spans = without(spans, span{from: from, to: from + rapid.Int64Range(0, 20).Draw(t, "length")})
		}
		whole, rest := e.cut(spans, width)
		for at := first; at <= last; at++ {
			want := count(spans, at)
			if want > 1 {
				t.Fatalf("spans %v overlap at %d", spans, at)
			}
			if got := count(whole, at) + count(rest, at); got != want {
				t.Fatalf("%d is %d times in %v and %v, want %d times", at, got, whole, rest, want)
			}
		}
		for _, s := range whole {
			if floorTo(s.from, width) != s.from || ceilTo(s.to+1, width) != s.to+1 {
				t.Fatalf("%v is not whole", s)
			}
		}
	})
}

func count(spans []span, at int64) (n int) {
	for _, s := range spans {
		if at >= s.from && at <= s.to {
			n++
		}
	}
	return n
}

func TestOpenRangeNeedsNoEdges(t *testing.T) {
	e := newExtent([]run{{gen: 1, day: 0, days: 1, rows: 2, from: 90, to: 5 * hourMicros}})
	whole, rest := e.cut([]span{{from: int64(metric.TimestampMin), to: int64(metric.TimestampMax)}}, hourMicros)
	if len(rest) != 0 || len(whole) != 1 || whole[0] != (span{from: 0, to: 6*hourMicros - 1}) {
		t.Errorf("whole=%v rest=%v, want the six hours and nothing", whole, rest)
	}
}

func TestExtent(t *testing.T) {
	runs := []run{
		{gen: 3, day: 4, days: 4, rows: 10, from: 5 * dayMicros, to: 6 * dayMicros},
		{gen: 1, day: 5, days: 1, rows: 1, from: 5 * dayMicros, to: 5 * dayMicros, minutes: true},
		{gen: 2, day: 1, days: 1, rows: 2, from: dayMicros, to: dayMicros + 5, minutes: true},
	}
	e := newExtent(runs)
	if want := []window{{1, 1}, {4, 4}}; len(e.windows) != 2 || e.windows[0] != want[0] || e.windows[1] != want[1] {
		t.Fatalf("windows=%v, want %v", e.windows, want)
	}
	if e.all != (span{from: dayMicros, to: 6 * dayMicros}) {
		t.Errorf("all=%v", e.all)
	}
	for _, c := range []struct {
		s    span
		want int
	}{
		{span{0, dayMicros - 1}, 0},
		{span{0, dayMicros}, 1},
		{span{2*dayMicros - 1, 4 * dayMicros}, 2},
		{span{2 * dayMicros, 4*dayMicros - 1}, 0},
		{span{8*dayMicros - 1, 9 * dayMicros}, 1},
		{span{8 * dayMicros, 9 * dayMicros}, 0},
	} {
		if got := e.overlapping(c.s); len(got) != c.want {
			t.Errorf("overlapping(%v)=%v, want %d", c.s, got, c.want)
		}
	}
	for _, c := range []struct {
		w    window
		a, b uint64
		want bool
	}{
		{window{1, 1}, 1, 2, true},
		{window{1, 1}, 2, 1, true},
		{window{1, 1}, 2, 3, false},
		{window{1, 1}, 2, 2, false},
		{window{4, 4}, 0, 1, true},
		{window{4, 4}, 1, 2, false},
		{window{4, 4}, 2, 9, true},
	} {
		if got := e.changed(c.w, c.a, c.b); got != c.want {
			t.Errorf("changed(%v, %d, %d)=%v, want %v", c.w, c.a, c.b, got, c.want)
		}
	}
	if e.haveMinutes(span{0, 6 * dayMicros}) || !e.haveMinutes(span{0, 2 * dayMicros}) {
		t.Error("haveMinutes is not that of the runs in the span")
	}
	if e.rowsIn(window{4, 4}) != 11 || e.runsIn(span{0, 5 * dayMicros}) != 3 {
		t.Error("rows or runs are not those of the runs there")
	}
}

// TestChooseRollup says which table answers which question.
func TestChooseRollup(t *testing.T) {
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	sparse := newExtent([]run{{gen: 1, days: 1, to: dayMicros - 1}})
	dense := newExtent([]run{{gen: 1, days: 1, to: dayMicros - 1, minutes: true}})
	for _, c := range []struct {
		window string
		extent *extent
		want   int64
	}{
		{"", sparse, hourMicros},
		{"1h", sparse, hourMicros},
		{"1w", dense, hourMicros},
		{"5m", dense, minuteMicros},
		{"90m", dense, minuteMicros},
		{"5m", sparse, 0},
		{"90s", dense, 0},
		{"10s", dense, 0},
	} {
		spec := aggregate.QuerySpec{Metric: name}
		if c.window != "" {
			if spec.Window, err = aggregate.ParseWindow(c.window); err != nil {
				t.Fatal(err)
			}
		}
		q, err := aggregate.NewQuery(spec)
		if err != nil {
			t.Fatal(err)
		}
		p := portion{source: source{query: q, extent: c.extent}, spans: []span{{from: 0, to: dayMicros - 1}}}
		if _, width := chooseRollup(q, []portion{p}); width != c.want {
			t.Errorf("windows of %q: buckets of %d, want %d", c.window, width, c.want)
		}
	}
}
