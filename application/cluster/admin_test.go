package cluster_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.From(err); f == nil || f.Code() != code {
		t.Errorf("err=%v, want %s", err, code)
	}
}

func (n *paperNode) overview() inbound.ClusterOverview {
	n.w.t.Helper()
	o, err := n.observer.Overview(context.Background())
	if err != nil {
		n.w.t.Fatal(err)
	}
	return o
}

func statesOf(o inbound.ClusterOverview) []inbound.NodeState {
	var states []inbound.NodeState
	for _, n := range o.Nodes {
		states = append(states, n.State)
	}
	return states
}

func TestEveryNodeShowsTheWholeCluster(t *testing.T) {
	w := trio(t)
	for _, name := range w.order {
		o := w.nodes[name].overview()
		if o.ClusterID != "cluster-of-"+control || o.Meta.Leader != mustID(t, "control") || len(o.Meta.Members) != 3 || len(o.Shards) != 8 {
			t.Fatalf("%s shows %+v", name, o)
		}
		if got := statesOf(o); !slices.Equal(got, []inbound.NodeState{"alive", "alive", "alive"}) {
			t.Errorf("%s shows nodes as %v", name, got)
		}
		for _, s := range o.Shards {
			leader := w.holder(cluster.ShardGroup(s.Shard), w.groups[cluster.ShardGroup(s.Shard)].leader)
			if s.Leader != leader.node().ID() || !s.Settled || len(s.Replicas) != 3 {
				t.Errorf("%s shows shard %v as %+v", name, s.Shard, s)
			}
			for _, r := range s.Replicas {
				if !r.Reported || r.Role != inbound.ReplicaVoter || r.Applied != 10 || r.Lag != 0 || r.Leader != (r.Replica.Node == s.Leader) {
					t.Errorf("%s shows replica %+v of shard %v", name, r, s.Shard)
				}
			}
		}
	}
}

func TestOverviewShowsChangesUnderWay(t *testing.T) {
	w := trio(t)
	w.start(worker3, cluster.Worker)
	if _, err := w.nodes[worker1].admin.AddNode(t.Context(), worker3); err != nil {
		t.Fatal(err)
	}
	roles := map[inbound.ReplicaRole]uint64{} // with the greatest lag seen
	for range 30 {
		w.turn()
		for _, s := range w.nodes[worker2].overview().Shards {
			for _, r := range s.Replicas {
				roles[r.Role] = max(roles[r.Role], r.Lag)
			}
		}
	}
	if len(roles) != 3 || roles[inbound.ReplicaLearner] != 6 {
		t.Fatalf("roles with their lag: %v, want all three and a learner that lags 6 entries", roles)
	}
}

func TestOverviewTellsSilentNodes(t *testing.T) {
	w := trio(t)
	w.nodes[worker2].alive = false
	w.turns(5)
	o := w.nodes[worker1].overview()
	if got := statesOf(o); !slices.Equal(got, []inbound.NodeState{"alive", "alive", "silent"}) || o.Nodes[2].LastHeard <= 0 {
		t.Fatalf("nodes are shown as %v, %+v", got, o.Nodes[2])
	}
}

func TestOverviewWithoutAMetaLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trio(t)
		w.nodes[control].alive, w.nodes[worker2].alive = false, false
		w.turns(2)
		o := w.nodes[worker1].overview()
		if got := statesOf(o); !slices.Equal(got, []inbound.NodeState{"unknown", "unknown", "unknown"}) || !o.Meta.Leader.IsZero() {
			t.Errorf("nodes are shown as %v, meta leader %q", got, o.Meta.Leader)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.nodes[worker1].observer.Overview(ended)
		wantCode(t, err, "no_leader")
		_, err = w.nodes[worker1].admin.Rebalance(t.Context())
		wantCode(t, err, "no_leader")
		_, err = w.nodes[worker1].admin.RemoveNode(t.Context(), mustID(t, "control"))
		wantCode(t, err, "no_leader")
	})
}

