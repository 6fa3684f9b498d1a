package query_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/query"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/inboundmock"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a service that reads this node's replicas over mocks, of eight shards of which a metric uses
// two.
type rig struct {
	*query.Service
	local     *query.Local
	fence     *outboundmock.MockReadFence
	freshness *outboundmock.MockFreshnessGauge
	partials  *outboundmock.MockPartialReader
	latest    *outboundmock.MockLatestReader
	series    *outboundmock.MockSeriesLister
	shards    []shard.ID // that cpu may use
	query     aggregate.Query
}

var (
	linearizable = consistency.Of(consistency.Linearizable)
	none         = consistency.Of(consistency.None)
)

func newRig(t *testing.T) rig {
	t.Helper()
	ctrl := gomock.NewController(t)
	placement, err := shard.NewMap(8, 2)
	if err != nil {
		t.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: cpu(t)})
	if err != nil {
		t.Fatal(err)
	}
	r := rig{
		fence:     outboundmock.NewMockReadFence(ctrl),
		freshness: outboundmock.NewMockFreshnessGauge(ctrl),
		partials:  outboundmock.NewMockPartialReader(ctrl),
		latest:    outboundmock.NewMockLatestReader(ctrl),
		series:    outboundmock.NewMockSeriesLister(ctrl),
		shards:    placement.OfMetric(cpu(t)),
		query:     q,
	}
	var here []outbound.ShardStatus
	for _, id := range placement.All() {
		here = append(here, outbound.ShardStatus{Shard: id})
	}
	observer := outboundmock.NewMockShardObserver(ctrl)
	observer.EXPECT().Shards().AnyTimes().Return(here)
	r.local = query.NewLocal(query.LocalPorts{
		Shards: observer, Fence: r.fence, Freshness: r.freshness, Partials: r.partials, Latest: r.latest, Series: r.series,
	})
	r.Service = query.New(placement, r.local)
	return r
}

