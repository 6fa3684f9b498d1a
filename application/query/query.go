// Package query answers what readers ask: the newest sample of a metric, and aggregates over its samples.
package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ inbound.Aggregator   = (*Service)(nil)
	_ inbound.LatestReader = (*Service)(nil)
)

// Limits on queries.
const (
	// DeadlineMax bounds a query's time, whatever its context allows.
	DeadlineMax = 30 * time.Second
	// InFlightMax bounds the queries that wait or compute; over it the answer is query_limit.
	InFlightMax = 1024
	// ComputingMax bounds the queries that read storage at once, and with it their memory; the
	// others wait for their turn within their deadline.
	ComputingMax = 16
	// retryAfter is the advice that comes with query_limit.
	retryAfter = time.Second
)

// Ports are what a Service asks of the world.
type Ports struct {
	Fence    outbound.ReadFence
	Partials outbound.PartialReader
	Latest   outbound.LatestReader
}

// Service answers queries. It is safe for concurrent use and owns no goroutine.
type Service struct {
	shards    shard.Map
	ports     Ports
	inFlight  chan struct{}
	computing chan struct{}
}

// New returns a service over the shards that placement names.
func New(placement shard.Map, ports Ports) *Service {
	return &Service{
		shards:    placement,
		ports:     ports,
		inFlight:  make(chan struct{}, InFlightMax),
		computing: make(chan struct{}, ComputingMax),
	}
}

// Aggregate implements inbound.Aggregator. Besides what the storage and the fence refuse, it returns
// Exhausted (query_limit), Timeout (query_timeout) and Canceled (query_canceled).
func (s *Service) Aggregate(ctx context.Context, req inbound.AggregateRequest) (aggregate.Answer, error) {
	var table aggregate.Table
	err := s.run(ctx, req.Query.Metric(), req.Level, func(ctx context.Context, shards []shard.ID) (err error) {
		table, err = s.ports.Partials.Partials(ctx, shards, req.Query)
		return err
	})
	if err != nil {
		return aggregate.Answer{}, err
	}
	if !table.SeriesKnown {
		return aggregate.Answer{}, notFound(req.Query.Metric(), metric.Matchers{})
	}
	return aggregate.Finish(req.Query, table, req.Functions, req.Fill)
}

// Latest implements inbound.LatestReader, with the same errors as Aggregate.
func (s *Service) Latest(ctx context.Context, req inbound.LatestRequest) (metric.Sample, error) {
	var sample metric.Sample
	var found bool
	err := s.run(ctx, req.Metric, req.Level, func(ctx context.Context, shards []shard.ID) (err error) {
		sample, found, err = s.ports.Latest.Latest(ctx, shards, req.Metric, req.Matchers)
		return err
	})
	if err != nil {
		return metric.Sample{}, err
	}
	if !found {
		return metric.Sample{}, notFound(req.Metric, req.Matchers)
	}
	return sample, nil
}

// run reads within the limits: behind the fence unless level asks for less, over the shards that may
// keep series of name.
func (s *Service) run(ctx context.Context, name metric.Name, level inbound.Level,
	read func(context.Context, []shard.ID) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, DeadlineMax)
	defer cancel()
	select {
	case s.inFlight <- struct{}{}:
		defer func() { <-s.inFlight }()
	default:
		return fault.Newf(fault.Exhausted, "query_limit",
			"more than %d queries are waiting; try again later or ask less often", InFlightMax).
			WithDetail("limit", InFlightMax).WithRetryAfter(retryAfter)
	}
	shards := s.shards.OfMetric(name)
	if level == inbound.Linearizable {
		if err := s.ports.Fence.Fence(ctx, shards); err != nil {
			return classify(ctx, fmt.Errorf("wait for acknowledged writes: %w", err))
		}
	}
	select {
	case s.computing <- struct{}{}:
		defer func() { <-s.computing }()
	case <-ctx.Done():
		return classify(ctx, fmt.Errorf("wait for other queries: %w", context.Cause(ctx)))
	}
	if err := read(ctx, shards); err != nil {
		return classify(ctx, fmt.Errorf("read samples: %w", err))
	}
	return nil
}

// classify gives err a kind: its own, or that of ctx's end where err came of it.
func classify(ctx context.Context, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Wrap(err, fault.Timeout, "query_timeout",
			"the query did not finish in time; narrow its range or tags, or allow it more time")
	case ctx.Err() != nil:
		return fault.Wrap(err, fault.Canceled, "query_canceled", "the query was given up by its client")
	}
	return fault.From(err)
}

func notFound(name metric.Name, matchers metric.Matchers) error {
	if matchers.IsZero() {
		return fault.Newf(fault.NotFound, "metric_not_found",
			"metric %q has no series; check the name, or record a sample of it first", name)
	}
	return fault.Newf(fault.NotFound, "metric_not_found",
		"metric %q has no series with these tags; check the name and the tags, or leave tags out", name)
}