func TestANodeIsAddedThroughAnyNode(t *testing.T) {
	for _, through := range []string{control, worker1} {
		t.Run(through, func(t *testing.T) {
			w := trio(t)
			w.start(worker3, cluster.Worker)
			for i := range 2 {
				added, err := w.nodes[through].admin.AddNode(t.Context(), worker3)
				if err != nil || added.New != (i == 0) || added.Node.ID() != mustID(t, "worker-3") || added.Node.Address() != worker3 {
					t.Fatalf("call %d: %+v, %v", i, added, err)
				}
			}
			w.quiet()
			if got := len(w.nodes[worker3].replicas); got < 8 {
				t.Fatalf("worker 3 holds %d replicas, want 8 shards", got)
			}
		})
	}
}

func TestNodesThatCannotBeAdded(t *testing.T) {
	w := trio(t)
	stranger := w.start(worker3, cluster.Worker)
	stranger.clusterID = "foreign"
	impostor := w.start("elsewhere:1", cluster.Worker)
	impostor.name = worker1
	a := w.nodes[worker2].admin
	for address, code := range map[string]string{
		"nowhere": "invalid_argument", "nobody:1": "unreachable", worker3: "other_cluster", "elsewhere:1": "node_exists",
	} {
		_, err := a.AddNode(t.Context(), address)
		wantCode(t, err, code)
	}
	stranger.wantRefusals(t, 1, worker2+": node worker-3 at worker-3:1 belongs to cluster foreign")
	impostor.wantRefusals(t, 1, worker2+": NODE_ID worker-1")
}

func TestANodeIsDrainedAndGoes(t *testing.T) {
	w := trio(t)
	w.start(worker3, cluster.Worker)
	a := w.nodes[worker1].admin
	if _, err := a.AddNode(t.Context(), worker3); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	id := mustID(t, "worker-2")
	removal, err := a.RemoveNode(t.Context(), id)
	if err != nil || removal.Gone || removal.Replicas < 5 {
		t.Fatalf("first %+v, %v, want replicas to move", removal, err)
	}
	w.turn()
	if got := statesOf(w.nodes[worker1].overview()); got[2] != inbound.NodeDraining {
		t.Errorf("nodes are shown as %v", got)
	}
	if removal, err = a.RemoveNode(t.Context(), id); err != nil || removal.Gone {
		t.Fatalf("second %+v, %v, want draining", removal, err)
	}
	for range 100 {
		w.turn()
	}
	if removal, err = a.RemoveNode(t.Context(), id); err != nil || !removal.Gone {
		t.Fatalf("last %+v, %v, want it gone", removal, err)
	}
	if _, member := w.newest().Node(id); member {
		t.Fatal("the node is a member still")
	}
	if got := w.nodes[worker2].aware.Refusal(); !strings.Contains(got, "worker-2") {
		t.Errorf("the node that is gone knows %q", got)
	}
	// It can come back, by its own record a member.
	added, err := a.AddNode(t.Context(), worker2)
	if err != nil || !added.New {
		t.Fatalf("added again: %+v, %v", added, err)
	}
	w.quiet()
	if got := w.nodes[worker2].aware.Refusal(); got != "" {
		t.Errorf("the node that is back knows %q", got)
	}
}

func TestTheLastNodeStays(t *testing.T) {
	w := newWorld(t)
	w.start(control, cluster.Control, worker1)
	w.start(worker1, cluster.Worker)
	w.quiet()
	a := w.nodes[control].admin
	if _, err := a.RemoveNode(t.Context(), mustID(t, "worker-1")); err != nil {
		t.Fatal(err)
	}
	_, err := a.RemoveNode(t.Context(), mustID(t, "control"))
	wantCode(t, err, "last_node")
}

