package httpapi

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

func member(t *testing.T, name string, role cluster.Role) cluster.Node {
	t.Helper()
	id, err := cluster.NewNodeID(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := cluster.NewNode(id, role, name+":8080", 1)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// overview is a cluster in which everything is somewhere.
func overview(t *testing.T) inbound.ClusterOverview {
	t.Helper()
	c, w, g := member(t, "control", cluster.Control), member(t, "worker-1", cluster.Worker), member(t, "gone", cluster.Worker)
	return inbound.ClusterOverview{
		ClusterID: "c1", Epoch: 7,
		Nodes: []inbound.NodeOverview{
			{Node: c, State: inbound.NodeAlive, LastHeard: 250 * time.Millisecond},
			{Node: g, State: inbound.NodeUnknown},
			{Node: w, State: inbound.NodeDraining},
		},
		Meta: inbound.MetaOverview{Leader: c.ID(), Members: []cluster.Replica{{ID: 1, Node: c.ID()}}},
		Shards: []inbound.ShardOverview{
			{
				Shard: 0, Leader: w.ID(), Epoch: 2, Replicas: []inbound.ReplicaOverview{
					{Replica: cluster.Replica{ID: 2, Node: w.ID()}, Role: inbound.ReplicaVoter, Reported: true, Leader: true, Term: 3, Commit: 9, Applied: 9},
					{Replica: cluster.Replica{ID: 5, Node: c.ID()}, Role: inbound.ReplicaLearner, Reported: true, Term: 3, Commit: 5, Applied: 4, Lag: 5},
					{Replica: cluster.Replica{ID: 3, Node: g.ID()}, Role: inbound.ReplicaDeparting},
				},
			},
			{Shard: 1, Epoch: 1, Settled: true},
		},
	}
}

func TestGoldenRetention(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	f := func(method, body string, headers ...string) {
		r := request(method, "/cluster/retention", body, headers...)
		tr.add(r, body, rg.do(r))
	}
	month := metric.RetentionPolicy{Default: 30 * 24 * time.Hour, Rules: []metric.RetentionRule{{Pattern: "debug_*", Keep: 25 * time.Hour}}}
	rg.retention.EXPECT().Retention(gomock.Any()).Return(month, nil)
	f("GET", "")
	rg.retention.EXPECT().Retention(gomock.Any()).Return(metric.RetentionPolicy{}, nil)
	f("GET", "")
	rg.retention.EXPECT().SetRetention(gomock.Any(), month).Return(nil)
	f("PUT", `{"default":"30d","rules":[{"metric":"debug_*","keep":"25h"}]}`)
	rg.retention.EXPECT().SetRetention(gomock.Any(), metric.RetentionPolicy{}).Return(nil)
	f("PUT", `{"default":"0"}`)
	rg.retention.EXPECT().SetRetention(gomock.Any(), gomock.Any()).Return(fault.New(fault.Unavailable, "no_leader", "nobody leads"))
	f("PUT", `{"default":"2w"}`)
	f("PUT", `{"rules":[]}`)
	f("PUT", `{"default":"30m"}`)
	f("PUT", `{"default":"1d","rules":[{"metric":"a","keep":"1d"},{"metric":"b"}]}`)
	f("PUT", `{"default":"1d","rules":[{"metric":"","keep":"1d"}]}`)
	f("PUT", `{"default":"1d","rule":[]}`)
	f("PUT", `{"default":"1d"} {}`)
	f("PUT", `30d`)
	f("PUT", ``)
	f("PUT", `{}`, "Content-Type", "text/csv")
	golden(t, "retention.txt", tr.String())
}

func TestGoldenCluster(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	f := func(method, target, body string, headers ...string) {
		r := request(method, target, body, headers...)
		tr.add(r, body, rg.do(r))
	}
	rg.cluster.EXPECT().Overview(gomock.Any()).Return(overview(t), nil)
	f("GET", "/cluster", "")
	rg.cluster.EXPECT().Overview(gomock.Any()).Return(inbound.ClusterOverview{}, fault.New(fault.Unavailable, "not_adopted", "no cluster yet"))
	f("GET", "/cluster", "")
	f("GET", "/cluster?verbose=1", "")

	w := member(t, "worker-1", cluster.Worker)
	rg.membership.EXPECT().AddNode(gomock.Any(), "worker-1:8080").Return(inbound.AddedNode{Node: w, New: true}, nil)
	f("POST", "/cluster/nodes", `{"address":"worker-1:8080"}`)
	rg.membership.EXPECT().AddNode(gomock.Any(), "worker-1:8080").Return(inbound.AddedNode{Node: w}, nil)
	f("POST", "/cluster/nodes", `{"address":"worker-1:8080"}`, "Content-Type", "application/x-www-form-urlencoded")
	rg.membership.EXPECT().AddNode(gomock.Any(), "x").Return(inbound.AddedNode{}, fault.Field("address", `is "x"`, "host:port"))
	f("POST", "/cluster/nodes", `{"address":"x"}`)
	f("POST", "/cluster/nodes", `{"address":"a:1","role":"worker"}`)
	f("POST", "/cluster/nodes", `{"address":7}`)
	f("POST", "/cluster/nodes", `{}`)
	f("POST", "/cluster/nodes", `address=a:1`)
	f("POST", "/cluster/nodes", ``)
	f("POST", "/cluster/nodes", `{}`, "Content-Type", "application/x-ndjson")

	rg.membership.EXPECT().RemoveNode(gomock.Any(), w.ID()).Return(inbound.Removal{Replicas: 8}, nil)
	f("DELETE", "/cluster/nodes/worker-1", "")
	rg.membership.EXPECT().RemoveNode(gomock.Any(), w.ID()).Return(inbound.Removal{Gone: true}, nil)
	f("DELETE", "/cluster/nodes/worker-1", "")
	rg.membership.EXPECT().RemoveNode(gomock.Any(), w.ID()).Return(inbound.Removal{}, fault.New(fault.Conflict, "last_node", "it is the last"))
	f("DELETE", "/cluster/nodes/worker-1", "")
	f("DELETE", "/cluster/nodes/-", "")

	moves := []cluster.Move{{Group: cluster.ShardGroup(3), From: w.ID(), To: member(t, "b", cluster.Worker).ID()}, {Group: cluster.MetaGroup(), To: w.ID()}}
	rg.membership.EXPECT().Rebalance(gomock.Any()).Return(inbound.Rebalance{Moves: moves, UnderWay: 2}, nil)
	f("POST", "/cluster/rebalance", "")
	rg.membership.EXPECT().Rebalance(gomock.Any()).Return(inbound.Rebalance{}, nil)
	f("POST", "/cluster/rebalance", "")

	rg.storage.EXPECT().Flush(gomock.Any()).Return(nil)
	f("POST", "/cluster/flush", "")
	rg.storage.EXPECT().Flush(gomock.Any()).Return(fault.New(fault.Unavailable, "not_flushed", "not all did").WithDetail("nodes", []string{"worker-1"}))
	f("POST", "/cluster/flush", "")

	rg.storage.EXPECT().Verify(gomock.Any()).Return(inbound.Verification{Shards: []inbound.ShardVerification{
		{Shard: 0, Index: 12, Equal: true, Replicas: []inbound.ReplicaVerification{{Node: w.ID(), Digest: []byte{1, 0xfe}}}},
		{Shard: 1, Index: 3, Replicas: []inbound.ReplicaVerification{
			{Node: w.ID(), Digest: []byte{2}}, {Node: member(t, "b", cluster.Worker).ID(), Failure: "no answer in time"},
		}},
	}}, nil)
	f("GET", "/cluster/verify", "")
	golden(t, "cluster.txt", tr.String())
}

func TestAdministrationMayTakeLonger(t *testing.T) {
	rg := newRig(t, nil)
	f := func(target string, want time.Duration) {
		t.Helper()
		rg.storage.EXPECT().Verify(gomock.Any()).DoAndReturn(func(ctx context.Context) (inbound.Verification, error) {
			deadline, ok := ctx.Deadline()
			if left := time.Until(deadline); !ok || left > want || left < want-10*time.Second {
				t.Errorf("%s: %v are left, want about %v", target, left, want)
			}
			return inbound.Verification{}, nil
		})
		if w := rg.do(request("GET", target, "")); w.Code != http.StatusOK {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	f("/cluster/verify", AdminTimeoutDefault)
	f("/cluster/verify?timeout=20s", 20*time.Second)
	f("/cluster/verify?timeout=5m", 5*time.Minute)
	f("/cluster/verify?timeout=5h", AdminTimeoutMax)
	for _, target := range []string{"/cluster", "/cluster/verify"} {
		if w := rg.do(request("GET", target+"?timeout=soon", "")); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestAdministrationFails(t *testing.T) {
	rg := newRig(t, nil)
	failure := errors.New("disk on fire")
	rg.storage.EXPECT().Verify(gomock.Any()).Return(inbound.Verification{}, failure)
	rg.membership.EXPECT().Rebalance(gomock.Any()).Return(inbound.Rebalance{}, failure)
	for _, r := range []*http.Request{request("GET", "/cluster/verify", ""), request("POST", "/cluster/rebalance", "")} {
		if w := rg.do(r); w.Code != http.StatusInternalServerError {
			t.Errorf("%s: %d", r.URL, w.Code)
		}
	}
	for _, target := range []string{"/cluster/nodes", "/cluster/rebalance", "/cluster/flush"} {
		if w := rg.do(request("POST", target+"?x=1", `{"address":"a:1"}`)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := rg.do(request("DELETE", "/cluster/nodes/a?x=1", "")); w.Code != http.StatusBadRequest {
		t.Errorf("DELETE: %d", w.Code)
	}
}

// TestLongAdministrationKeepsItsConnection checks that the deadlines of a connection, which are made for
// queries, give way to what an administrative request may take.
func TestLongAdministrationKeepsItsConnection(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		var takes time.Duration
		work := func(ctx context.Context) error {
			select {
			case <-time.After(takes):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		s.storage.EXPECT().Flush(gomock.Any()).AnyTimes().DoAndReturn(work)
		s.storage.EXPECT().Verify(gomock.Any()).AnyTimes().DoAndReturn(func(ctx context.Context) (inbound.Verification, error) {
			return inbound.Verification{Equal: true}, work(ctx)
		})
		f := func(method, path string, work time.Duration, want int) {
			t.Helper()
			takes = work
			if status, text := s.do(t, method, path, ""); status != want {
				t.Errorf("%s %s for %v: %d %s, want %d", method, path, work, status, text, want)
			}
		}
		f("GET", "/cluster/verify", AdminTimeoutDefault-time.Second, http.StatusOK)
		f("GET", "/cluster/verify", AdminTimeoutDefault+time.Second, http.StatusGatewayTimeout)
		f("POST", "/cluster/flush", AdminTimeoutMax-time.Second, http.StatusOK)
		f("GET", "/cluster/verify?timeout=15m", AdminTimeoutMax-time.Second, http.StatusOK)
		f("POST", "/cluster/flush?timeout=15m", AdminTimeoutMax+time.Second, http.StatusGatewayTimeout)
		f("GET", "/cluster/verify?timeout=1s", 2*time.Second, http.StatusGatewayTimeout)
	})
}
