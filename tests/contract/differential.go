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
			"append":  d.appendSome,
			"append2": d.appendSome,
			"cut":     d.cutOne,
			"flush":   d.flushOne,
			"restart": d.restart,
			"query":   d.queryAny,
			"query2":  d.queryAny,
			"latest":  d.latestAny,
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
	log          []sample
	cut, durable mark
	hasCut       bool
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
	anyValue = rapid.OneOf(
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
	var batches [differentialShards][]sample
	for range rapid.IntRange(1, 40).Draw(r, "samples") {
		series := anySeries(r)
		id := d.placement.Of(series)
		batches[id] = append(batches[id], sample{series, anyTime.Draw(r, "at"), anyValue.Draw(r, "value")})
	}
	for id, batch := range batches {
		if len(batch) > 0 {
			d.append(shard.ID(id), batch...)
			d.shards[id].log = append(d.shards[id].log, batch...)
		}
	}
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
		m.log = m.log[:m.durable.length]
	}
}

// scope draws some shards and returns what they hold together.
func (d *differential) scope(r *rapid.T) (ids []shard.ID, samples []sample) {
	first := anyShard.Draw(r, "first shard")
	for i := range rapid.IntRange(1, differentialShards).Draw(r, "shards") {
		id := (first + i) % differentialShards
		ids = append(ids, shard.ID(id))
		samples = append(samples, d.shards[id].log...)
	}
	return ids, samples
}

func anyMatchers(r *rapid.T) metric.Matchers {
	var tags []metric.Tag
	if host := anyHost.Draw(r, "matched host"); host != "" {
		tags = append(tags, metric.Tag{Key: "host", Value: host})
	}
	return matchersOf(r, tags...)
}

func (d *differential) queryAny(r *rapid.T) {
	ids, samples := d.scope(r)
	spec := aggregate.QuerySpec{
		Metric:   nameOf(r, anyMetric.Draw(r, "metric")),
		Matchers: anyMatchers(r),
		GroupBy:  rapid.SampledFrom([][]string{nil, {"host"}, {"zone", "host"}}).Draw(r, "group_by"),
	}
	if text := rapid.SampledFrom([]string{"", "10s", "1h", "1w"}).Draw(r, "window"); text != "" {
		spec.Window = windowOf(r, text)
	}
	if rapid.Bool().Draw(r, "ranged") {
		from := rapid.Int64Range(-7200, 7200).Draw(r, "from") * second
		spec.Range = rangeOf(r, from, from+rapid.Int64Range(0, 7200).Draw(r, "length")*second)
	}
	d.check(spec, samples, ids...)
}

func (d *differential) latestAny(r *rapid.T) {
	ids, samples := d.scope(r)
	d.checkLatest(nameOf(r, anyMetric.Draw(r, "metric")), anyMatchers(r), samples, ids...)
}
