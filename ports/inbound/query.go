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
	Approximate bool               // quantiles may be off by a relative error that the answer tells
	Ranking     *aggregate.Ranking // nil: groups in the order of their tags
	Limit       int                // groups of the answer; 0: as many as there are
	Requirement consistency.Requirement
}

// Aggregator answers aggregate questions.
type Aggregator interface {
	// Aggregate returns a complete answer or an error, never part of one. NotFound
	// (metric_not_found) when the metric has no series at all.
	Aggregate(ctx context.Context, req AggregateRequest) (aggregate.Answer, error)
}

// ListRequest asks for series, metrics, tag keys or tag values.
type ListRequest struct {
	Listing     metric.Listing
	Requirement consistency.Requirement
}

// Listed is the answer to a ListRequest.
type Listed struct {
	Items     []string // ascending bytewise, each once; series as canonical keys
	Truncated bool     // there are more than the listing's limit
}

// SeriesLister answers which series there are.
type SeriesLister interface {
	// ListSeries returns a complete answer or an error. No item is no error.
	ListSeries(ctx context.Context, req ListRequest) (Listed, error)
}
