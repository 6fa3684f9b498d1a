package cluster_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// TestNextStepReachesThePlacement drives a model group through random placements: every step must be
// legal, voters never fall below the smaller of old and new, and the walk ends settled.
func TestNextStepReachesThePlacement(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 9), 1, 5, rapid.ID[uint64])
		var c cluster.Configuration
		for _, id := range ids.Draw(rt, "voters") {
			c.Members = append(c.Members, cluster.Member{ID: cluster.ReplicaID(id), Active: true, CaughtUp: true})
		}
		c.Leader = c.Members[0].ID
		var p cluster.Placement
		for _, id := range ids.Draw(rt, "wanted") {
			p.Replicas = append(p.Replicas, cluster.Replica{ID: cluster.ReplicaID(id)})
		}
		votersMin := min(len(c.Members), len(p.Replicas))
		for range 50 {
			step := cluster.NextStep(p, c)
			if step.Kind == cluster.StepSettled {
				checkSettled(rt, p, c)
				return
			}
			c = model(rt, c, step)
			if n := voters(c); n < votersMin {
				rt.Fatalf("%d voters after %+v, want at least %d", n, step, votersMin)
			}
		}
		rt.Fatalf("never settled: %+v", c)
	})
}

func voters(c cluster.Configuration) int {
	n := 0
	for _, m := range c.Members {
		if !m.Learner {
			n++
		}
	}
	return n
}

func checkSettled(rt *rapid.T, p cluster.Placement, c cluster.Configuration) {
	if len(c.Members) != len(p.Replicas) || voters(c) != len(c.Members) {
		rt.Fatalf("settled with %+v, want voters %+v", c.Members, p.Replicas)
	}
}

// model carries a step out as Raft would, learners catching up at the next wait.
func model(rt *rapid.T, c cluster.Configuration, step cluster.Step) cluster.Configuration {
	members := slices.Clone(c.Members)
	switch step.Kind {
	case cluster.StepWait:
		for i := range members {
			members[i].Active, members[i].CaughtUp = true, true
		}
	case cluster.StepAddLearner:
		members = append(members, cluster.Member{ID: step.Replica, Learner: true})
	case cluster.StepTransfer:
		c.Leader = step.Replica
	case cluster.StepRemoveLearner:
		members = slices.DeleteFunc(members, func(m cluster.Member) bool { return m.ID == step.Replica })
	case cluster.StepSwap:
		for i := range members {
			if slices.Contains(step.Promote, members[i].ID) {
				members[i].Learner = false
			}
		}
		members = slices.DeleteFunc(members, func(m cluster.Member) bool { return slices.Contains(step.Remove, m.ID) })
		if slices.Contains(step.Remove, c.Leader) {
			c.Leader = members[0].ID
		}
	default:
		rt.Fatalf("unexpected step %+v", step)
	}
	c.Members = members
	return c
}

func TestNextStepWaits(t *testing.T) {
	p := cluster.Placement{Replicas: []cluster.Replica{{ID: 1}, {ID: 2}}}
	behind := cluster.Configuration{Leader: 1, Members: []cluster.Member{{ID: 1, Active: true, CaughtUp: true}, {ID: 2, Learner: true, Active: true}}}
	if got := cluster.NextStep(p, behind); got.Kind != cluster.StepWait {
		t.Fatalf("step %+v with a learner behind, want to wait", got)
	}
	joint := cluster.Configuration{Leader: 1, Joint: true, Members: []cluster.Member{{ID: 1}, {ID: 3}}}
	if got := cluster.NextStep(p, joint); got.Kind != cluster.StepWait {
		t.Fatalf("step %+v in a joint configuration, want to wait", got)
	}
}

func TestADepartingReplicaStaysReachableUntilSettled(t *testing.T) {
	s := mustFound(t, 1, 2, mustNode(t, "a", cluster.Worker, 1), mustNode(t, "b", cluster.Worker, 2), mustNode(t, "c", cluster.Worker, 3))
	p := s.Shard(0)
	var spare cluster.NodeID
	for _, n := range s.Nodes() {
		if _, holds := p.On(n.ID()); !holds {
			spare = n.ID()
		}
	}
	old := p.Replicas[0]
	move := cluster.Move{Group: cluster.ShardGroup(0), From: old.Node, To: spare, Epoch: p.Epoch}
	if err := s.Apply(move); err != nil {
		t.Fatal(err)
	}
	if node, ok := s.Shard(0).Locate(old.ID); !ok || node != old.Node {
		t.Fatalf("the departing replica is on %v (%v), want %v", node, ok, old.Node)
	}
	move = cluster.Move{Group: cluster.ShardGroup(0), From: spare, To: old.Node, Epoch: p.Epoch + 1}
	if err := s.Apply(move); fault.From(err).Code() != "placement_unsettled" {
		t.Fatalf("a second move before the first settled: %v", err)
	}
	if err := s.Settle(cluster.ShardGroup(0), p.Epoch+1); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Shard(shard.ID(0)).Locate(old.ID); ok {
		t.Fatal("a settled placement still knows the departed replica")
	}
}
