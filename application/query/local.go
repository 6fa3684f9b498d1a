package query

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.ShardQuerier = (*Local)(nil)

// ComputingMax bounds the reads that compute over this node's storage at once, and with it their
// memory; the others wait for their turn within their deadline.
const ComputingMax = 16

// LocalPorts are what a Local asks of this node.
type LocalPorts struct {
	Shards    outbound.ShardObserver
	Fence     outbound.ReadFence
	Freshness outbound.FreshnessGauge
	Partials  outbound.PartialReader
	Latest    outbound.LatestReader
	Series    outbound.SeriesLister
}

// Local reads the replicas on this node. It is safe for concurrent use and owns no goroutine.
type Local struct {
	ports     LocalPorts
	computing chan struct{}
}

// NewLocal returns a reader of this node's replicas.
func NewLocal(ports LocalPorts) *Local {
	return &Local{ports: ports, computing: make(chan struct{}, ComputingMax)}
}

// Partials implements inbound.ShardQuerier. Besides its errors and those of storage it returns Timeout
// (query_timeout) and Canceled (query_canceled).
func (l *Local) Partials(ctx context.Context, read consistency.Read, q aggregate.Query) (table aggregate.Table, err error) {
	err = l.run(ctx, read, func() (err error) {
		table, err = l.ports.Partials.Partials(ctx, read.Shards, q)
		return err
	})
	return table, err
}

// Latest implements inbound.ShardQuerier, with the same errors as Partials.
func (l *Local) Latest(ctx context.Context, read consistency.Read, name metric.Name, matchers metric.Matchers) (sample metric.Sample, found bool, err error) {
	err = l.run(ctx, read, func() (err error) {
		sample, found, err = l.ports.Latest.Latest(ctx, read.Shards, name, matchers)
		return err
	})
	return sample, found, err
}

// ListSeries implements inbound.ShardQuerier, with the same errors as Partials.
func (l *Local) ListSeries(ctx context.Context, read consistency.Read, listing metric.Listing) (items []string, err error) {
	err = l.run(ctx, read, func() (err error) {
		items, err = l.ports.Series.ListSeries(ctx, read.Shards, listing)
		return err
	})
	return items, err
}

// run computes once the replicas are as up to date as asked and it is the read's turn. Freshness is
// looked at last, because it ages.
func (l *Local) run(ctx context.Context, read consistency.Read, compute func() error) error {
	if err := l.hosts(read.Shards); err != nil {
		return err
	}
	if read.Requirement.Level() == consistency.Linearizable {
		if err := l.ports.Fence.Fence(ctx, read.Shards); err != nil {
			return classify(ctx, fmt.Errorf("wait for acknowledged writes: %w", err))
		}
	}
	select {
	case l.computing <- struct{}{}:
		defer func() { <-l.computing }()
	case <-ctx.Done():
		return classify(ctx, fmt.Errorf("wait for other queries: %w", context.Cause(ctx)))
	}
	l.refresh(ctx, read)
	if err := l.fresh(read); err != nil {
		return err
	}
	if err := compute(); err != nil {
		return classify(ctx, fmt.Errorf("read samples: %w", err))
	}
	return nil
}

// hosts refuses shards that have no replica here: another node has one.
func (l *Local) hosts(shards []shard.ID) error {
	statuses := l.ports.Shards.Shards()
	var missing []uint32
	for _, id := range shards {
		_, here := slices.BinarySearchFunc(statuses, id, func(s outbound.ShardStatus, id shard.ID) int { return int(s.Shard) - int(id) })
		if !here {
			missing = append(missing, uint32(id))
		}
	}
	if missing == nil {
		return nil
	}
	return fault.Newf(fault.Unavailable, "no_replica", "the node that was asked holds no replica of shards %v; try again", missing).
		WithDetail("shards", missing)
}

// refresh has replicas that are not fresh enough confirm with their leaders, for no longer than an answer
// may be old: fresh looks whether it helped.
func (l *Local) refresh(ctx context.Context, read consistency.Read) {
	freshnessMax := read.Requirement.FreshnessMax()
	if freshnessMax == 0 || l.fresh(read) == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, freshnessMax)
	defer cancel()
	_ = l.ports.Fence.Fence(ctx, read.Shards) // what it did not reach is stale
}

// fresh refuses shards whose replicas here may be older than the read allows.
func (l *Local) fresh(read consistency.Read) error {
	freshnessMax := read.Requirement.FreshnessMax()
	if freshnessMax == 0 {
		return nil
	}
	var stale []uint32
	for _, id := range read.Shards {
		if age, known := l.ports.Freshness.Freshness(id); !known || age > freshnessMax {
			stale = append(stale, uint32(id))
		}
	}
	if stale == nil {
		return nil
	}
	return consistency.Stale(stale, freshnessMax)
}
