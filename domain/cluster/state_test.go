package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

func mustID(t *testing.T, text string) cluster.NodeID {
	t.Helper()
	id, err := cluster.NewNodeID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustNode(t *testing.T, name string, role cluster.Role, incarnation cluster.Incarnation) cluster.Node {
	t.Helper()
	n, err := cluster.NewNode(mustID(t, name), role, name+":8080", incarnation)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustFound(t *testing.T, shards, factor int, nodes ...cluster.Node) *cluster.State {
	t.Helper()
	m, err := shard.NewMap(shards, shards)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cluster.Found(cluster.Blueprint{ClusterID: "c1", Shards: m, ReplicationFactor: factor}, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func nodesOf(p cluster.Placement) []string {
	var names []string
	for _, r := range p.Replicas {
		names = append(names, r.Node.String())
	}
	slices.Sort(names)
	return names
}

// calm sees a cluster in which every configuration is settled and the named nodes are lost.
func calm(lost ...string) cluster.Observation {
	return cluster.Observation{
		Lost: func(id cluster.NodeID) bool { return slices.Contains(lost, id.String()) },
	}
}

// converge applies moves until there are none and returns how many there were.
func converge(t *testing.T, s *cluster.State, see cluster.Observation) int {
	t.Helper()
	for total := 0; ; {
		moves := s.Plan(see, 4)
		if len(moves) == 0 {
			return total
		}
		for _, m := range moves {
			if err := s.Apply(m); err != nil {
				t.Fatalf("Apply(%+v): %v", m, err)
			}
			if err := s.Apply(m); fault.From(err).Code() != "placement_changed" {
				t.Fatalf("the same move applied twice: %v", err)
			}
			if err := s.Settle(m.Group, m.Epoch+1); err != nil {
				t.Fatal(err)
			}
		}
		if total += len(moves); total > 10_000 {
			t.Fatal("the planner does not come to rest")
		}
	}
}

func TestFoundingPlacesTheThirdReplicaOnTheControlNode(t *testing.T) {
	s := mustFound(t, 8, 3, mustNode(t, "control", cluster.Control, 1), mustNode(t, "w1", cluster.Worker, 2), mustNode(t, "w2", cluster.Worker, 3))
	for i := range 8 {
		if got := nodesOf(s.Shard(shard.ID(i))); !slices.Equal(got, []string{"control", "w1", "w2"}) {
			t.Fatalf("shard %d is on %v", i, got)
		}
	}
	if moves := s.Plan(calm(), 100); len(moves) != 0 {
		t.Fatalf("a fresh cluster wants to move: %v", moves)
	}
}

func TestAThirdWorkerTakesTheControlNodesReplicas(t *testing.T) {
	s := mustFound(t, 8, 3, mustNode(t, "control", cluster.Control, 1), mustNode(t, "w1", cluster.Worker, 2), mustNode(t, "w2", cluster.Worker, 3))
	if err := s.AddNode(mustNode(t, "w3", cluster.Worker, 4)); err != nil {
		t.Fatal(err)
	}
	if n := converge(t, s, calm()); n != 8 {
		t.Fatalf("%d moves, want 8: one a shard", n)
	}
	for i := range 8 {
		if got := nodesOf(s.Shard(shard.ID(i))); !slices.Equal(got, []string{"w1", "w2", "w3"}) {
			t.Fatalf("shard %d is on %v", i, got)
		}
	}
}

func TestAWipedNodeGetsNewReplicaIDs(t *testing.T) {
	s := mustFound(t, 4, 3, mustNode(t, "a", cluster.Worker, 1), mustNode(t, "b", cluster.Worker, 2), mustNode(t, "c", cluster.Worker, 3))
	before, _ := s.Shard(0).On(mustID(t, "b"))
	if err := s.Readmit(mustNode(t, "b", cluster.Worker, 99)); err != nil {
		t.Fatal(err)
	}
	after, ok := s.Shard(0).On(mustID(t, "b"))
	if !ok || after.ID == before.ID {
		t.Fatalf("replica on b is %v (present %v), want a new id unlike %v", after, ok, before)
	}
	same, _ := s.Shard(0).On(mustID(t, "a"))
	if err := s.Readmit(mustNode(t, "a", cluster.Worker, 1)); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Shard(0).On(mustID(t, "a")); got != same {
		t.Fatalf("a restart changed replica %v to %v", same, got)
	}
}

func TestRefusals(t *testing.T) {
	s := mustFound(t, 2, 3, mustNode(t, "a", cluster.Control, 1), mustNode(t, "b", cluster.Worker, 2))
	epoch := s.Epoch()
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"add twice":        {s.AddNode(mustNode(t, "a", cluster.Control, 5)), "node_exists"},
		"readmit stranger": {s.Readmit(mustNode(t, "z", cluster.Worker, 5)), "unknown_node"},
		"readmit as other": {s.Readmit(mustNode(t, "a", cluster.Worker, 1)), "role_changed"},
		"remove full":      {s.RemoveNode(mustID(t, "b")), "node_not_empty"},
		"stale move":       {s.Apply(cluster.Move{Group: cluster.ShardGroup(0), From: mustID(t, "a"), Epoch: 7}), "placement_changed"},
		"unknown shard":    {s.Apply(cluster.Move{Group: cluster.ShardGroup(9), Epoch: 1}), "unknown_shard"},
		"unknown target":   {s.Apply(cluster.Move{Group: cluster.ShardGroup(0), To: mustID(t, "z"), Epoch: 1}), "unknown_node"},
		"second replica":   {s.Apply(cluster.Move{Group: cluster.ShardGroup(0), To: mustID(t, "b"), Epoch: 1}), "replica_exists"},
		"drain stranger":   {s.SetDraining(mustID(t, "z"), true), "unknown_node"},
	} {
		if got := fault.From(tc.err); got == nil || got.Code() != tc.code {
			t.Errorf("%s: %v, want %s", name, tc.err, tc.code)
		}
	}
	if s.Epoch() != epoch {
		t.Fatalf("a refused change moved the epoch from %d to %d", epoch, s.Epoch())
	}
}

func TestADrainedNodeEmptiesAndGoes(t *testing.T) {
	var nodes []cluster.Node
	for i := range 4 {
		nodes = append(nodes, mustNode(t, fmt.Sprint("w", i), cluster.Worker, cluster.Incarnation(i+1)))
	}
	s := mustFound(t, 16, 3, nodes...)
	id := mustID(t, "w2")
	if err := s.SetDraining(id, true); err != nil {
		t.Fatal(err)
	}
	converge(t, s, calm())
	if err := s.RemoveNode(id); err != nil {
		t.Fatal(err)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	s := mustFound(t, 8, 3, mustNode(t, "a", cluster.Control, 1), mustNode(t, "b", cluster.Worker, 2))
	r := s.Record()
	back, err := cluster.Restore(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(back.Record()), fmt.Sprint(r); got != want {
		t.Fatalf("restored %s, want %s", got, want)
	}
	r.NextReplica = 1
	if _, err := cluster.Restore(r); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("a reused replica id was restored: %v", err)
	}
}

func TestPreferredLeadersAreWorkersAndSpread(t *testing.T) {
	s := mustFound(t, 8, 3, mustNode(t, "control", cluster.Control, 1), mustNode(t, "w1", cluster.Worker, 2), mustNode(t, "w2", cluster.Worker, 3))
	count := map[string]int{}
	for i := range 8 {
		r, ok := s.PreferredLeader(shard.ID(i), func(cluster.NodeID) bool { return true })
		if !ok {
			t.Fatal("no leader")
		}
		count[r.Node.String()]++
	}
	if count["w1"] != 4 || count["w2"] != 4 {
		t.Fatalf("leaders %v, want 4 on each worker", count)
	}
	r, ok := s.PreferredLeader(0, func(id cluster.NodeID) bool { return id.String() == "control" })
	if !ok || r.Node.String() != "control" {
		t.Fatalf("with the workers dead %v leads, want control", r)
	}
}

func TestRetentionIsPartOfTheState(t *testing.T) {
	s := mustFound(t, 3, 1, mustNode(t, "control", cluster.Control, 1))
	policy := metric.RetentionPolicy{Default: 48 * time.Hour, Rules: []metric.RetentionRule{{Pattern: "debug_*", Keep: time.Hour}}}
	before := s.Clone()
	if err := s.SetRetention(policy); err != nil {
		t.Fatal(err)
	}
	policy.Rules[0].Keep = 7 * time.Hour // the state keeps no slice of its caller's
	if got := s.Retention().String(); got != "2d,debug_*=1h" || s.Epoch() != before.Epoch()+1 {
		t.Fatalf("retention %s at epoch %d, want what was set, one epoch after %d", got, s.Epoch(), before.Epoch())
	}
	if !before.Retention().IsZero() {
		t.Fatalf("a clone got the retention %v", before.Retention())
	}
	if err := s.SetRetention(metric.RetentionPolicy{Default: time.Minute}); fault.KindOf(err) != fault.Invalid || s.Epoch() != before.Epoch()+1 {
		t.Fatalf("a minute: %v, epoch %d", err, s.Epoch())
	}
	restored, err := cluster.Restore(s.Record())
	if err != nil || !restored.Retention().Equal(s.Retention()) {
		t.Fatalf("restored with %v, %v", restored.Retention(), err)
	}
	r := s.Record()
	r.Retention.Default = time.Minute
	if _, err := cluster.Restore(r); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("a record that keeps a minute was restored: %v", err)
	}
}
