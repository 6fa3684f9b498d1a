package contract

import (
	"fmt"
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// ramp returns n samples of two series, values counting from first.
func ramp(t failer, first, n int) []sample {
	t.Helper()
	a, b := seriesOf(t, `m{h="a"}`), seriesOf(t, `m{h="b"}`)
	samples := make([]sample, 0, n)
	for i := first; i < first+n; i++ {
		series := a
		if i%3 == 0 {
			series = b
		}
		samples = append(samples, sample{series, int64(i*7919%1000) * second, float64(i)})
	}
	return samples
}

// rampSpec asks for everything that ramp makes.
func rampSpec(t failer) aggregate.QuerySpec {
	t.Helper()
	return aggregate.QuerySpec{Metric: nameOf(t, "m"), GroupBy: []string{"h"}, Window: windowOf(t, "1m")}
}

func testFlush(t env) {
	for _, end := range []string{"stop", "crash"} {
		t.Run(end, func(sub *testing.T) {
			t := env{T: sub, factory: t.factory}
			s := start(t, Options{}, 1)
			var durable []sample
			for round := range 6 {
				more := ramp(t, round*300, 300)
				s.append(0, more...)
				index := uint64(round*10 + 5)
				s.cut(0, index)
				after := ramp(t, 1_000_000, 50) // Appended after the cut: not part of it.
				s.append(0, after...)
				s.flush(0, index)
				durable = append(durable, more...)
				s.check(rampSpec(t), slices.Concat(durable, after), 0)
				if end == "stop" {
					s.stop()
				} else {
					s.crash()
				}
				if got := s.begin(1)[0]; !equalState(got, stateAt(index)) {
					t.Fatalf("state=%+v, want %+v", got, stateAt(index))
				}
				s.check(rampSpec(t), durable, 0)
				s.checkLatest(nameOf(t, "m"), metric.Matchers{}, durable, 0)
			}
		})
	}
}

func testFlushNothing(t env) {
	s := start(t, Options{}, 1)
	s.append(0, ramp(t, 0, 10)...)
	s.flush(0, 0)
	s.cut(0, 9)
	s.flush(0, 9)
	s.flush(0, 9)
	s.crash()
	if got := s.begin(1)[0]; got.Index != 9 {
		t.Fatalf("index=%d, want 9", got.Index)
	}
	s.flush(0, 9)
	s.check(rampSpec(t), ramp(t, 0, 10), 0)
}

func testStateAlone(t env) {
	s := start(t, Options{}, 1)
	s.append(0, ramp(t, 0, 10)...)
	for index := range uint64(4) {
		s.cut(0, index+1)
		s.flush(0, index+1)
	}
	s.crash()
	if got := s.begin(1)[0]; !equalState(got, stateAt(4)) {
		t.Fatalf("state=%+v, want %+v", got, stateAt(4))
	}
	s.check(rampSpec(t), ramp(t, 0, 10), 0)
}

func testCutsMerge(t env) {
	s := start(t, Options{}, 1)
	for i := range 5 {
		s.append(0, ramp(t, i*100, 100)...)
		s.cut(0, uint64(i+1))
	}
	s.append(0, ramp(t, 500, 100)...)
	s.check(rampSpec(t), ramp(t, 0, 600), 0)
	s.flush(0, 5)
	s.check(rampSpec(t), ramp(t, 0, 600), 0)
	s.crash()
	if got := s.begin(1)[0]; !equalState(got, stateAt(5)) {
		t.Fatalf("state=%+v, want %+v", got, stateAt(5))
	}
	s.check(rampSpec(t), ramp(t, 0, 500), 0)
}

func testSeriesLimit(t env) {
	s := start(t, Options{SeriesMax: 3}, 2)
	series := make([]metric.Series, 5)
	for i := range series {
		series[i] = seriesOf(t, fmt.Sprintf(`m{h="%d"}`, i))
	}
	stored := []sample{{series[0], 1, 1}, {series[1], 1, 1}}
	s.append(0, stored...)
	refused := []sample{{series[0], 2, 2}, {series[2], 2, 2}, {series[3], 2, 2}}
	refuse := func() {
		t.Helper()
		err := s.store.Append(s.ctx, 0, columnsOf(refused))
		if e := fault.From(err); e.Kind() != fault.Unprocessable || e.Code() != "series_limit" {
			t.Fatalf("Append over the limit: %v, want series_limit", err)
		}
		s.check(rampSpec(t), stored, 0)
	}
	refuse()
	s.cut(0, 1)
	s.flush(0, 1)
	refuse()
	s.crash()
	s.begin(2)
	refuse()
	third := sample{series[4], 3, 3} // The refused batch defined none of its series.
	s.append(0, third)
	stored = append(stored, third)
	refused = refused[1:2]
	refuse()
	s.append(1, refused...) // The limit is a shard's own.
}

// testLarge crosses whatever sizes of chunk, vector and row group an adapter works in.
func testLarge(t env) {
	const flushes, perFlush, seriesCount = 3, 45_000, 300
	s := start(t, Options{}, 1)
	series := make([]metric.Series, seriesCount)
	for i := range series {
		series[i] = seriesOf(t, fmt.Sprintf(`m{h="%d",z="%d"}`, i, i%3))
	}
	var all []sample
	for f := range flushes {
		batch := make([]sample, 0, perFlush)
		for i := range perFlush { // One series has a third of the samples, some of them late.
			n := f*perFlush + i
			x := sample{series[0], int64(n-n%97*13) * second, float64(n) / 8}
			if n%3 > 0 {
				x.series = series[n%seriesCount]
			}
			batch = append(batch, x)
		}
		for part := range slices.Chunk(batch, 7_001) {
			s.append(0, part...)
		}
		all = append(all, batch...)
		if f < flushes-1 {
			s.cut(0, uint64(f+1))
			s.flush(0, uint64(f+1))
		}
	}
	m := nameOf(t, "m")
	check := func() {
		t.Helper()
		s.check(aggregate.QuerySpec{Metric: m}, all, 0)
		s.check(aggregate.QuerySpec{Metric: m, GroupBy: []string{"z"}, Window: windowOf(t, "1h")}, all, 0)
		s.check(aggregate.QuerySpec{
			Metric: m, GroupBy: []string{"h"}, Range: rangeOf(t, 20_000*second, 100_000*second),
		}, all, 0)
		s.checkLatest(m, metric.Matchers{}, all, 0)
	}
	check()
	s.cut(0, flushes)
	s.flush(0, flushes)
	s.crash()
	s.begin(1)
	check()
}

func testGate(t env) {
	s := start(t, Options{}, 1)
	if err := s.store.Admit(s.ctx, 1<<10); err != nil {
		t.Fatalf("Admit(1 KiB) to an empty store: %v", err)
	}
	if s.store.WantsCut(0) {
		t.Error("an empty shard wants a cut")
	}
}
