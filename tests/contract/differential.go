package contract

import (
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// differentialShards is how many shards the random test uses.
const differentialShards = 2

// testDifferential runs random appends, late data, cuts, flushes, restarts and queries against a
// list. rapid prints the seed of a failure and takes it back by its flag.
func testDifferential(t env) {
	placement, err := shard.NewMap(differentialShards, differentialShards)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t.T, func(r *rapid.T) {
		d := &differential{placement: placement, subject: &subject{failer: r, ctx: t.Context(), node: t.factory(t.T, Options{})}}
		d.begin(differentialShards)
		defer func() {
			if d.store != nil {
				d.stop()
			}
		}()
		r.Repeat(map[string]func(*rapid.T){
			"append":   d.appendSome,
			"append2":  d.appendSome,
			"replace":  d.replaceSome,
			"replace2": d.replaceSome,
			"delete":   d.deleteSome,
			"retain":   d.retainSome,
			"cut":      d.cutOne,
			"flush":    d.flushOne,
			"restart":  d.restart,
			"query":    d.queryAny,
			"query2":   d.queryAny,
			"ask":      d.askAny,
			"latest":   d.latestAny,
			"list":     d.listAny,
			"digest":   d.digestOne,
			"merge":    d.mergeOne,
		})
		d.queryAny(r)
	})
}

// differential is the system under test and what it should hold.
type differential struct {
	*subject
	placement shard.Map
	index     uint64
	shards    [differentialShards]shardModel
}

// shardModel is a shard's log and how far its cut and its durable state reach into it.
type shardModel struct {
	log          []operation
	now          *content // after the log, or nil
	cut, durable mark
	hasCut       bool
}

// note appends to the log.
func (m *shardModel) note(o operation) {
	m.log = append(m.log, o)
	if m.now != nil {
		m.now.apply(o)
	}
}

// content returns what counts after the whole log.
func (m *shardModel) content() *content {
	if m.now == nil {
		m.now = contentOf(m.log)
	}
	return m.now
}

type mark struct {
	state  outbound.AppliedState
	length int
}

var (
	anyMetric = rapid.SampledFrom([]string{"cpu", "mem", `o'dd "name"{}`})
	anyHost   = rapid.SampledFrom([]string{"", "a", "b", "ü"})
	anyZone   = rapid.SampledFrom([]string{"", "x", `y\"`})
	anyShard  = rapid.IntRange(0, differentialShards-1)
	anyTime   = rapid.OneOf(
		rapid.Map(rapid.Int64Range(-7200, 7200), func(s int64) int64 { return s * second }),
		rapid.Int64Range(-5, 5),
		rapid.SampledFrom([]int64{int64(metric.TimestampMin), int64(metric.TimestampMax)}),
	)
	fewSeries = rapid.SampledFrom([]string{"cpu", `cpu{host="a"}`})
	fewTimes  = rapid.Map(rapid.Int64Range(-2, 2), func(m int64) int64 { return m * 1800 * second })
	fewValues = rapid.Map(rapid.IntRange(0, 2), func(i int) float64 { return float64(i) })
	anyValue  = rapid.OneOf(
		rapid.Map(rapid.Int32(), func(i int32) float64 { return float64(i) }),
		rapid.Float64Range(-1e3, 1e3),
		rapid.SampledFrom([]float64{1e16, -1e16, 1e100, -1e100, 0.1, 1e-300}),
	)
)

func anySeries(r *rapid.T) metric.Series {
	var tags []metric.Tag
	if host := anyHost.Draw(r, "host"); host != "" {
		tags = append(tags, metric.Tag{Key: "host", Value: host})
	}
	if zone := anyZone.Draw(r, "zone"); zone != "" {
		tags = append(tags, metric.Tag{Key: "zone", Value: zone})
	}
	set, err := metric.NewTags(tags)
	if err != nil {
		r.Fatalf("NewTags: %v", err)
	}
	series, err := metric.NewSeries(nameOf(r, anyMetric.Draw(r, "metric")), set)
	if err != nil {
		r.Fatalf("NewSeries: %v", err)
	}
	return series
}

// appendSome appends a batch to each shard that the map gives one of the drawn samples to.
func (d *differential) appendSome(r *rapid.T) {
	d.appendBatch(r, false, func() sample { return sample{anySeries(r), anyTime.Draw(r, "at"), anyValue.Draw(r, "value")} })
}

