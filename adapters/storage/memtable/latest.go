package memtable

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// tied is a sample that no other is newer than by time.
type tied struct {
	series catalogue.SeriesID
	value  float64
}

// Latest returns the newest sample of the metric's selected series, by the rule of
// inbound.LatestReader, and whether there is one. It survives Freeze and Drop.
func (t *Table) Latest(name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	s := t.selectSeries(name, matchers)
	at, ties := t.newestLocked(s.ids)
	t.mu.RUnlock()
	if len(ties) == 0 {
		return metric.Sample{}, false, nil
	}
	// Hosts that are asked in step tie by the thousand, and comparing keys takes time.
	best := slices.MaxFunc(ties, func(a, b tied) int { return s.list.CompareKeys(a.series, b.series) })
	series, _ := s.list.At(best.series)
	sample, err := metric.NewSample(series, metric.Timestamp(at), best.value)
	return sample, err == nil, err
}

// newestLocked returns the time of the newest samples of ids, and those samples.
func (t *Table) newestLocked(ids []catalogue.SeriesID) (at int64, ties []tied) {
	for _, id := range ids {
		a, value, ok := t.mu.catalogue.Newest(id)
		if !ok || len(ties) > 0 && a < at {
			continue
		}
		if a > at {
			ties = ties[:0]
		}
		at, ties = a, append(ties, tied{series: id, value: value})
	}
	return at, ties
}

// LatestOf returns the newest sample of the metric's selected series in all of shards, by the rule of
// inbound.LatestReader, and whether there is one. open returns a shard's table, or why it cannot be read.
func LatestOf(ctx context.Context, shards []shard.ID, open func(shard.ID) (*Table, error),
	name metric.Name, matchers metric.Matchers,
) (metric.Sample, bool, error) {
	var newest metric.Sample
	found := false
	for _, id := range shards {
		if ctx.Err() != nil {
			return metric.Sample{}, false, fmt.Errorf("read shard %d: %w", id, context.Cause(ctx))
		}
		table, err := open(id)
		if err != nil {
			return metric.Sample{}, false, err
		}
		sample, ok, err := table.Latest(name, matchers)
		if err != nil {
			return metric.Sample{}, false, fmt.Errorf("read shard %d: %w", id, err)
		}
		if ok && (!found || sample.NewerThan(newest)) {
			newest, found = sample, true
		}
	}
	return newest, found, nil
}
