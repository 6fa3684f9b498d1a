package ingest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func metricName(t *testing.T, text string) metric.Name {
	t.Helper()
	name, err := metric.NewName(text)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDeleteAsksEveryShardOfTheMetricOnce(t *testing.T) {
	n := newNode(t, 16)
	name := metricName(t, "m")
	ids := n.shards.OfMetric(name)
	n.mu.holds[ids[3]] = true
	lost := map[shard.ID]int{}
	n.onPropose(func(_ context.Context, id shard.ID, _ []byte, applied bool) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if lost[id]++; applied && lost[id] < 8 {
			return fmt.Errorf("propose: %w", outbound.ErrAmbiguous) // done, though nobody was told
		}
		return nil
	})
	if err := n.recorder.Delete(t.Context(), inbound.DeleteRequest{Metric: name}); err != nil {
		t.Fatal(err)
	}
	want := outbound.Deletion{Metric: name, Range: aggregate.Everything()}
	for _, id := range n.shards.All() {
		switch got := n.mu.deletes[id]; {
		case slices.Contains(ids, id) && (len(got) != 1 || got[0] != want):
			t.Errorf("shard %v was told to delete %v, want %v once", id, got, want)
		case !slices.Contains(ids, id) && got != nil:
			t.Errorf("shard %v, which cannot have the metric, was asked", id)
		}
	}
}

func TestDeleteOfWhatIsNotThere(t *testing.T) {
	n := newNode(t, 8)
	err := n.recorder.Delete(t.Context(), inbound.DeleteRequest{Metric: metricName(t, "m")})
	wantFault(t, err, fault.NotFound, "metric_not_found")
	wantFault(t, n.recorder.Delete(t.Context(), inbound.DeleteRequest{}), fault.Invalid, "invalid_argument")
}

func TestDeleteTellsWhichShardsDidNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 8)
		name := metricName(t, "m")
		gone := n.shards.OfMetric(name)[2]
		n.mu.holds[0] = true
		n.onPropose(func(_ context.Context, id shard.ID, _ []byte, _ bool) error {
			if id == gone {
				return outbound.ErrNotProposed
			}
			return nil
		})
		err := n.recorder.Delete(t.Context(), inbound.DeleteRequest{Metric: name})
		wantFault(t, err, fault.Unavailable, "no_leader", fault.Detail{Name: "shards", Value: []uint32{uint32(gone)}})
	})
}

func TestRetainReachesItsShard(t *testing.T) {
	n := newNode(t, 4)
	c := metric.Cutoffs{Default: 3600_000_000}
	if err := n.recorder.Retain(t.Context(), 2, c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[shard.ID]metric.Cutoffs{2: c}, n.mu.cutoffs); diff != "" {
		t.Error(diff)
	}
	n.onPropose(func(context.Context, shard.ID, []byte, bool) error { return outbound.ErrNotProposed })
	wantFault(t, n.recorder.Retain(t.Context(), 2, c), fault.Unavailable, "no_leader")
}

func TestReplaceReachesStorage(t *testing.T) {
	n := newNode(t, 1)
	for _, replace := range []bool{true, false} {
		_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: observations(t, 1), Replace: replace})
		if err != nil || n.mu.replace != replace {
			t.Errorf("storage was told replace=%v, %v, want %v", n.mu.replace, err, replace)
		}
	}
}
