package contract

import (
	"cmp"
	"maps"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// operation is one entry of a shard's log as the reference keeps it: one of its fields is set.
type operation struct {
	samples []sample
	replace bool // the samples replace
	delete  *outbound.Deletion
	retain  *metric.Cutoffs
}

// content is what counts after a log, the dumb way: a list in log order, which every operation walks.
type content struct {
	samples []sample
	cutoffs []metric.Cutoffs
}

func contentOf(log []operation) *content {
	c := &content{}
	for _, o := range log {
		c.apply(o)
	}
	return c
}

func (c *content) apply(o operation) {
	switch {
	case o.delete != nil:
		c.samples = slices.DeleteFunc(c.samples, func(s sample) bool {
			return s.series.Name() == o.delete.Metric && o.delete.Range.Contains(metric.Timestamp(s.at))
		})
	case o.retain != nil:
		c.cutoffs = append(c.cutoffs, *o.retain)
		c.samples = slices.DeleteFunc(c.samples, c.expired)
	default:
		for _, s := range o.samples {
			if !c.expired(s) {
				c.add(s, o.replace)
			}
		}
	}
}

// expired reports whether any cut-offs ever told forget s.
func (c *content) expired(s sample) bool {
	return slices.ContainsFunc(c.cutoffs, func(k metric.Cutoffs) bool { return metric.Timestamp(s.at) < k.Of(s.series.Name()) })
}

func (c *content) add(s sample, replace bool) {
	if replace {
		same := func(o sample) bool { return o.at == s.at && o.series.Key() == s.series.Key() }
		for _, o := range slices.Backward(c.samples) {
			if !same(o) {
				continue
			}
			if o.value == s.value {
				return
			}
			c.samples = slices.DeleteFunc(c.samples, same)
			break
		}
	}
	c.samples = append(c.samples, s)
}

// knows reports whether the metric has a series with samples.
func (c *content) knows(name metric.Name) bool {
	return slices.ContainsFunc(c.samples, func(s sample) bool { return s.series.Name() == name })
}

// digestOf sums up samples, whatever way storage has them.
func digestOf(samples []sample) [32]byte {
	bySeries := map[string][]memtable.Point{}
	for _, s := range samples {
		bySeries[s.series.Key()] = append(bySeries[s.series.Key()], memtable.Point{At: s.at, Value: s.value})
	}
	digest, points := memtable.NewDigest(), memtable.NewPointsDigest()
	for _, key := range slices.Sorted(maps.Keys(bySeries)) {
		own := bySeries[key]
		slices.SortStableFunc(own, func(a, b memtable.Point) int { return cmp.Compare(a.At, b.At) })
		points.Add(own)
		digest.Series([]byte(key), points.Sum())
	}
	return digest.Sum()
}

// list answers l over samples.
func list(l metric.Listing, samples []sample) []string {
	var all []string
	for _, s := range samples {
		if !l.Metric().IsZero() && s.series.Name() != l.Metric() || !l.Matchers().Match(s.series.Tags()) {
			continue
		}
		switch l.Kind() {
		case metric.ListSeries:
			all = append(all, s.series.Key())
		case metric.ListMetrics:
			all = append(all, s.series.Name().String())
		case metric.ListTagKeys:
			for _, tag := range s.series.Tags().All() {
				all = append(all, tag.Key)
			}
		case metric.ListTagValues:
			if value, ok := s.series.Tags().Get(l.Key()); ok {
				all = append(all, value)
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), l.Limit()+1)]
}
