package cluster_test

import (
	"context"
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestDamagedReplicasAreMadeAnewInPlace(t *testing.T) {
	w := trio(t)
	n := w.nodes[worker2]
	before := w.newest()
	damaged := []cluster.Group{cluster.ShardGroup(3), cluster.ShardGroup(5)}
	for _, group := range damaged {
		n.damage(group)
	}
	w.turns(4) // a report, and what follows it
	after := w.quiet()
	if got := len(after.ShardsOn(n.node().ID())); got != 8 {
		t.Fatalf("worker-2 is placed in %d shards, want 8", got)
	}
	for _, id := range after.ShardsOn(n.node().ID()) {
		group := cluster.ShardGroup(id)
		old, _ := before.Shard(group.Shard).On(n.node().ID())
		now, _ := after.Shard(group.Shard).On(n.node().ID())
		if slices.Contains(damaged, group) != (now.ID != old.ID) {
			t.Errorf("%s: replica %d became %d", group, old.ID, now.ID)
		}
		if n.replicas[group] != now.ID || w.holder(group, now.ID) != n {
			t.Errorf("%s: worker-2 holds replica %d, want %d in order", group, n.replicas[group], now.ID)
		}
		members := w.groups[group].members
		if at := slices.IndexFunc(members, func(m cluster.Member) bool { return m.ID == now.ID }); at < 0 || members[at].Learner || len(members) != 3 {
			t.Errorf("%s: members %+v, want replica %d among three voters", group, members, now.ID)
		}
		if after.Shard(group.Shard).Epoch > before.Shard(group.Shard).Epoch+1 {
			t.Errorf("%s was placed anew %d times", group, after.Shard(group.Shard).Epoch-before.Shard(group.Shard).Epoch)
		}
	}
}

func TestALateReportOfDamageMovesNothing(t *testing.T) {
	w := trio(t)
	n := w.nodes[worker2]
	group := cluster.ShardGroup(3)
	late := outbound.NodeReport{
		Node: n.node().ID(), Incarnation: n.incarnation, Address: n.name,
		Damaged: []outbound.DamagedReplica{{Group: group, Epoch: w.newest().Shard(3).Epoch}},
	}
	n.damage(group)
	w.turns(4)
	healed := w.quiet().Shard(3)
	if healed.Epoch == late.Damaged[0].Epoch {
		t.Fatal("the damaged replica was not replaced")
	}
	director := w.nodes[control].director
	for _, damaged := range []outbound.DamagedReplica{
		late.Damaged[0], {Group: cluster.ShardGroup(99)}, {Group: group, Epoch: healed.Epoch + 1},
	} {
		late.Damaged = []outbound.DamagedReplica{damaged}
		if _, err := director.Report(context.Background(), late); err != nil {
			t.Fatal(err)
		}
		if now := w.newest().Shard(3); !now.Settled || now.Epoch != healed.Epoch {
			t.Errorf("after %+v the placement is %+v, want %+v", damaged, now, healed)
		}
	}
}

func TestTheOnlyReplicaStaysThoughDamaged(t *testing.T) {
	w := newWorld(t)
	n := w.start(control, cluster.Control)
	before := w.quiet()
	for _, group := range []cluster.Group{cluster.MetaGroup(), cluster.ShardGroup(3)} {
		_, err := n.director.Report(context.Background(), outbound.NodeReport{
			Node: n.node().ID(), Incarnation: n.incarnation, Address: n.name,
			Damaged: []outbound.DamagedReplica{{Group: group, Epoch: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if after := w.newest(); after.Epoch() != before.Epoch() {
		t.Errorf("the state went from epoch %d to %d", before.Epoch(), after.Epoch())
	}
}