func TestRebalanceBeginsTheNextMoves(t *testing.T) {
	w := trio(t)
	w.start(worker3, cluster.Worker)
	a := w.nodes[worker1].admin
	if r, err := a.Rebalance(t.Context()); err != nil || len(r.Moves) != 0 || r.UnderWay != 0 {
		t.Fatalf("a balanced cluster: %+v, %v", r, err)
	}
	if _, err := a.AddNode(t.Context(), worker3); err != nil {
		t.Fatal(err)
	}
	r, err := a.Rebalance(t.Context())
	if err != nil || len(r.Moves) == 0 || r.UnderWay == 0 {
		t.Fatalf("with an empty worker: %+v, %v, want moves", r, err)
	}
	if again, err := a.Rebalance(t.Context()); err != nil || again.UnderWay < r.UnderWay {
		t.Fatalf("again: %+v, %v", again, err)
	}
}

func TestANodeOutsideAnyClusterSaysSo(t *testing.T) {
	view := appcluster.NewView(nil)
	route := appcluster.NewMetaRoute(appcluster.MetaRouteConfig{View: view})
	_, err := appcluster.NewObserver(route, nil).Overview(t.Context())
	wantCode(t, err, "not_adopted")
	a := appcluster.NewAdmin(route, nil, 0)
	_, err = a.AddNode(t.Context(), worker1)
	wantCode(t, err, "not_adopted")
	_, err = a.RemoveNode(t.Context(), mustID(t, "worker-1"))
	wantCode(t, err, "not_adopted")
	_, err = a.Rebalance(t.Context())
	wantCode(t, err, "not_adopted")
	aware := appcluster.NewAwareness(cluster.NodeID{}, view, nil)
	if aware.Cluster() != "" || len(aware.Impeded(nil)) != 0 || len(aware.UnderReplicated()) != 0 {
		t.Error("a node outside any cluster knows of shards")
	}
}

func TestANodeKnowsHowTheShardsAre(t *testing.T) {
	w := newWorld(t)
	names := []string{control, worker1, worker2, worker3}
	w.start(control, cluster.Control, worker1, worker2, worker3)
	for _, name := range names[1:] {
		w.start(name, cluster.Worker)
	}
	w.quiet()
	c := w.nodes[control] // holds no shard
	check := func(when string, impeded, under int) {
		t.Helper()
		if got := c.aware.Impeded(c.Shards()); len(got) != impeded {
			t.Errorf("%s: %v are impeded, want %d", when, got, impeded)
		}
		if got := c.aware.UnderReplicated(); len(got) != under {
			t.Errorf("%s: %v are under-replicated, want %d", when, got, under)
		}
	}
	check("all well", 0, 0)
	if got := c.aware.Cluster(); got != c.clusterID {
		t.Errorf("cluster %q, want %q", got, c.clusterID)
	}
	w.nodes[worker1].alive = false
	w.turns(6)
	check("one worker gone", 0, 8)
	w.nodes[worker2].alive = false // like worker 1 a member of the meta group, whose leader now is nobody
	w.turns(6)
	check("no other member of the meta group answers", 8, 8)
	w.nodes[worker1].alive, w.nodes[worker2].alive = true, true
	w.turns(6)
	check("back", 0, 0)
	w.nodes[worker2].alive, w.nodes[worker3].alive = false, false
	w.turns(6)
	check("a majority of every shard is silent", 8, 8)
}

func TestAReplicaThatKnowsNoLeaderIsImpeded(t *testing.T) {
	w := trio(t)
	n := w.nodes[worker1]
	own := n.Shards()
	own[3].Serving = false
	if got := n.aware.Impeded(own); !slices.Equal(got, []shard.ID{3}) {
		t.Fatalf("%v are impeded, want shard 3", got)
	}
}

