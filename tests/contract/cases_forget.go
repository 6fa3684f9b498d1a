package contract

import (
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func functionsOf(t failer, text string) []aggregate.Function {
	t.Helper()
	functions, err := aggregate.ParseFunctions(text)
	if err != nil {
		t.Fatalf("ParseFunctions(%q): %v", text, err)
	}
	return functions
}

// script runs operations on shard 0 one after the other, and compares what counts after each: where it
// is, and at each step in another place.
type script struct {
	*subject
	log   []operation
	index uint64
}

// runScript runs operations with what they leave in memory, frozen, flushed, and after a restart.
func runScript(t env, operations func(step func(operation))) {
	for name, settle := range map[string]func(*script){
		"in memory": func(*script) {},
		"flushed":   (*script).flushAll,
		"restarted": func(s *script) {
			if len(s.log)%4 == 0 {
				s.flushAll()
				s.crash()
				s.begin(1)
			}
		},
		"merged": func(s *script) {
			s.flushAll()
			s.merge(0, len(s.log)%2 == 0)
		},
		"in turn": func(s *script) {
			switch len(s.log) % 4 {
			case 0:
				s.flushAll()
			case 2:
				s.cutAll()
			}
		},
		"flushed by threes": func(s *script) {
			if len(s.log)%3 == 0 {
				s.flushAll()
			}
		},
	} {
		t.Run(name, func(sub *testing.T) {
			s := &script{subject: start(env{T: sub, factory: t.factory}, Options{}, 1)}
			operations(func(o operation) {
				s.step(o)
				s.checkAll()
				settle(s)
				s.checkAll()
			})
			s.flushAll()
			s.checkAll()
			s.crash()
			s.begin(1)
			s.checkAll()
		})
	}
}

func (s *script) cutAll() {
	s.index++
	s.cut(0, s.index)
}

func (s *script) flushAll() {
	s.cutAll()
	s.flush(0, s.index)
}

func (s *script) step(o operation) {
	s.Helper()
	switch {
	case o.delete != nil:
		s.delete(0, *o.delete, contentOf(s.log).knows(o.delete.Metric))
	case o.retain != nil:
		s.retain(0, *o.retain)
	case o.replace:
		s.replace(0, o.samples...)
	default:
		s.append(0, o.samples...)
	}
	s.log = append(s.log, o)
}

// checkAll compares all samples of m and n with what counts after the log.
func (s *script) checkAll() {
	s.Helper()
	samples := contentOf(s.log).samples
	s.checkContent(0, samples)
	for _, metricName := range []string{"m", "n"} {
		of := nameOf(s, metricName)
		s.check(aggregate.QuerySpec{Metric: of, GroupBy: []string{"h"}}, samples, 0)
		s.check(aggregate.QuerySpec{Metric: of, Window: windowOf(s, "1h")}, samples, 0)
		s.checkLatest(of, metric.Matchers{}, samples, 0)
		s.ask(aggregate.QuerySpec{Metric: of, GroupBy: []string{"h"}}, functionsOf(s, "first,last,increase,p50"), samples, 0)
		s.checkList(metric.ListingSpec{Kind: metric.ListSeries, Metric: of}, samples, 0)
	}
}

// testReplace goes through the rule of outbound.Columns.Replace, sample by sample.
func testReplace(t env) {
	a, b := seriesOf(t, `m{h="a"}`), seriesOf(t, `m{h="b"}`)
	runScript(t, func(step func(operation)) {
		t.Helper()
		write := func(replace bool, samples ...sample) { step(operation{samples: samples, replace: replace}) }
		write(false, sample{a, 10, 5}, sample{a, 10, 6}, sample{a, 20, 1})
		write(true, sample{a, 30, 1})
		write(true, sample{a, 30, 1}, sample{a, 10, 6})
		write(true, sample{a, 10, 7})
		write(true, sample{a, 10, 7}, sample{a, 20, 1}, sample{a, 20, 2})
		write(false, sample{a, 10, 7}, sample{a, 10, 8})
		write(true, sample{a, 10, 8})
		write(true, sample{a, 10, 7})
		write(true, sample{a, 5, 3}, sample{a, 5, 4}, sample{b, 5, 3}, sample{b, 5, 3})
		write(false, sample{a, 10, 9}, sample{a, 40, 2})
		write(true, sample{a, 40, 3}, sample{a, 40, 2}, sample{a, 10, 9}, sample{b, 5, 1})
		write(true, sample{b, 4, 0}, sample{b, 7200 * second, 1}, sample{b, 3600 * second, 2})
		for at := range int64(3) { // Equal to the last that was stored, but not to the last that counts.
			write(false, sample{a, 100 + at, 1}, sample{a, 100 + at, 2})
			write(false, sample{a, 100 + at, 3})
			write(true, sample{a, 100 + at, 2})
			write(true, sample{a, 100 + at, 2})
		}
	})
}

func testDelete(t env) {
	a, b, n := seriesOf(t, `m{h="a"}`), seriesOf(t, `m{h="b"}`), seriesOf(t, "n")
	m := a.Name()
	between := func(from, to int64) operation {
		return operation{delete: &outbound.Deletion{Metric: m, Range: rangeOf(t, from, to)}}
	}
	all := operation{delete: &outbound.Deletion{Metric: m, Range: aggregate.Everything()}}
	runScript(t, func(step func(operation)) {
		t.Helper()
		write := func(samples ...sample) { step(operation{samples: samples}) }
		step(all)
		write(sample{a, 1, 1}, sample{a, 2, 2}, sample{a, 3, 3}, sample{b, 2, 4}, sample{n, 2, 5})
		step(between(3, 4))
		write(sample{a, 3, 6})
		step(between(2, 2))
		write(sample{a, 2, 7}, sample{a, 2, 8}, sample{b, 9, 9})
		step(operation{samples: []sample{{a, 2, 8}, {a, 3, 1}}, replace: true})
		step(between(2, 3))
		step(operation{samples: []sample{{a, 2, 8}}, replace: true})
		step(between(100, 200))
		step(all)
		step(between(2, 3))
		write(sample{b, 2, 1}, sample{n, 3, 1})
		step(all)
		write(sample{a, 7300 * second, 1}, sample{a, 3600 * second, 2}, sample{a, 10, 3}, sample{b, 3601 * second, 4})
		step(between(3600*second, 3600*second))
		step(between(3601*second, 7400*second))
	})
}

// testDeleteRestart comes back between a deletion and its flush: the log brings the deletion again.
func testDeleteRestart(t env) {
	s := start(t, Options{}, 1)
	samples := ramp(t, 0, 500)
	all := outbound.Deletion{Metric: nameOf(t, "m"), Range: aggregate.Everything()}
	s.append(0, samples...)
	s.cut(0, 1)
	s.delete(0, all, true)
	s.check(rampSpec(t), nil, 0)
	s.flush(0, 1)
	s.check(rampSpec(t), nil, 0)
	s.crash()
	s.begin(1)
	s.check(rampSpec(t), samples, 0)
	s.checkLatest(nameOf(t, "m"), metric.Matchers{}, samples, 0)
	s.delete(0, all, true)
	s.delete(0, all, false)
	s.append(0, samples[:100]...)
	s.cut(0, 2)
	s.delete(0, all, true)
	s.append(0, samples[100:200]...)
	s.flush(0, 2)
	s.check(rampSpec(t), samples[100:200], 0)
	s.crash()
	s.begin(1)
	s.check(rampSpec(t), samples[:100], 0)
}

func testRetain(t env) {
	a, n := seriesOf(t, `m{h="a"}`), seriesOf(t, "n")
	const hour = 3600 * second
	cutoffs := func(m, rest int64) operation {
		return operation{retain: &metric.Cutoffs{
			Default: metric.Timestamp(rest), Rules: []metric.CutoffRule{{Pattern: "m*", Before: metric.Timestamp(m)}},
		}}
	}
	runScript(t, func(step func(operation)) {
		t.Helper()
		write := func(samples ...sample) { step(operation{samples: samples}) }
		step(cutoffs(1*hour, int64(metric.TimestampMin)))
		write(sample{a, hour - 1, 1}, sample{a, hour, 2}, sample{a, 2 * hour, 3}, sample{n, 5, 4})
		step(cutoffs(2*hour, 0))
		write(sample{a, hour, 5}, sample{n, -1, 6}, sample{n, 3 * hour, 7})
		step(cutoffs(0, hour))
		write(sample{a, hour, 8})
		step(operation{retain: &metric.Cutoffs{Default: metric.Timestamp(3 * hour)}})
		write(sample{a, 4 * hour, 9}, sample{n, 2 * hour, 1})
		step(operation{samples: []sample{{a, hour, 9}, {a, 4 * hour, 10}}, replace: true})
		step(cutoffs(5*hour, 5*hour))
		write(sample{n, 5 * hour, 9})
	})
}

// testForgottenSnapshot moves a shard with all that was forgotten in it to another store.
func testForgottenSnapshot(t env) {
	from, to := &script{subject: start(t, Options{}, 1)}, &script{subject: start(t, Options{}, 1)}
	a, n := seriesOf(t, `m{h="a"}`), seriesOf(t, "n")
	const hour = 3600 * second
	for _, o := range []operation{
		{samples: []sample{{a, 1, 1}, {a, 2, 2}, {n, 1, 3}, {n, hour, 4}, {a, hour, 4}, {a, hour, 5}}},
		{samples: []sample{{a, 2, 3}, {a, hour, 4}}, replace: true},
		{delete: &outbound.Deletion{Metric: a.Name(), Range: rangeOf(t, 1, 1)}},
		{retain: &metric.Cutoffs{Default: metric.TimestampMin, Rules: []metric.CutoffRule{{Pattern: "n", Before: metric.Timestamp(hour)}}}},
		{delete: &outbound.Deletion{Metric: n.Name(), Range: aggregate.Everything()}},
		{samples: []sample{{n, 2 * hour, 7}}},
	} {
		from.step(o)
		if o.delete != nil {
			from.flushAll()
		}
	}
	from.flushAll()
	to.step(operation{samples: []sample{{n, 1, 100}, {a, 1, 100}}})
	manifest := from.transfer(0, from.index, to.subject)
	to.install(0, manifest, from.index)
	to.log, to.index = from.log, from.index
	to.checkAll()
	for _, o := range []operation{ // The cut-offs came along.
		{samples: []sample{{n, 1, 1}, {n, hour, 2}}},
		{delete: &outbound.Deletion{Metric: a.Name(), Range: aggregate.Everything()}},
	} {
		to.step(o)
		to.checkAll()
	}
	to.flushAll()
	to.crash()
	to.begin(1)
	to.checkAll()
}

func testListings(t env) {
	s := start(t, Options{}, 2)
	var parts [2][]sample
	for i, key := range []string{
		`cpu{host="b",zone="x"}`, `cpu{host="a",zone="y"}`, `cpu{host="c"}`, `cpu`, `mem{host="a"}`, `mem{rack="7"}`, "disk",
	} {
		parts[i%2] = append(parts[i%2], sample{seriesOf(t, key), int64(i), 1})
	}
	for id, part := range parts {
		s.append(shard.ID(id), part...)
	}
	check := func() {
		t.Helper()
		all := append(append([]sample(nil), parts[0]...), parts[1]...)
		for _, name := range []metric.Name{{}, nameOf(t, "cpu"), nameOf(t, "none")} {
			for _, m := range []metric.Matchers{{}, matchersOf(t, metric.Tag{Key: "host", Value: "a"})} {
				for _, limit := range []int{0, 1, 3} {
					for _, kind := range []metric.ListingKind{metric.ListSeries, metric.ListMetrics, metric.ListTagKeys} {
						s.checkList(metric.ListingSpec{Kind: kind, Metric: name, Matchers: m, Limit: limit}, all, 0, 1)
					}
					for _, key := range []string{"host", "zone", "none"} {
						s.checkList(metric.ListingSpec{Kind: metric.ListTagValues, Key: key, Metric: name, Matchers: m, Limit: limit}, all, 0, 1)
					}
				}
			}
		}
	}
	check()
	s.cut(0, 1)
	s.flush(0, 1)
	check()
	s.delete(0, outbound.Deletion{Metric: nameOf(t, "mem"), Range: aggregate.Everything()}, true)
	parts[0] = slices.DeleteFunc(parts[0], func(x sample) bool { return x.series.Name() == nameOf(t, "mem") })
	check()
}

// testQuestions asks for what needs more than plain partials, with samples in memory and in files.
func testQuestions(t env) {
	s := start(t, Options{}, 1)
	samples := ramp(t, 0, 3000)
	where, err := aggregate.ParseWhere("value>1000")
	if err != nil {
		t.Fatal(err)
	}
	m := nameOf(t, "m")
	check := func() {
		t.Helper()
		for _, functions := range []string{"first,last", "stddev", "rate,increase,delta", "p50,p99.9", "count,avg,min,max,sum"} {
			for _, spec := range []aggregate.QuerySpec{
				{Metric: m},
				{Metric: m, GroupBy: []string{"h"}},
				{Metric: m, Window: windowOf(t, "1m"), GroupBy: []string{"h"}},
				{Metric: m, Where: where},
				{Metric: m, Where: where, Window: windowOf(t, "7s"), Range: rangeOf(t, 100*second, 500*second)},
			} {
				s.ask(spec, functionsOf(t, functions), samples, 0)
			}
		}
	}
	s.append(0, samples[:2000]...)
	s.cut(0, 1)
	s.flush(0, 1)
	s.append(0, samples[2000:]...)
	check()
	s.cut(0, 2)
	check()
	s.flush(0, 2)
	s.crash()
	s.begin(1)
	check()
}