// replaceSome draws from few series, times and values, so that they meet.
func (d *differential) replaceSome(r *rapid.T) {
	d.appendBatch(r, rapid.Bool().Draw(r, "replace"), func() sample {
		return sample{seriesOf(r, fewSeries.Draw(r, "series")), fewTimes.Draw(r, "at"), fewValues.Draw(r, "value")}
	})
}

func (d *differential) appendBatch(r *rapid.T, replace bool, draw func() sample) {
	var batches [differentialShards][]sample
	for range rapid.IntRange(1, 40).Draw(r, "samples") {
		x := draw()
		id := d.placement.Of(x.series)
		batches[id] = append(batches[id], x)
	}
	for id, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		if replace {
			d.replace(shard.ID(id), batch...)
		} else {
			d.append(shard.ID(id), batch...)
		}
		d.shards[id].note(operation{samples: batch, replace: replace})
	}
}

// deleteSome deletes a range of a metric, or all of it, in every shard.
func (d *differential) deleteSome(r *rapid.T) {
	deletion := outbound.Deletion{Metric: nameOf(r, anyMetric.Draw(r, "metric")), Range: aggregate.Everything()}
	if rapid.Bool().Draw(r, "ranged") {
		deletion.Range = anyRange(r)
	}
	for id := range d.shards {
		m := &d.shards[id]
		d.subject.delete(shard.ID(id), deletion, m.content().knows(deletion.Metric))
		m.note(operation{delete: &deletion})
	}
}

// retainSome moves the cut-offs of one shard, as some policy would, on or (in vain) back.
func (d *differential) retainSome(r *rapid.T) {
	anyCutoff := rapid.OneOf(
		rapid.Map(rapid.Int64Range(-3, 1), func(h int64) metric.Timestamp { return metric.Timestamp(h * 3600 * second) }),
		rapid.Just(metric.TimestampMin))
	c := metric.Cutoffs{Default: anyCutoff.Draw(r, "default")}
	for _, pattern := range rapid.SampledFrom([][]string{nil, {"cpu"}, {"c*", "mem"}, {"?e*"}}).Draw(r, "patterns") {
		c.Rules = append(c.Rules, metric.CutoffRule{Pattern: pattern, Before: anyCutoff.Draw(r, pattern)})
	}
	id := anyShard.Draw(r, "shard")
	d.retain(shard.ID(id), c)
	d.shards[id].note(operation{retain: &c})
}

func (d *differential) mergeOne(r *rapid.T) {
	d.merge(shard.ID(anyShard.Draw(r, "shard")), rapid.Bool().Draw(r, "all"))
}

func (d *differential) cutOne(r *rapid.T) {
	id := anyShard.Draw(r, "shard")
	d.index++
	m := &d.shards[id]
	m.cut = mark{state: d.cut(shard.ID(id), d.index), length: len(m.log)}
	m.hasCut = true
}

func (d *differential) flushOne(r *rapid.T) {
	id := anyShard.Draw(r, "shard")
	m := &d.shards[id]
	if m.hasCut {
		m.durable, m.hasCut = m.cut, false
	}
	d.flush(shard.ID(id), m.durable.state.Index)
}

// restart stops or crashes the node: each shard comes back at its durable state or, where the end
// found time for it, at its cut.
func (d *differential) restart(r *rapid.T) {
	if rapid.Bool().Draw(r, "crash") {
		d.crash()
	} else {
		d.stop()
	}
	for id, state := range d.begin(differentialShards) {
		m := &d.shards[id]
		if m.hasCut && state.Index == m.cut.state.Index {
			m.durable = m.cut
		}
		m.hasCut = false
		if !equalState(state, m.durable.state) {
			r.Fatalf("shard %d came back at %+v, want %+v", id, state, m.durable.state)
		}
		m.log, m.now = m.log[:m.durable.length], nil
	}
}

// scope draws some shards and returns what they hold together.
func (d *differential) scope(r *rapid.T) (ids []shard.ID, samples []sample) {
	first := anyShard.Draw(r, "first shard")
	for i := range rapid.IntRange(1, differentialShards).Draw(r, "shards") {
		id := (first + i) % differentialShards
		ids = append(ids, shard.ID(id))
		samples = append(samples, d.shards[id].content().samples...)
	}
	return ids, samples
}