func cpu(t *testing.T) metric.Name {
	t.Helper()
	name, err := metric.NewName("cpu")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// tableOf returns what storage answers for values without grouping.
func tableOf(values ...float64) aggregate.Table {
	var p aggregate.Partial
	for _, v := range values {
		p.Add(v)
	}
	return aggregate.Table{SeriesKnown: true, Groups: []aggregate.Group{{Cells: []aggregate.Cell{{Partial: p}}}}}
}

func (r rig) aggregate(ctx context.Context, need consistency.Requirement) (aggregate.Answer, error) {
	return r.Aggregate(ctx, inbound.AggregateRequest{
		Query: r.query, Functions: aggregate.DefaultFunctions(), Requirement: need,
	})
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if f := fault.From(err); f == nil || f.Kind() != kind || f.Code() != code {
		t.Errorf("err=%v, want kind %d and code %s", err, kind, code)
	}
}

func TestAggregateFencesThenReads(t *testing.T) {
	r := newRig(t)
	gomock.InOrder(
		r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(nil).Call,
		r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(tableOf(1, 2, 6), nil).Call,
	)
	answer, err := r.aggregate(t.Context(), linearizable)
	if err != nil {
		t.Fatal(err)
	}
	want := []aggregate.Value{
		{Function: aggregate.Avg, Number: 3},
		{Function: aggregate.Min, Number: 1},
		{Function: aggregate.Max, Number: 6},
		{Function: aggregate.Count, Number: 3},
	}
	if diff := cmp.Diff(want, answer.Groups[0].Values); len(answer.Groups) != 1 || diff != "" {
		t.Errorf("%d groups (-want +got):\n%s", len(answer.Groups), diff)
	}
}

func TestLevelNoneSkipsTheFence(t *testing.T) {
	r := newRig(t)
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(tableOf(1), nil)
	if _, err := r.aggregate(t.Context(), none); err != nil {
		t.Errorf("Aggregate: %v", err)
	}
	r.latest.EXPECT().Latest(gomock.Any(), r.shards, cpu(t), metric.Matchers{}).Return(metric.Sample{}, true, nil)
	if _, err := r.Latest(t.Context(), inbound.LatestRequest{Metric: cpu(t), Requirement: none}); err != nil {
		t.Errorf("Latest: %v", err)
	}
}

func TestFreshnessIsLookedAtBeforeReading(t *testing.T) {
	r := newRig(t)
	need, err := consistency.FreshWithin(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	at := func(id shard.ID, age time.Duration, known bool) *gomock.Call {
		return r.freshness.EXPECT().Freshness(id).Return(age, known).Call
	}
	gomock.InOrder(
		at(r.shards[0], 5*time.Second, true), at(r.shards[1], 0, true), // no need to ask the leaders
		at(r.shards[0], 5*time.Second, true), at(r.shards[1], 0, true),
		r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(tableOf(1), nil).Call,
	)
	if _, err := r.aggregate(t.Context(), need); err != nil {
		t.Errorf("Aggregate: %v", err)
	}
	gomock.InOrder(
		at(r.shards[0], 6*time.Second, true), at(r.shards[1], 0, true),
		r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(nil).Call,
		at(r.shards[0], 0, true), at(r.shards[1], 0, true),
		r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(tableOf(1), nil).Call,
	)
	if _, err := r.aggregate(t.Context(), need); err != nil {
		t.Errorf("Aggregate after the leaders confirmed: %v", err)
	}
	r.freshness.EXPECT().Freshness(r.shards[0]).Return(5*time.Second+1, true).Times(2)
	r.freshness.EXPECT().Freshness(r.shards[1]).Return(0, false).Times(2)
	r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(outbound.ErrNotProposed)
	_, err = r.aggregate(t.Context(), need)
	wantFault(t, err, fault.Timeout, "stale")
	want := []fault.Detail{{Name: "shards", Value: []uint32{uint32(r.shards[0]), uint32(r.shards[1])}}}
	if diff := cmp.Diff(want, fault.From(err).Details()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestShardsThatAreNotHereAreForOtherNodes(t *testing.T) {
	r := newRig(t)
	read := consistency.Read{Shards: []shard.ID{r.shards[0], 8, 9}}
	_, _, err := r.local.Latest(t.Context(), read, cpu(t), metric.Matchers{})
	wantFault(t, err, fault.Unavailable, "no_replica")
	want := []fault.Detail{{Name: "shards", Value: []uint32{8, 9}}}
	if diff := cmp.Diff(want, fault.From(err).Details()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestLatestReturnsTheSample(t *testing.T) {
	r := newRig(t)
	series, err := metric.ParseSeriesKey(`cpu{host="a"}`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := metric.NewSample(series, 5, 7)
	if err != nil {
		t.Fatal(err)
	}
	matchers, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	gomock.InOrder(
		r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(nil).Call,
		r.latest.EXPECT().Latest(gomock.Any(), r.shards, cpu(t), matchers).Return(want, true, nil).Call,
	)
	got, err := r.Latest(t.Context(), inbound.LatestRequest{Metric: cpu(t), Matchers: matchers})
	if err != nil || got != want {
		t.Errorf("Latest=%v, %v, want %v", got, err, want)
	}
}

func TestNotFound(t *testing.T) {
	r := newRig(t)
	matchers, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(nil).Times(3)
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(aggregate.Table{}, nil)
	r.latest.EXPECT().Latest(gomock.Any(), r.shards, cpu(t), gomock.Any()).Return(metric.Sample{}, false, nil).Times(2)
	_, err = r.aggregate(t.Context(), linearizable)
	wantFault(t, err, fault.NotFound, "metric_not_found")
	_, err = r.Latest(t.Context(), inbound.LatestRequest{Metric: cpu(t)})
	wantFault(t, err, fault.NotFound, "metric_not_found")
	_, err = r.Latest(t.Context(), inbound.LatestRequest{Metric: cpu(t), Matchers: matchers})
	wantFault(t, err, fault.NotFound, "metric_not_found")
}

func TestKnownMetricWithoutSamplesInRangeIsNoError(t *testing.T) {
	r := newRig(t)
	r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(nil)
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(aggregate.Table{SeriesKnown: true}, nil)
	answer, err := r.aggregate(t.Context(), linearizable)
	if err != nil || len(answer.Groups) != 1 || !answer.Groups[0].Values[0].Null || answer.Groups[0].Values[3].Number != 0 {
		t.Errorf("answer=%+v, %v, want null and count 0", answer, err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		kind fault.Kind
		code string
	}{
		{"no leader", outbound.ErrNotProposed, fault.Unavailable, "no_leader"},
		{"limit", aggregate.ErrTooManyGroups, fault.Unprocessable, "too_many_groups"},
		{"foreign", errors.New("disk on fire"), fault.Internal, "internal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(c.err)
			_, err := r.aggregate(t.Context(), linearizable)
			wantFault(t, err, c.kind, c.code)
			r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(aggregate.Table{}, c.err)
			_, err = r.aggregate(t.Context(), none)
			wantFault(t, err, c.kind, c.code)
			if !errors.Is(err, c.err) {
				t.Errorf("err=%v lost its cause %v", err, c.err)
			}
		})
	}
}

func TestOverflowIsRefused(t *testing.T) {
	r := newRig(t)
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Return(tableOf(1e308, 1e308), nil)
	_, err := r.aggregate(t.Context(), none)
	wantFault(t, err, fault.Unprocessable, "overflow")
}

// hang waits for ctx's end, as a fence without a leader's answer does.
func hang(ctx context.Context, _ []shard.ID) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestDeadline(t *testing.T) {
	for _, c := range []struct {
		name       string
		own        time.Duration
		want       time.Duration
		wantedCode string
	}{
		{"default", time.Hour, query.DeadlineMax, "query_timeout"},
		{"sooner", time.Second, time.Second, "query_timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.fence.EXPECT().Fence(gomock.Any(), r.shards).DoAndReturn(hang)
				ctx, cancel := context.WithTimeout(t.Context(), c.own)
				defer cancel()
				begin := time.Now()
				_, err := r.aggregate(ctx, linearizable)
				wantFault(t, err, fault.Timeout, c.wantedCode)
				if took := time.Since(begin); took != c.want {
					t.Errorf("gave up after %v, want %v", took, c.want)
				}
			})
		})
	}
}

func TestClientGone(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.fence.EXPECT().Fence(gomock.Any(), r.shards).DoAndReturn(func(ctx context.Context, ids []shard.ID) error {
		cancel()
		return hang(ctx, ids)
	})
	_, err := r.aggregate(ctx, linearizable)
	wantFault(t, err, fault.Canceled, "query_canceled")
}

func TestComputingIsBoundedAndWaitsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		var mu sync.Mutex
		running, most := 0, 0
		count := func(d int) {
			mu.Lock()
			defer mu.Unlock()
			running += d
			most = max(most, running)
		}
		r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).AnyTimes().DoAndReturn(
			func(context.Context, []shard.ID, aggregate.Query) (aggregate.Table, error) {
				count(1)
				<-release
				count(-1)
				return tableOf(1), nil
			})
		errs := make(chan error, query.InFlightMax)
		for range query.InFlightMax {
			go func() {
				_, err := r.aggregate(t.Context(), none)
				errs <- err
			}()
		}
		synctest.Wait()
		_, err := r.aggregate(t.Context(), none)
		wantFault(t, err, fault.Exhausted, "query_limit")
		if fault.From(err).RetryAfter() <= 0 {
			t.Error("query_limit comes without advice when to retry")
		}
		close(release)
		for range query.InFlightMax {
			if err := <-errs; err != nil {
				t.Errorf("a waiting query failed: %v", err)
			}
		}
		if most != query.ComputingMax {
			t.Errorf("%d queries computed at once, want %d", most, query.ComputingMax)
		}
	})
}

