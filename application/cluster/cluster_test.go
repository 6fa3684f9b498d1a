package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	control = "control:1"
	worker1 = "worker-1:1"
	worker2 = "worker-2:1"
	worker3 = "worker-3:1"
)

// trio is the documented cluster: one control node that was told of two workers.
func trio(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.start(control, cluster.Control, worker1, worker2)
	w.start(worker1, cluster.Worker)
	w.start(worker2, cluster.Worker)
	w.quiet()
	return w
}

func TestTheDocumentedTrioForms(t *testing.T) {
	w := trio(t)
	for _, name := range w.order {
		n := w.nodes[name]
		if n.clusterID != "cluster-of-"+control {
			t.Errorf("%s is in %q", name, n.clusterID)
		}
		if len(n.replicas) != 9 {
			t.Errorf("%s holds %d replicas, want 8 shards and the meta group", name, len(n.replicas))
		}
	}
	if g := w.groups[cluster.MetaGroup()]; w.holder(cluster.MetaGroup(), g.leader).name != control {
		t.Errorf("the meta group is led by %s, want the control node", w.holder(cluster.MetaGroup(), g.leader).name)
	}
	for i := range 8 {
		g := w.groups[cluster.ShardGroup(shard.ID(i))]
		if leader := w.holder(cluster.ShardGroup(shard.ID(i)), g.leader); leader.role != cluster.Worker {
			t.Errorf("shard %d is led by %s, want a worker", i, leader.name)
		}
	}
}

func TestAControlNodeWaitsForMissingHosts(t *testing.T) {
	w := newWorld(t)
	c := w.start(control, cluster.Control, worker1, worker2)
	w.start(worker1, cluster.Worker)
	w.turns(5)
	if c.view != nil {
		t.Fatal("founded without worker 2")
	}
	if _, err := c.founder.Round(context.Background()); err == nil || !strings.Contains(err.Error(), worker2) {
		t.Fatalf("waiting %v, want it to name %s", err, worker2)
	}
	w.start(worker2, cluster.Worker)
	w.quiet()
}

func TestTwoControlNodesFoundOneCluster(t *testing.T) {
	w := newWorld(t)
	w.start("control-b:1", cluster.Control, "control-a:1", worker1)
	w.start("control-a:1", cluster.Control, "control-b:1", worker1)
	w.start(worker1, cluster.Worker)
	w.quiet()
	for _, name := range w.order {
		if got := w.nodes[name].clusterID; got != "cluster-of-control-a:1" {
			t.Errorf("%s is in %q, want the cluster of the smallest NODE_ID", name, got)
		}
	}
}

func TestAWipedWorkerIsTakenBackUnderNewReplicas(t *testing.T) {
	w := trio(t)
	before := w.nodes[worker2].replicas[cluster.ShardGroup(3)]
	n := w.wipe(worker2)
	s := w.quiet()
	after, _ := s.Shard(3).On(n.node().ID())
	if n.clusterID == "" || after.ID == before || after.ID == 0 {
		t.Fatalf("worker-2 is in %q with replica %d, before %d", n.clusterID, after.ID, before)
	}
}

func TestAWipedControlNodeJoinsItsWorkersCluster(t *testing.T) {
	w := trio(t)
	n := w.wipe(control)
	w.quiet()
	if n.clusterID != "cluster-of-"+control || len(n.replicas) != 9 {
		t.Fatalf("control is in %q with %d replicas", n.clusterID, len(n.replicas))
	}
	node, _ := w.newest().Node(n.node().ID())
	if node.Incarnation() != n.incarnation {
		t.Fatalf("the state knows incarnation %d, want %d", node.Incarnation(), n.incarnation)
	}
}

func TestAThirdWorkerNamedLaterTakesOver(t *testing.T) {
	w := trio(t)
	w.start(worker3, cluster.Worker)
	w.nodes[control].hosts = append(w.nodes[control].hosts, worker3)
	w.nodes[control].begin(w.nodes[control].founding, w.nodes[control].view.State())
	w.quiet()
	if got := len(w.nodes[control].replicas); got != 1 {
		t.Fatalf("control holds %d replicas, want the meta group's only", got)
	}
	if got := len(w.nodes[worker3].replicas); got < 8 {
		t.Fatalf("worker 3 holds %d replicas, want 8 shards", got)
	}
}

func TestALostNodeIsRepairedAfterAWhile(t *testing.T) {
	w := newWorld(t)
	w.start(control, cluster.Control, worker1, worker2, worker3, "worker-4:1")
	for _, name := range []string{worker1, worker2, worker3, "worker-4:1"} {
		w.start(name, cluster.Worker)
	}
	w.quiet()
	w.nodes[worker2].alive = false
	w.turns(200)
	if n := len(w.newest().ShardsOn(mustID(t, "worker-2"))); n == 0 {
		t.Fatal("moved before REPAIR_AFTER")
	}
	w.turns(200)
	if n := len(w.quiet().ShardsOn(mustID(t, "worker-2"))); n != 0 {
		t.Fatalf("%d shards are still placed on the lost node", n)
	}
}

