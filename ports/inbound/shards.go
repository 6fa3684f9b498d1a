package inbound

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// ShardQuerier computes over given shards: what one node of the cluster answers to another, and what
// the cluster as a whole answers to a query.
type ShardQuerier interface {
	// Partials returns the merged table of the samples that q selects in all of the shards, or an
	// error, never a part: Unavailable (no_leader, no_replica) with the detail shards where some
	// cannot be read, Timeout (stale) where they cannot be read fresh enough.
	Partials(ctx context.Context, read consistency.Read, q aggregate.Query) (aggregate.Table, error)
	// Latest returns the newest selected sample of the metric in all of the shards, by the rule of
	// LatestReader, and whether there is one. Errors as of Partials.
	Latest(ctx context.Context, read consistency.Read, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error)
	// ListSeries returns what l asks for in all of the shards, as outbound.SeriesLister does: one item
	// more than the limit where there are more. Errors as of Partials.
	ListSeries(ctx context.Context, read consistency.Read, l metric.Listing) ([]string, error)
}