func TestASingleNodeStaysOne(t *testing.T) {
	m, err := shard.NewMap(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	node, err := cluster.NewNode(mustID(t, "alone"), cluster.Embedded, "alone:1", 1)
	if err != nil {
		t.Fatal(err)
	}
	state, err := cluster.Found(cluster.Blueprint{ClusterID: "c", Shards: m, ReplicationFactor: 1}, []cluster.Node{node})
	if err != nil {
		t.Fatal(err)
	}
	solo := appcluster.NewSolo(state)
	_, err = solo.AddNode(t.Context(), worker1)
	wantCode(t, err, "single_node")
	_, err = solo.RemoveNode(t.Context(), node.ID())
	wantCode(t, err, "single_node")
	if r, err := solo.RemoveNode(t.Context(), mustID(t, "other")); err != nil || !r.Gone {
		t.Errorf("removing a stranger: %+v, %v", r, err)
	}
	if r, err := solo.Rebalance(t.Context()); err != nil || len(r.Moves) != 0 {
		t.Errorf("rebalance: %+v, %v", r, err)
	}
}

// contested is a node whose proposals meet an answer that its view did not foresee.
type contested struct {
	*paperNode
	answer error
}

func (c contested) ProposeMeta(context.Context, []byte) ([]byte, error) { return nil, c.answer }

func (c contested) ProposeMetaAt(context.Context, cluster.NodeID, []byte) ([]byte, error) {
	return nil, c.answer
}

func (c contested) admin() *appcluster.Admin {
	n := c.paperNode
	route := appcluster.NewMetaRoute(appcluster.MetaRouteConfig{
		Self: n.node().ID(), View: n.view, Meta: c, Reports: n.director, Peers: c, Timer: n,
	})
	return appcluster.NewAdmin(route, n.recruiter, appcluster.RepairAfterDefault)
}

func TestWhatTheViewDidNotKnow(t *testing.T) {
	w := trio(t)
	w.start(worker3, cluster.Worker)
	n := w.nodes[worker1]
	gone := contested{n, fault.New(fault.NotFound, "unknown_node", "gone")}
	if r, err := gone.admin().RemoveNode(t.Context(), mustID(t, "worker-2")); err != nil || !r.Gone {
		t.Errorf("a node that is gone: %+v, %v", r, err)
	}
	refused := contested{n, fault.New(fault.Conflict, "placement_changed", "another was first")}
	if r, err := refused.admin().RemoveNode(t.Context(), mustID(t, "worker-2")); err != nil || r.Gone {
		t.Errorf("a node that holds replicas: %+v, %v", r, err)
	}
	_, err := refused.admin().AddNode(t.Context(), worker3)
	wantCode(t, err, "placement_changed")
	doubtful := contested{n, outbound.ErrAmbiguous}
	_, err = doubtful.admin().AddNode(t.Context(), worker3)
	wantCode(t, err, "outcome_unknown")
	_, err = doubtful.admin().RemoveNode(t.Context(), mustID(t, "worker-2"))
	wantCode(t, err, "outcome_unknown")
	if _, err := n.admin.AddNode(t.Context(), worker3); err != nil {
		t.Fatal(err)
	}
	if r, err := refused.admin().Rebalance(t.Context()); err != nil || len(r.Moves) != 0 {
		t.Errorf("moves that another began: %+v, %v", r, err)
	}
	_, err = doubtful.admin().Rebalance(t.Context())
	wantCode(t, err, "outcome_unknown")
}

// slow is a node that does not learn of what it has proposed.
type slow struct{ *paperNode }

func (s slow) ProposeMetaAt(ctx context.Context, to cluster.NodeID, command []byte) ([]byte, error) {
	return s.w.nodes[address(to)].ProposeMeta(ctx, command)
}

func TestAMemberThatIsNotSeenYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trio(t)
		w.start(worker3, cluster.Worker)
		n := w.nodes[worker1]
		route := appcluster.NewMetaRoute(appcluster.MetaRouteConfig{
			Self: n.node().ID(), View: n.view, Meta: n, Reports: n.director, Peers: slow{n}, Timer: n,
		})
		_, err := appcluster.NewAdmin(route, n.recruiter, appcluster.RepairAfterDefault).AddNode(t.Context(), worker3)
		wantCode(t, err, "join_unseen")
	})
}
