package bootstrap

import (
	"context"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var errStarting = fault.New(fault.Unavailable, "starting", "the node belongs to no cluster yet; /health tells what it waits for")

// gate stands before the use cases of a node that serves its port before it is a member of a cluster.
// Until then it answers that the node is starting.
type gate struct{ member atomic.Pointer[member] }

var (
	_ inbound.Recorder        = (*gate)(nil)
	_ inbound.Deleter         = (*gate)(nil)
	_ inbound.LatestReader    = (*gate)(nil)
	_ inbound.Aggregator      = (*gate)(nil)
	_ inbound.SeriesLister    = (*gate)(nil)
	_ inbound.ClusterObserver = (*gate)(nil)
	_ inbound.MembershipAdmin = (*gate)(nil)
	_ inbound.RetentionAdmin  = (*gate)(nil)
	_ inbound.StorageAdmin    = (*gate)(nil)
	_ outbound.ShardObserver  = (*gate)(nil)
)

// Record implements inbound.Recorder.
func (g *gate) Record(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.RecordReply{}, errStarting
	}
	return m.recorder.Record(ctx, req)
}

// Delete implements inbound.Deleter.
func (g *gate) Delete(ctx context.Context, req inbound.DeleteRequest) error {
	m := g.member.Load()
	if m == nil {
		return errStarting
	}
	err := m.writer.Delete(ctx, req)
	if err == nil {
		m.node.metrics.Counter(telemetry.Deletions).Inc()
	}
	return err
}

// Latest implements inbound.LatestReader.
func (g *gate) Latest(ctx context.Context, req inbound.LatestRequest) (metric.Sample, error) {
	m := g.member.Load()
	if m == nil {
		return metric.Sample{}, errStarting
	}
	return m.queries.Latest(ctx, req)
}

// Aggregate implements inbound.Aggregator.
func (g *gate) Aggregate(ctx context.Context, req inbound.AggregateRequest) (aggregate.Answer, error) {
	m := g.member.Load()
	if m == nil {
		return aggregate.Answer{}, errStarting
	}
	answer, err := m.queries.Aggregate(ctx, req)
	if f := fault.From(err); err != nil && f.Kind() == fault.Unprocessable {
		m.node.metrics.Counter(telemetry.QueriesRefused, f.Code()).Inc()
	}
	return answer, err
}

// ListSeries implements inbound.SeriesLister.
func (g *gate) ListSeries(ctx context.Context, req inbound.ListRequest) (inbound.Listed, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.Listed{}, errStarting
	}
	return m.queries.ListSeries(ctx, req)
}

// Shards implements outbound.ShardObserver.
func (g *gate) Shards() []outbound.ShardStatus {
	m := g.member.Load()
	if m == nil {
		return nil
	}
	return m.replication.Shards()
}

// cutoffAge is a gauge of how old samples may be.
func (g *gate) cutoffAge() float64 {
	m := g.member.Load()
	if m == nil {
		return 0
	}
	return m.recorder.CutoffAge()
}

// Overview implements inbound.ClusterObserver.
func (g *gate) Overview(ctx context.Context) (inbound.ClusterOverview, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.ClusterOverview{}, errStarting
	}
	return m.observer.Overview(ctx)
}

// AddNode implements inbound.MembershipAdmin.
func (g *gate) AddNode(ctx context.Context, address string) (inbound.AddedNode, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.AddedNode{}, errStarting
	}
	return m.admin.AddNode(ctx, address)
}

// RemoveNode implements inbound.MembershipAdmin.
func (g *gate) RemoveNode(ctx context.Context, id cluster.NodeID) (inbound.Removal, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.Removal{}, errStarting
	}
	return m.admin.RemoveNode(ctx, id)
}

// Rebalance implements inbound.MembershipAdmin.
func (g *gate) Rebalance(ctx context.Context) (inbound.Rebalance, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.Rebalance{}, errStarting
	}
	return m.admin.Rebalance(ctx)
}

// Retention implements inbound.RetentionAdmin.
func (g *gate) Retention(ctx context.Context) (metric.RetentionPolicy, error) {
	m := g.member.Load()
	if m == nil {
		return metric.RetentionPolicy{}, errStarting
	}
	return m.retention.Retention(ctx)
}

// SetRetention implements inbound.RetentionAdmin.
func (g *gate) SetRetention(ctx context.Context, policy metric.RetentionPolicy) error {
	m := g.member.Load()
	if m == nil {
		return errStarting
	}
	return m.retention.SetRetention(ctx, policy)
}

// Flush implements inbound.StorageAdmin.
func (g *gate) Flush(ctx context.Context) error {
	m := g.member.Load()
	if m == nil {
		return errStarting
	}
	return m.inspector.Flush(ctx)
}

// Verify implements inbound.StorageAdmin.
func (g *gate) Verify(ctx context.Context) (inbound.Verification, error) {
	m := g.member.Load()
	if m == nil {
		return inbound.Verification{}, errStarting
	}
	return m.inspector.Verify(ctx)
}