func anyMatchers(r *rapid.T) metric.Matchers {
	var list []metric.Matcher
	if host := anyHost.Draw(r, "matched host"); host != "" {
		list = append(list, metric.Matcher{Key: "host", Op: metric.MatchAnyOf, Values: []string{host}})
		if rapid.Bool().Draw(r, "or") {
			list[0].Values = append(list[0].Values, "a", "none")
		}
	}
	if rapid.IntRange(0, 3).Draw(r, "not") == 0 {
		list = append(list, metric.Matcher{Key: "host", Op: metric.MatchNoneOf, Values: []string{"b", "none"}})
	}
	if pattern := rapid.SampledFrom([]string{"", "", "", "x?", ".*", ".+", "[^x]*"}).Draw(r, "pattern"); pattern != "" {
		list = append(list, metric.Matcher{Key: "zone", Op: metric.MatchPattern, Values: []string{pattern}})
	}
	m, err := metric.NewSelection(list)
	if err != nil {
		r.Fatalf("NewSelection: %v", err)
	}
	return m
}

func anyRange(r *rapid.T) aggregate.Range {
	from := rapid.Int64Range(-7200, 7200).Draw(r, "from") * second
	return rangeOf(r, from, from+rapid.Int64Range(0, 7200).Draw(r, "length")*second)
}

func anySpec(r *rapid.T) aggregate.QuerySpec {
	spec := aggregate.QuerySpec{
		Metric:   nameOf(r, anyMetric.Draw(r, "metric")),
		Matchers: anyMatchers(r),
		GroupBy:  rapid.SampledFrom([][]string{nil, {"host"}, {"zone", "host"}}).Draw(r, "group_by"),
	}
	if text := rapid.SampledFrom([]string{"", "10s", "1m", "7m", "1h", "1w"}).Draw(r, "window"); text != "" {
		spec.Window = windowOf(r, text)
	}
	if rapid.Bool().Draw(r, "ranged") {
		spec.Range = anyRange(r)
	}
	return spec
}

func (d *differential) queryAny(r *rapid.T) {
	ids, samples := d.scope(r)
	d.check(anySpec(r), samples, ids...)
}

// askAny asks what needs more than plain partials.
func (d *differential) askAny(r *rapid.T) {
	ids, samples := d.scope(r)
	spec := anySpec(r)
	if op := rapid.Uint8Range(0, uint8(aggregate.NotEqual)).Draw(r, "where"); op > 0 {
		var err error
		if spec.Where, err = aggregate.NewWhere(aggregate.Comparison(op), rapid.OneOf(fewValues, anyValue).Draw(r, "than")); err != nil {
			r.Fatalf("NewWhere: %v", err)
		}
	}
	functions := rapid.SampledFrom([]string{
		"first,last", "stddev,avg", "rate,increase,delta", "p50,p99", "last,rate,stddev,p10", "min,max,count,sum",
	}).Draw(r, "functions")
	d.ask(spec, functionsOf(r, functions), samples, ids...)
}

func (d *differential) listAny(r *rapid.T) {
	ids, samples := d.scope(r)
	spec := metric.ListingSpec{
		Kind:     metric.ListingKind(rapid.Uint8Range(uint8(metric.ListSeries), uint8(metric.ListTagValues)).Draw(r, "list")),
		Matchers: anyMatchers(r),
		Limit:    rapid.SampledFrom([]int{0, 1, 2, 5}).Draw(r, "limit"),
	}
	if spec.Kind == metric.ListTagValues {
		spec.Key = rapid.SampledFrom([]string{"host", "zone", "none"}).Draw(r, "key")
	}
	if rapid.Bool().Draw(r, "of one") {
		spec.Metric = nameOf(r, anyMetric.Draw(r, "metric"))
	}
	d.checkList(spec, samples, ids...)
}

// digestOne compares a shard's digest, by which replicas are compared, whatever they flushed when.
func (d *differential) digestOne(r *rapid.T) {
	id := anyShard.Draw(r, "shard")
	d.checkContent(shard.ID(id), d.shards[id].content().samples)
}

func (d *differential) latestAny(r *rapid.T) {
	ids, samples := d.scope(r)
	d.checkLatest(nameOf(r, anyMetric.Draw(r, "metric")), anyMatchers(r), samples, ids...)
}
