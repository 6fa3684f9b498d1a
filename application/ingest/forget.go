package ingest

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.Deleter = (*Recorder)(nil)

// Delete implements inbound.Deleter. It goes the way of a write, so that each shard forgets once,
// however often the deletion had to be proposed: one that came late would forget what was written after.
func (r *Recorder) Delete(ctx context.Context, req inbound.DeleteRequest) error {
	if req.Metric.IsZero() {
		return fault.Field("metric_name", "is empty", "a metric name")
	}
	if req.Range == (aggregate.Range{}) {
		req.Range = aggregate.Everything()
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	c := newCall(r)
	c.write = NewDeletion(outbound.Deletion{Metric: req.Metric, Range: req.Range})
	c.write.Owner = c
	if _, err := c.run(ctx); err != nil {
		return err
	}
	if !c.write.Existed() {
		return fault.Newf(fault.NotFound, "metric_not_found", "metric %q has no series; check the name", req.Metric)
	}
	return nil
}

// Retain moves a shard's cut-offs and returns once they are durable on a majority and applied. It may be
// repeated at will; whoever has cut-offs to move tries again where it fails.
func (r *Recorder) Retain(ctx context.Context, id shard.ID, cutoffs metric.Cutoffs) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	data, err := r.options.Proposer.Propose(ctx, id, command.EncodeRetain(cutoffs))
	if err != nil {
		return fmt.Errorf("propose cut-offs of shard %v: %w", id, err)
	}
	outcome, err := command.DecodeOutcome(data)
	if err != nil {
		return fmt.Errorf("read the outcome of shard %v: %w", id, err)
	}
	if refusal := outcome.Verdict.Fault(); refusal != nil {
		return refusal
	}
	return nil
}
