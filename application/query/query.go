// Package query answers what readers ask: the newest sample of a metric, and aggregates over its samples.
package query

import (
	"context"
	"errors"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

var (
	_ inbound.Aggregator   = (*Service)(nil)
	_ inbound.LatestReader = (*Service)(nil)
	_ inbound.SeriesLister = (*Service)(nil)
)

// Limits on queries.
const (
	// DeadlineMax bounds a query's time, whatever its context allows.
	DeadlineMax = 30 * time.Second
	// InFlightMax bounds the queries that wait or compute; over it the answer is query_limit.
	InFlightMax = 1024
	// retryAfter is the advice that comes with query_limit.
	retryAfter = time.Second
)

// ErrTooManyQueries and ErrTimeout are what a query beyond the limits gets.
var (
	ErrTooManyQueries = fault.Newf(fault.Exhausted, "query_limit",
		"more than %d queries are waiting; try again later or ask less often", InFlightMax).
		WithDetail("limit", InFlightMax).WithRetryAfter(retryAfter)
	ErrTimeout = fault.New(fault.Timeout, "query_timeout",
		"the query did not finish in time; narrow its range or tags, or allow it more time")
)

// Service answers queries. It is safe for concurrent use and owns no goroutine.
type Service struct {
	placement shard.Map
	shards    inbound.ShardQuerier
	inFlight  chan struct{}
}

// New returns a service over the shards that placement names; shards reads them, wherever they are.
func New(placement shard.Map, shards inbound.ShardQuerier) *Service {
	return &Service{placement: placement, shards: shards, inFlight: make(chan struct{}, InFlightMax)}
}

// Aggregate implements inbound.Aggregator. Besides what reading the shards gives, it returns
// Exhausted (query_limit), Timeout (query_timeout) and Canceled (query_canceled).
func (s *Service) Aggregate(ctx context.Context, req inbound.AggregateRequest) (aggregate.Answer, error) {
	search := aggregate.NewSearch(aggregate.Question{
		Query: req.Query, Functions: req.Functions, Fill: req.Fill,
		Approximate: req.Approximate, Ranking: req.Ranking, Limit: req.Limit,
	})
	err := s.run(ctx, func(ctx context.Context) error {
		return s.lead(ctx, search, s.readOf(req.Query.Metric(), req.Requirement))
	})
	if err != nil {
		return aggregate.Answer{}, err
	}
	if !search.Known() {
		return aggregate.Answer{}, notFound(req.Query.Metric(), metric.Matchers{})
	}
	return search.Answer()
}

// lead takes a search through its rounds. A metric without series needs but the first.
func (s *Service) lead(ctx context.Context, search *aggregate.Search, read consistency.Read) error {
	for {
		q, more, err := search.Next()
		if err != nil || !more {
			return err
		}
		table, err := s.shards.Partials(ctx, read, q)
		if err != nil {
			return err
		}
		if err := search.Take(table); err != nil {
			return err
		}
		if !search.Known() {
			return nil
		}
	}
}

// ListSeries implements inbound.SeriesLister, with the same errors as Aggregate.
func (s *Service) ListSeries(ctx context.Context, req inbound.ListRequest) (listed inbound.Listed, err error) {
	read := consistency.Read{Shards: s.placement.All(), Requirement: req.Requirement}
	if name := req.Listing.Metric(); !name.IsZero() {
		read = s.readOf(name, req.Requirement)
	}
	err = s.run(ctx, func(ctx context.Context) (err error) {
		listed.Items, err = s.shards.ListSeries(ctx, read, req.Listing)
		return err
	})
	if limit := req.Listing.Limit(); len(listed.Items) > limit {
		listed.Items, listed.Truncated = listed.Items[:limit], true
	}
	return listed, err
}

// Latest implements inbound.LatestReader, with the same errors as Aggregate.
func (s *Service) Latest(ctx context.Context, req inbound.LatestRequest) (metric.Sample, error) {
	var sample metric.Sample
	var found bool
	err := s.run(ctx, func(ctx context.Context) (err error) {
		sample, found, err = s.shards.Latest(ctx, s.readOf(req.Metric, req.Requirement), req.Metric, req.Matchers)
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

// readOf covers the shards that may keep series of name.
func (s *Service) readOf(name metric.Name, need consistency.Requirement) consistency.Read {
	return consistency.Read{Shards: s.placement.OfMetric(name), Requirement: need}
}

// run reads within the limits.
func (s *Service) run(ctx context.Context, read func(context.Context) error) error {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > DeadlineMax {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DeadlineMax)
		defer cancel()
	}
	select {
	case s.inFlight <- struct{}{}:
		defer func() { <-s.inFlight }()
	default:
		return ErrTooManyQueries
	}
	if err := read(ctx); err != nil {
		return classify(ctx, err)
	}
	return nil
}

// classify gives err a kind: its own, or that of ctx's end where err came of it. The end of the time is called
// the same wherever it was noticed: other nodes and the calls to them have words of their own for it.
func classify(ctx context.Context, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known) && known.Kind() == fault.Timeout && errors.Is(err, context.DeadlineExceeded):
		return ErrTimeout.WithCause(err)
	case known != nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ErrTimeout.WithCause(err)
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
