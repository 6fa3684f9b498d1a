package cluster_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// TestPlannerConverges runs random histories of joining, losing, returning and draining nodes and
// checks that the planner comes to rest in a placement that is complete, distinct, worker-first and
// balanced within one.
func TestPlannerConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		factor := rapid.IntRange(1, 4).Draw(rt, "factor")
		count := rapid.IntRange(1, 7).Draw(rt, "nodes")
		var nodes []cluster.Node
		next := 0
		draw := func() cluster.Node {
			next++
			role := rapid.SampledFrom([]cluster.Role{cluster.Control, cluster.Worker, cluster.Worker}).Draw(rt, "role")
			return mustNode(t, fmt.Sprint("n", next), role, cluster.Incarnation(next))
		}
		for range count {
			nodes = append(nodes, draw())
		}
		s := mustFound(t, rapid.IntRange(1, 24).Draw(rt, "shards"), factor, nodes...)
		lost := map[cluster.NodeID]bool{}
		see := cluster.Observation{
			Lost: func(id cluster.NodeID) bool { return lost[id] },
		}
		for range rapid.IntRange(0, 6).Draw(rt, "steps") {
			victim := rapid.SampledFrom(s.Nodes()).Draw(rt, "victim")
			switch rapid.SampledFrom([]string{"join", "lose", "return", "drain", "undrain"}).Draw(rt, "step") {
			case "join":
				if err := s.AddNode(draw()); err != nil {
					rt.Fatal(err)
				}
			case "lose":
				lost[victim.ID()] = true
			case "return":
				delete(lost, victim.ID())
			case "drain":
				if err := s.SetDraining(victim.ID(), true); err != nil {
					rt.Fatal(err)
				}
			case "undrain":
				if err := s.SetDraining(victim.ID(), false); err != nil {
					rt.Fatal(err)
				}
			}
			converge(t, s, see)
		}
		converge(t, s, see)
		checkPlacement(rt, s, lost, factor)
		if _, err := cluster.Restore(s.Record()); err != nil {
			rt.Fatal(err)
		}
	})
}

func checkPlacement(rt *rapid.T, s *cluster.State, lost map[cluster.NodeID]bool, factor int) {
	var workers, usable int
	load := map[cluster.NodeID]int{}
	for _, n := range s.Nodes() {
		if n.Draining() || lost[n.ID()] {
			continue
		}
		usable++
		if n.Role() != cluster.Control {
			workers++
			load[n.ID()] = 0
		}
	}
	for i := range s.Blueprint().Shards.Count() {
		seen, good := map[cluster.NodeID]bool{}, 0
		for _, r := range s.Shard(shard.ID(i)).Replicas {
			if seen[r.Node] {
				rt.Fatalf("shard %d has two replicas on %s", i, r.Node)
			}
			seen[r.Node] = true
			n, ok := s.Node(r.Node)
			if !ok {
				rt.Fatalf("shard %d has a replica on the unknown node %s", i, r.Node)
			}
			if n.Draining() || lost[r.Node] {
				continue
			}
			good++
			if n.Role() != cluster.Control {
				load[r.Node]++
			} else if workers >= factor {
				rt.Fatalf("shard %d is on control node %s though there are %d workers", i, r.Node, workers)
			}
		}
		if want := min(factor, usable); good != want {
			rt.Fatalf("shard %d has %d replicas on usable nodes, want %d", i, good, want)
		}
	}
	least, most := 1<<30, 0
	for _, n := range load {
		least, most = min(least, n), max(most, n)
	}
	if len(load) > 0 && most > least+1 {
		rt.Fatalf("replicas a worker range from %d to %d", least, most)
	}
}
