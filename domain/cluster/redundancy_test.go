package cluster_test

import (
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

func silent(names ...string) func(cluster.NodeID) bool {
	return func(id cluster.NodeID) bool { return slices.Contains(names, id.String()) }
}

func TestRedundancy(t *testing.T) {
	s := mustFound(t, 1, 3, mustNode(t, "a", cluster.Worker, 1), mustNode(t, "b", cluster.Worker, 2), mustNode(t, "c", cluster.Worker, 3))
	f := func(when string, silent func(cluster.NodeID) bool, under, lost bool) {
		t.Helper()
		if got := len(s.UnderReplicated(silent)) == 1; got != under {
			t.Errorf("%s: under-replicated %v, want %v", when, got, under)
		}
		if got := len(s.WithoutMajority(silent)) == 1; got != lost {
			t.Errorf("%s: without majority %v, want %v", when, got, lost)
		}
	}
	f("all live", silent(), false, false)
	f("one silent", silent("b"), true, false)
	f("two silent", silent("a", "b"), true, true)
	if err := s.AddNode(mustNode(t, "d", cluster.Worker, 4)); err != nil {
		t.Fatal(err)
	}
	apply := func(m cluster.Move) {
		t.Helper()
		m.Group, m.Epoch = cluster.ShardGroup(0), s.Shard(0).Epoch
		if err := s.Apply(m); err != nil {
			t.Fatal(err)
		}
	}
	apply(cluster.Move{From: mustID(t, "c"), To: mustID(t, "d")})
	f("moving away from a living node", silent(), false, false)
	f("moving away from a silent node", silent("c"), true, false)
	if err := s.Settle(cluster.ShardGroup(0), s.Shard(0).Epoch); err != nil {
		t.Fatal(err)
	}
	f("moved", silent("c"), false, false)
	for _, name := range []string{"c", "d"} {
		if err := s.SetDraining(mustID(t, name), true); err != nil {
			t.Fatal(err)
		}
	}
	f("two nodes stay", silent(), false, false)
	apply(cluster.Move{From: mustID(t, "d")})
	f("the third goes", silent(), false, false)
	f("and another is silent", silent("a"), true, false)
}

func TestANodeStaysWhileItsReplicaDeparts(t *testing.T) {
	s := mustFound(t, 1, 1, mustNode(t, "a", cluster.Worker, 1), mustNode(t, "b", cluster.Worker, 2))
	from := s.Shard(0).Replicas[0].Node
	to := mustID(t, "a")
	if from == to {
		to = mustID(t, "b")
	}
	if err := s.Apply(cluster.Move{Group: cluster.ShardGroup(shard.ID(0)), From: from, To: to, Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	if got := s.Holding(from); got != 2 { // the departing replica and the meta group's
		t.Errorf("holding %d, want 2", got)
	}
	if err := s.RemoveNode(from); fault.From(err).Code() != "node_not_empty" {
		t.Errorf("RemoveNode=%v, want node_not_empty", err)
	}
}
