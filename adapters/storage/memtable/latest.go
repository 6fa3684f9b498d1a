package memtable

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

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
