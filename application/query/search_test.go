package query_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// manyValues answers as storage does, over values of one series.
func manyValues(t *testing.T, values []float64) func(context.Context, []shard.ID, aggregate.Query) (aggregate.Table, error) {
	t.Helper()
	series, err := metric.ParseSeriesKey("cpu")
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, _ []shard.ID, q aggregate.Query) (aggregate.Table, error) {
		b := aggregate.NewBuilder(q)
		b.MarkKnown()
		f, err := b.Fold(series)
		if err == nil {
			err = f.AddAll(make([]int64, len(values)), values)
		}
		return b.Table(), err
	}
}

func functions(t *testing.T, text string) []aggregate.Function {
	t.Helper()
	list, err := aggregate.ParseFunctions(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestQuantilesTakeRounds(t *testing.T) {
	r := newRig(t)
	values := make([]float64, 100_000)
	for i := range values {
		values[i] = float64(i * 7919 % len(values))
	}
	var details []aggregate.Detail
	answer := manyValues(t, values)
	r.fence.EXPECT().Fence(gomock.Any(), r.shards).MinTimes(2).Return(nil) // each round sees what is acknowledged
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, gomock.Any()).MinTimes(2).DoAndReturn(
		func(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
			details = append(details, q.Detail())
			return answer(ctx, shards, q)
		})
	got, err := r.Aggregate(t.Context(), inbound.AggregateRequest{
		Query: r.query, Functions: functions(t, "p50,p99,stddev"), Requirement: linearizable,
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := got.Groups[0].Values; v[0].Number != 49_999 || v[1].Number != 98_999 || got.RelativeError != 0 {
		t.Errorf("values=%v, want 49999 and 98999", v)
	}
	want := []aggregate.Detail{aggregate.DetailSpread, aggregate.DetailNarrow, aggregate.DetailNarrow}
	if !slices.Equal(details, want) {
		t.Errorf("details=%v, want %v", details, want)
	}
}

func TestApproximateQuantilesTakeOneRound(t *testing.T) {
	r := newRig(t)
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, gomock.Any()).DoAndReturn(manyValues(t, []float64{1, 2, 100}))
	got, err := r.Aggregate(t.Context(), inbound.AggregateRequest{
		Query: r.query, Functions: functions(t, "p60"), Approximate: true, Requirement: none,
	})
	if err != nil || got.RelativeError != 0.01 {
		t.Fatalf("error %v tells of %v", err, got.RelativeError)
	}
	if v := got.Groups[0].Values[0].Number; v < 1.98 || v > 2.02 {
		t.Errorf("p60=%v, want about 2", v)
	}
}

func TestAnErrorEndsTheRounds(t *testing.T) {
	r := newRig(t)
	answer := manyValues(t, []float64{1, 2, 3, 4})
	calls := 0
	r.partials.EXPECT().Partials(gomock.Any(), r.shards, gomock.Any()).Times(2).DoAndReturn(
		func(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
			if calls++; calls > 1 {
				return aggregate.Table{}, aggregate.ErrTooManySamples
			}
			return answer(ctx, shards, q)
		})
	_, err := r.Aggregate(t.Context(), inbound.AggregateRequest{
		Query: r.query, Functions: functions(t, "p50"), Requirement: none,
	})
	if !errors.Is(err, aggregate.ErrTooManySamples) {
		t.Errorf("err=%v, want ErrTooManySamples", err)
	}
}

func TestListSeries(t *testing.T) {
	listing := func(spec metric.ListingSpec) metric.Listing {
		l, err := metric.NewListing(spec)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	r := newRig(t)
	of := listing(metric.ListingSpec{Kind: metric.ListSeries, Metric: cpu(t), Limit: 2})
	r.fence.EXPECT().Fence(gomock.Any(), r.shards).Return(nil)
	r.series.EXPECT().ListSeries(gomock.Any(), r.shards, of).Return([]string{"a", "b", "c"}, nil)
	got, err := r.ListSeries(t.Context(), inbound.ListRequest{Listing: of, Requirement: linearizable})
	if err != nil || !slices.Equal(got.Items, []string{"a", "b"}) || !got.Truncated {
		t.Errorf("listed=%+v, %v, want a and b of more", got, err)
	}
	all := listing(metric.ListingSpec{Kind: metric.ListMetrics})
	r.series.EXPECT().ListSeries(gomock.Any(), gomock.Len(8), all).Return([]string{"cpu"}, nil)
	got, err = r.ListSeries(t.Context(), inbound.ListRequest{Listing: all, Requirement: none})
	if err != nil || !slices.Equal(got.Items, []string{"cpu"}) || got.Truncated {
		t.Errorf("listed=%+v, %v, want cpu and no more", got, err)
	}
	r.series.EXPECT().ListSeries(gomock.Any(), gomock.Any(), all).Return(nil, fault.New(fault.Corrupt, "damaged", "damaged"))
	_, err = r.ListSeries(t.Context(), inbound.ListRequest{Listing: all, Requirement: none})
	wantFault(t, err, fault.Corrupt, "damaged")
}