// TestDeadlineElsewhere has another node's adapter tell in its own words that the time is up: the question's
// code is the same as for this node's replicas.
func TestDeadlineElsewhere(t *testing.T) {
	f := func(elsewhere error, kind fault.Kind, code string) {
		t.Helper()
		shards := inboundmock.NewMockShardQuerier(gomock.NewController(t))
		shards.EXPECT().Partials(gomock.Any(), gomock.Any(), gomock.Any()).Return(aggregate.Table{}, elsewhere)
		r := newRig(t)
		placement, err := shard.NewMap(8, 2)
		if err != nil {
			t.Fatal(err)
		}
		r.Service = query.New(placement, shards)
		_, err = r.aggregate(t.Context(), none)
		wantFault(t, err, kind, code)
	}
	f(fmt.Errorf("partials of node b: %w", fault.Wrap(context.DeadlineExceeded, fault.Timeout, "timeout", "the request ran out of its time")),
		fault.Timeout, "query_timeout")
	f(consistency.Stale([]uint32{1}, time.Second), fault.Timeout, "stale")
	f(fault.Wrap(context.DeadlineExceeded, fault.Unavailable, "no_replica", "no replica can be read now"), fault.Unavailable, "no_replica")
}

func TestWaitingForATurnEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.partials.EXPECT().Partials(gomock.Any(), r.shards, r.query).Times(query.ComputingMax).DoAndReturn(
			func(context.Context, []shard.ID, aggregate.Query) (aggregate.Table, error) {
				<-release
				return tableOf(1), nil
			})
		done := make(chan struct{}, query.ComputingMax)
		for range query.ComputingMax {
			go func() {
				_, _ = r.aggregate(t.Context(), none)
				done <- struct{}{}
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.aggregate(ctx, none)
		wantFault(t, err, fault.Timeout, "query_timeout")
		close(release)
		for range query.ComputingMax {
			<-done
		}
	})
}
