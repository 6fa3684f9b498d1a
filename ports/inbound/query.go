package inbound

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// LatestRequest asks for the newest sample of a metric's selected series.
type LatestRequest struct {
	Metric      metric.Name
	Matchers    metric.Matchers
	Requirement consistency.Requirement
}

// LatestReader answers what a metric's newest value is.
type LatestReader interface {
	// Latest returns the selected sample with the newest timestamp; of several, within a series the
	// last in the log, across series the one with the greater key. NotFound (metric_not_found) when
	// no selected series has a sample.
	Latest(ctx context.Context, req LatestRequest) (metric.Sample, error)
}

// AggregateRequest asks for values of functions over a query's samples.
type AggregateRequest struct {
	Query       aggregate.Query
	Functions   []aggregate.Function // not empty, each once
	Fill        aggregate.Fill
	Requirement consistency.Requirement
}

// Aggregator answers aggregate questions.
type Aggregator interface {
	// Aggregate returns a complete answer or an error, never part of one. NotFound
	// (metric_not_found) when the metric has no series at all.
	Aggregate(ctx context.Context, req AggregateRequest) (aggregate.Answer, error)
}
