package contract

import (
	"context"
	"errors"
	"math"
	"slices"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const second = int64(1_000_000)

// seriesOf parses a canonical key.
func seriesOf(t failer, key string) metric.Series {
	t.Helper()
	s, err := metric.ParseSeriesKey(key)
	if err != nil {
		t.Fatalf("ParseSeriesKey(%q): %v", key, err)
	}
	return s
}

func nameOf(t failer, text string) metric.Name {
	t.Helper()
	n, err := metric.NewName(text)
	if err != nil {
		t.Fatalf("NewName(%q): %v", text, err)
	}
	return n
}

func matchersOf(t failer, tags ...metric.Tag) metric.Matchers {
	t.Helper()
	m, err := metric.NewMatchers(tags)
	if err != nil {
		t.Fatalf("NewMatchers(%v): %v", tags, err)
	}
	return m
}

func rangeOf(t failer, from, to int64) aggregate.Range {
	t.Helper()
	a, b := metric.Timestamp(from), metric.Timestamp(to)
	r, err := aggregate.NewRange(&a, &b)
	if err != nil {
		t.Fatalf("NewRange(%d, %d): %v", from, to, err)
	}
	return r
}

func windowOf(t failer, text string) aggregate.Window {
	t.Helper()
	w, err := aggregate.ParseWindow(text)
	if err != nil {
		t.Fatalf("ParseWindow(%q): %v", text, err)
	}
	return w
}

// everywhere runs check with the samples in memory, frozen, flushed, and after a restart, for they
// must answer alike.
func (s *subject) everywhere(samples []sample, check func()) {
	s.Helper()
	s.append(0, samples...)
	check()
	s.cut(0, 1)
	check()
	s.flush(0, 1)
	check()
	s.stop()
	s.begin(1)
	check()
}

func testNewShard(t env) {
	s := start(t, Options{}, 1)
	s.stop()
	for i, state := range s.begin(2) {
		if !equalState(state, outbound.AppliedState{}) {
			t.Errorf("state of new shard %d is %+v, want zero", i, state)
		}
	}
	s.check(aggregate.QuerySpec{Metric: nameOf(t, "cpu")}, nil, 0, 1)
	s.checkLatest(nameOf(t, "cpu"), metric.Matchers{}, nil, 0, 1)
}

func testVisibility(t env) {
	s := start(t, Options{}, 1)
	cpu := seriesOf(t, `cpu{host="a"}`)
	spec := aggregate.QuerySpec{Metric: cpu.Name()}
	var all []sample
	for i := range 600 {
		all = append(all, sample{cpu, int64(i) * second, float64(i)})
		s.append(0, all[i])
		switch i {
		case 200:
			s.cut(0, 1)
		case 400:
			s.flush(0, 1)
		}
		s.check(spec, all, 0)
		s.checkLatest(cpu.Name(), metric.Matchers{}, all, 0)
	}
}

func testNoAliasing(t env) {
	s := start(t, Options{}, 1)
	key := []byte(`cpu{host="a"}`)
	want := []sample{{seriesOf(t, string(key)), 1, 2}}
	c := columnsOf(want)
	c.Keys[0] = unsafe.String(unsafe.SliceData(key), len(key))
	if err := s.store.Append(s.ctx, 0, c); err != nil {
		t.Fatalf("Append: %v", err)
	}
	copy(key, "overwritten!") // As a decoder does that reads the next command into the same buffer.
	c.Keys[0], c.Series[0], c.Timestamps[0], c.Values[0] = "other", 9, 99, 99
	state := s.cut(0, 3)
	state.Machine[0], state.Membership[0] = 77, 77
	s.check(aggregate.QuerySpec{Metric: want[0].series.Name()}, want, 0)
	s.flush(0, 3)
	s.stop()
	if got := s.begin(1)[0]; !equalState(got, stateAt(3)) {
		t.Errorf("state=%+v, want %+v", got, stateAt(3))
	}
	s.check(aggregate.QuerySpec{Metric: want[0].series.Name()}, want, 0)
}

func testRanges(t env) {
	s := start(t, Options{}, 1)
	cpu := seriesOf(t, "cpu")
	var samples []sample
	for _, at := range []int64{-3, -2, -1, 0, 1, 2, 3, int64(metric.TimestampMin), int64(metric.TimestampMax), 1} {
		samples = append(samples, sample{cpu, at, float64(at)})
	}
	s.everywhere(samples, func() {
		t.Helper()
		for from := int64(-4); from <= 4; from++ {
			for to := from; to <= 4; to++ {
				s.check(aggregate.QuerySpec{Metric: cpu.Name(), Range: rangeOf(t, from, to)}, samples, 0)
			}
		}
		s.check(aggregate.QuerySpec{Metric: cpu.Name()}, samples, 0)
		s.check(aggregate.QuerySpec{Metric: cpu.Name(), Range: rangeOf(t, 4, 5)}, samples, 0)
	})
}

func testWindows(t env) {
	s := start(t, Options{}, 1)
	cpu := seriesOf(t, "cpu")
	var samples []sample
	for i := range int64(500) { // A stride that is coprime to the length scatters the order.
		samples = append(samples, sample{cpu, (i*337%500 - 250) * 1801 * second, float64(i) / 10})
	}
	samples = append(samples, sample{cpu, -1, 1}, sample{cpu, 0, 2}, sample{cpu, 1, 3},
		sample{cpu, int64(metric.TimestampMin), 4}, sample{cpu, int64(metric.TimestampMax), 5})
	s.everywhere(samples, func() {
		t.Helper()
		for _, text := range []string{"1s", "7s", "1h", "1d", "1w", "36500d"} {
			s.check(aggregate.QuerySpec{Metric: cpu.Name(), Window: windowOf(t, text)}, samples, 0)
			s.check(aggregate.QuerySpec{
				Metric: cpu.Name(), Window: windowOf(t, text), Range: rangeOf(t, -4000*second, 4000*second),
			}, samples, 0)
		}
	})
}

func testGroups(t env) {
	s := start(t, Options{}, 1)
	var samples []sample
	for i, key := range []string{
		`cpu{host="a",zone="x"}`, `cpu{host="a",zone="y"}`, `cpu{host="b",zone="x"}`, `cpu{zone="x"}`, `cpu`,
		`mem{host="a",zone="x"}`,
	} {
		for j := range 5 {
			samples = append(samples, sample{seriesOf(t, key), int64(j) * 3600 * second, float64(i*10 + j)})
		}
	}
	cpu := nameOf(t, "cpu")
	s.everywhere(samples, func() {
		t.Helper()
		for _, by := range [][]string{nil, {"host"}, {"zone"}, {"zone", "host"}, {"none"}} {
			for _, m := range []metric.Matchers{
				{},
				matchersOf(t, metric.Tag{Key: "host", Value: "a"}), matchersOf(t, metric.Tag{Key: "host", Value: "none"}),
				matchersOf(t, metric.Tag{Key: "host", Value: "a"}, metric.Tag{Key: "zone", Value: "y"}),
			} {
				s.check(aggregate.QuerySpec{Metric: cpu, GroupBy: by, Matchers: m}, samples, 0)
				s.check(aggregate.QuerySpec{Metric: cpu, GroupBy: by, Matchers: m, Window: windowOf(t, "2h")}, samples, 0)
				s.checkLatest(cpu, m, samples, 0)
			}
		}
	})
}

func testNames(t env) {
	s := start(t, Options{}, 1)
	var samples []sample
	for i, text := range []string{`a'b`, `a"b`, `'; DROP TABLE samples; --`, `{}`, `a=b,c\`, "žluťoučký 🐎", `%s%d$1?`, " "} {
		tags, err := metric.NewTags([]metric.Tag{{Key: text, Value: text + text}, {Key: "k", Value: text}})
		if err != nil {
			t.Fatal(err)
		}
		series, err := metric.NewSeries(nameOf(t, text), tags)
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, sample{series, int64(i), float64(i)})
	}
	s.everywhere(samples, func() {
		t.Helper()
		for _, x := range samples {
			name := x.series.Name()
			m := matchersOf(t, metric.Tag{Key: name.String(), Value: name.String() + name.String()})
			s.check(aggregate.QuerySpec{Metric: name, Matchers: m, GroupBy: []string{name.String(), "k"}}, samples, 0)
			s.checkLatest(name, m, samples, 0)
		}
	})
}

func testDuplicates(t env) {
	s := start(t, Options{}, 1)
	cpu := seriesOf(t, "cpu")
	samples := slices.Repeat([]sample{{cpu, 5, 1}, {cpu, 5, 1}, {cpu, 5, 7}}, 100)
	spec := aggregate.QuerySpec{Metric: cpu.Name(), Range: rangeOf(t, 5, 5)}
	s.everywhere(samples, func() {
		t.Helper()
		s.check(spec, samples, 0)
	})
	s.append(0, samples...)
	s.check(spec, append(samples, samples...), 0)
}

func testExtremes(t env) {
	s := start(t, Options{}, 1)
	cpu, big := seriesOf(t, "cpu"), seriesOf(t, "big")
	samples := []sample{
		{cpu, 1, math.SmallestNonzeroFloat64},
		{cpu, 2, 1e300},
		{cpu, 3, 1},
		{cpu, 4, -1e300},
		{cpu, 5, 1e-300},
		{cpu, 6, math.Copysign(0, -1)},
		{big, 1, math.MaxFloat64},
		{big, 2, math.MaxFloat64},
		{big, 3600 * second, 1},
	}
	q := s.query(aggregate.QuerySpec{Metric: big.Name(), Window: windowOf(t, "1h")})
	s.everywhere(samples, func() {
		t.Helper()
		s.check(aggregate.QuerySpec{Metric: cpu.Name()}, samples, 0)
		cells := s.partials(q, 0).Groups[0].Cells
		if len(cells) != 2 {
			t.Fatalf("%d cells, want 2", len(cells))
		}
		over := cells[0].Partial
		if sum, err := over.Sum(); !errors.Is(err, aggregate.ErrOverflow) || over.Count() != 2 || over.Max() != math.MaxFloat64 {
			t.Errorf("sum=%v, %v of %d samples up to %v, want ErrOverflow of 2", sum, err, over.Count(), over.Max())
		}
		if sum, err := cells[1].Partial.Sum(); sum != 1 || err != nil {
			t.Errorf("sum beside an overflow is %v, %v, want 1", sum, err)
		}
	})
}

func testLatest(t env) {
	s := start(t, Options{}, 1)
	a, b := seriesOf(t, `m{h="a"}`), seriesOf(t, `m{h="b"}`)
	onlyA := matchersOf(t, metric.Tag{Key: "h", Value: "a"})
	var all []sample
	index := uint64(0)
	for _, x := range []sample{
		{b, 10, 1}, {a, 10, 2}, {a, 10, 3}, {b, 10, 4}, {a, 9, 5}, {a, 11, 6}, {b, -5, 7}, {b, 11, 8}, {a, 11, 9},
	} {
		all = append(all, x)
		s.append(0, x)
		check := func() {
			t.Helper()
			s.checkLatest(a.Name(), metric.Matchers{}, all, 0)
			s.checkLatest(a.Name(), onlyA, all, 0)
		}
		check()
		index++
		s.cut(0, index)
		check()
		if index%2 == 0 { // So that ties stand within one flush and across flushes.
			s.flush(0, index)
			s.stop()
			s.begin(1)
			check()
		}
	}
}

func testShards(t env) {
	s := start(t, Options{}, 3)
	var parts [3][]sample
	for id := range parts {
		for i := range 50 {
			key := []string{`m{h="a"}`, `m{h="b"}`, `m{h="c"}`}[id]
			parts[id] = append(parts[id], sample{seriesOf(t, key), int64(i) * second, float64(id*100 + i)})
		}
		s.append(shard.ID(id), parts[id]...)
	}
	s.cut(1, 4)
	s.flush(1, 4)
	s.cut(2, 6)
	check := func(parts [3][]sample) {
		t.Helper()
		spec := aggregate.QuerySpec{Metric: nameOf(t, "m"), GroupBy: []string{"h"}, Window: windowOf(t, "7s")}
		for _, ids := range [][]shard.ID{{0}, {1}, {2}, {0, 1}, {2, 1}, {1, 2, 0}} {
			var want []sample
			for _, id := range ids {
				want = append(want, parts[id]...)
			}
			s.check(spec, want, ids...)
			s.checkLatest(spec.Metric, metric.Matchers{}, want, ids...)
		}
	}
	check(parts)
	s.crash()
	states := s.begin(3)
	if states[0].Index != 0 || states[1].Index != 4 || states[2].Index != 0 {
		t.Fatalf("indexes after a crash are %d, %d, %d, want 0, 4, 0", states[0].Index, states[1].Index, states[2].Index)
	}
	check([3][]sample{1: parts[1]})
}

func testCancel(t env) {
	s := start(t, Options{}, 1)
	cpu := seriesOf(t, "cpu")
	s.append(0, sample{cpu, 1, 1})
	s.cut(0, 1)
	s.flush(0, 1)
	s.append(0, sample{cpu, 2, 2})
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.store.Partials(ctx, []shard.ID{0}, s.query(aggregate.QuerySpec{Metric: cpu.Name()})); !errors.Is(err, context.Canceled) {
		t.Errorf("Partials with an ended context: %v, want context.Canceled", err)
	}
	if _, _, err := s.store.Latest(ctx, []shard.ID{0}, cpu.Name(), metric.Matchers{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Latest with an ended context: %v, want context.Canceled", err)
	}
	s.check(aggregate.QuerySpec{Metric: cpu.Name()}, []sample{{cpu, 1, 1}, {cpu, 2, 2}}, 0)
}