func TestASecondNodeOfTheSameNameIsRefused(t *testing.T) {
	w := trio(t)
	impostor := w.start("elsewhere:1", cluster.Worker)
	impostor.name = worker1 // the same NODE_ID, at another address
	w.nodes[control].hosts = append(w.nodes[control].hosts, "elsewhere:1")
	w.nodes[control].begin(w.nodes[control].founding, w.nodes[control].view.State())
	w.turns(5)
	if impostor.clusterID != "" {
		t.Fatal("the second worker-1 was adopted")
	}
	if problems := strings.Join(w.nodes[control].problems, "\n"); !strings.Contains(problems, "NODE_ID worker-1") {
		t.Fatalf("problems %q, want the repeated NODE_ID named", problems)
	}
	impostor.wantRefusals(t, 1, control+": NODE_ID worker-1 at elsewhere:1 belongs to the living node at worker-1:1")
	w.turns(30) // it is told again, for it may have been started anew
	impostor.wantRefusals(t, 2, "NODE_ID worker-1")
}

func (n *paperNode) wantRefusals(t *testing.T, count int, text string) {
	t.Helper()
	if len(n.refusals) != count || !strings.Contains(n.refusals[count-1], text) {
		t.Fatalf("the refused node was told %q, want %d times %q", n.refusals, count, text)
	}
}

func TestANodeThatDidNotHearItsRefusalIsToldAgain(t *testing.T) {
	w := trio(t)
	stranger := w.start(worker3, cluster.Worker)
	stranger.clusterID, stranger.deaf = "foreign", true
	r := w.nodes[control].recruiter
	for range 2 {
		wantCode(t, r.Recruit(context.Background(), worker3), "other_cluster")
	}
	if problems := strings.Join(w.nodes[control].problems, "\n"); strings.Count(problems, "tell "+worker3) != 2 {
		t.Fatalf("problems %q, want two attempts to tell it", problems)
	}
	stranger.deaf = false
	for range 2 {
		wantCode(t, r.Recruit(context.Background(), worker3), "other_cluster")
	}
	stranger.wantRefusals(t, 1, "belongs to cluster foreign")
	stranger.clusterID = "another"
	wantCode(t, r.Recruit(context.Background(), worker3), "other_cluster")
	stranger.wantRefusals(t, 2, "belongs to cluster another")
}

func TestANodeThatCanOnlyNotBeTakenInNowIsNotRefused(t *testing.T) {
	w := trio(t)
	waiting := w.start(worker3, cluster.Worker)
	if err := w.nodes[worker1].recruiter.Recruit(context.Background(), worker3); !errors.Is(err, outbound.ErrNotProposed) {
		t.Fatalf("Recruit by a follower = %v, want ErrNotProposed", err)
	}
	if len(waiting.refusals) != 0 {
		t.Fatalf("the waiting node was told %q", waiting.refusals)
	}
}

func TestAFounderRefusesARepeatedNodeID(t *testing.T) {
	w := newWorld(t)
	n := w.start(control, cluster.Control, worker1, "elsewhere:1")
	first := w.start(worker1, cluster.Worker)
	impostor := w.start("elsewhere:1", cluster.Worker)
	impostor.name = worker1
	impostor.deaf = true
	if _, err := n.founder.Round(context.Background()); err == nil || !strings.Contains(err.Error(), "could not be told (does not listen): NODE_ID worker-1") {
		t.Fatalf("Round = %v, want the node that could not be told", err)
	}
	impostor.deaf = false
	for range 2 {
		if state, err := n.founder.Round(context.Background()); state != nil || err == nil || !strings.HasPrefix(err.Error(), "refuses a node: NODE_ID worker-1") {
			t.Fatalf("Round = %v, %v, want the refusal", state, err)
		}
	}
	impostor.wantRefusals(t, 1, "NODE_ID worker-1 at elsewhere:1 belongs to the living node at worker-1:1")
	if len(first.refusals) != 0 {
		t.Fatalf("the first worker-1 was told %q", first.refusals)
	}
}

func TestAWorkerOfAnotherClusterIsNamed(t *testing.T) {
	w := trio(t)
	stranger := w.start(worker3, cluster.Worker)
	stranger.clusterID = "foreign"
	err := w.nodes[control].recruiter.Recruit(context.Background(), worker3)
	if f := fault.From(err); f == nil || f.Code() != "other_cluster" || !strings.Contains(f.Message(), "foreign") {
		t.Fatalf("Recruit = %v, want other_cluster", err)
	}
}

func TestReportsOfStrangersAreRefused(t *testing.T) {
	w := trio(t)
	d := w.nodes[control].director
	for name, tc := range map[string]struct {
		report outbound.NodeReport
		code   string
	}{
		"stranger":    {outbound.NodeReport{Node: mustID(t, "nobody")}, "unknown_node"},
		"incarnation": {outbound.NodeReport{Node: mustID(t, "worker-1"), Incarnation: 77}, "other_incarnation"},
	} {
		if _, err := d.Report(context.Background(), tc.report); fault.From(err).Code() != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	if _, err := w.nodes[worker1].director.Report(context.Background(), outbound.NodeReport{}); fault.From(err).Code() != "no_leader" {
		t.Errorf("a follower took a report: %v", err)
	}
}

func TestStateAndCommandsSurviveTheirEncoding(t *testing.T) {
	s := trio(t).newest()
	encoded, err := appcluster.EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := appcluster.DecodeState(encoded)
	if err != nil {
		t.Fatal(err)
	}
	again, err := appcluster.EncodeState(back)
	if err != nil || string(again) != string(encoded) {
		t.Fatalf("second encoding %s (%v), want %s", again, err, encoded)
	}
	for _, bad := range []string{"", "{}", `{"format":9}`, strings.Replace(string(encoded), `"next_replica":`, `"next_replica":0`, 1)} {
		if _, err := appcluster.DecodeState([]byte(bad)); fault.KindOf(err) != fault.Corrupt && bad != "" {
			t.Errorf("DecodeState(%.40q) = %v, want Corrupt", bad, err)
		}
	}
}
