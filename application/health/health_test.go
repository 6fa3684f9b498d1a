package health_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/health"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

// shards returns count statuses of which those in impeded do not serve.
func shards(count int, impeded ...shard.ID) []outbound.ShardStatus {
	statuses := make([]outbound.ShardStatus, count)
	for i := range statuses {
		statuses[i] = outbound.ShardStatus{Shard: shard.ID(i), Serving: true}
	}
	for _, id := range impeded {
		statuses[id].Serving = false
	}
	return statuses
}

// TestLife follows a node from its start to its end, each step one look at its health.
func TestLife(t *testing.T) {
	var now []outbound.ShardStatus
	observer := outboundmock.NewMockShardObserver(gomock.NewController(t))
	observer.EXPECT().Shards().AnyTimes().DoAndReturn(func() []outbound.ShardStatus { return now })
	r := health.New(health.Node{ID: "worker-1", Role: "worker"}, observer)

	many := make([]shard.ID, 20)
	for i := range many {
		many[i] = shard.ID(i)
	}
	all := make([]uint32, len(many))
	for i, id := range many {
		all[i] = uint32(id)
	}
	for _, step := range []struct {
		name    string
		before  func()
		shards  []outbound.ShardStatus
		status  inbound.Status
		message string
		impeded []uint32
	}{
		{"nothing is open", func() {}, nil, inbound.Starting, "worker-1 is starting", nil},
		{"still opening", func() {}, shards(3), inbound.Starting, "worker-1 is starting", nil},
		{
			"open, not elected", r.Opened, shards(3, 2), inbound.Starting,
			"worker-1 is starting: shard 2 without a leader yet",
			[]uint32{2},
		},
		{"elected", r.Opened, shards(3), inbound.Healthy, "worker-1 is operational", nil},
		{
			"lost leaders", func() {}, shards(3, 0, 2), inbound.Degraded,
			"worker-1 cannot serve reads or writes of shards 0, 2: no leader is known or reached",
			[]uint32{0, 2},
		},
		{
			"lost many", func() {}, shards(20, many...), inbound.Degraded,
			"worker-1 cannot serve reads or writes of shards " +
				"0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 and 4 more: no leader is known or reached", all,
		},
		{"back", func() {}, shards(3), inbound.Healthy, "worker-1 is operational", nil},
		{"stopping", r.Stopping, shards(3), inbound.Stopping, "worker-1 is stopping", nil},
		{"no way back", r.Opened, shards(3), inbound.Stopping, "worker-1 is stopping", nil},
	} {
		step.before()
		now = step.shards
		want := inbound.Health{
			Status: step.status, Message: step.message, NodeID: "worker-1", Role: "worker",
			Shards: len(step.shards), Impeded: step.impeded,
		}
		if diff := cmp.Diff(want, r.Health(t.Context())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// around is a cluster of which two shards elsewhere lack replicas, one of them a majority.
type around struct{ refusal string }

func (around) Cluster() string { return "c1" }

func (a around) Refusal() string { return a.refusal }

func (around) Impeded(own []outbound.ShardStatus) []shard.ID {
	if len(own) > 0 {
		return nil
	}
	return []shard.ID{7}
}

func (around) UnderReplicated() []shard.ID { return []shard.ID{6, 7} }

func TestAMemberOfACluster(t *testing.T) {
	var now []outbound.ShardStatus
	observer := outboundmock.NewMockShardObserver(gomock.NewController(t))
	observer.EXPECT().Shards().AnyTimes().DoAndReturn(func() []outbound.ShardStatus { return now })
	r := health.New(health.Node{ID: "worker-1", Role: "worker"}, observer)
	check := func(want inbound.Health) {
		t.Helper()
		want.NodeID, want.Role, want.Shards = "worker-1", "worker", len(now)
		if diff := cmp.Diff(want, r.Health(t.Context())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	r.Waits(func() string { return "waits to be adopted" })
	check(inbound.Health{Status: inbound.Starting, Message: "worker-1 is starting: it waits to be adopted"})
	r.Joined(around{})
	check(inbound.Health{Status: inbound.Starting, Message: "worker-1 is starting", Cluster: "c1", Impeded: []uint32{7}, UnderReplicated: 2})
	r.Opened()
	now = shards(2, 1)
	check(inbound.Health{Status: inbound.Healthy, Message: "worker-1 is operational", Cluster: "c1", UnderReplicated: 2})
	now = nil
	check(inbound.Health{
		Status: inbound.Degraded, Message: "worker-1 cannot serve reads or writes of shard 7: no leader is known or reached",
		Cluster: "c1", Impeded: []uint32{7}, UnderReplicated: 2,
	})
	r.Joined(around{refusal: "the cluster has no node worker-1"})
	check(inbound.Health{
		Status: inbound.Degraded, Message: "worker-1 is no member of its cluster now: the cluster has no node worker-1",
		Cluster: "c1", Impeded: []uint32{7}, UnderReplicated: 2,
	})
	r.Waits(func() string { return "waits" })
	r.Stopping()
	check(inbound.Health{Status: inbound.Stopping, Message: "worker-1 is stopping", Cluster: "c1", Impeded: []uint32{7}, UnderReplicated: 2})
}
