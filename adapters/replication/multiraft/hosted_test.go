package multiraft

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// metaList is a meta state machine that lists its commands.
type metaList struct{ *listApplier }

func (m metaList) ApplyMeta(ctx context.Context, entries []inbound.Entry) ([][]byte, error) {
	return m.Apply(ctx, 999, entries)
}

func TestReplicasComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(1)
		rig.run(t, cfg)
		rig.serving(t)
		more := ShardConfig{Shard: 5, ReplicaID: 3, Founders: []uint64{3}}
		if err := rig.node.Add(more); err != nil {
			t.Fatal(err)
		}
		if err := rig.node.Add(more); fault.KindOf(err) != fault.Conflict {
			t.Fatalf("added twice: %v, want Conflict", err)
		}
		synctest.Wait()
		for _, id := range []shard.ID{0, 5} {
			if _, err := rig.node.Propose(t.Context(), id, []byte("x")); err != nil {
				t.Fatalf("shard %d: %v", id, err)
			}
		}
		rig.node.Remove(GroupOf(5))
		rig.node.Remove(GroupOf(5))
		if _, err := rig.node.Propose(t.Context(), 5, []byte("y")); !errors.Is(err, outbound.ErrNotProposed) {
			t.Fatalf("proposal to a removed shard: %v", err)
		}
		if got := len(rig.node.Shards()); got != 1 {
			t.Fatalf("%d shards, want 1", got)
		}
		more.Applied = rig.applier.state[5] // what it had is stored, so it can come back
		if err := rig.node.Add(more); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := rig.node.Propose(t.Context(), 5, []byte("z")); err != nil {
			t.Fatal(err)
		}
		if got := rig.applier.list(5); !slices.Equal(got, []string{"x", "z"}) {
			t.Fatalf("shard 5 has %q", got)
		}
		rig.close(t)
	})
}

func TestRemoveWaitsAndAnswersAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(2)
		rig.run(t, cfg)
		rig.serving(t)
		gate := make(chan struct{})
		rig.log.gate = gate
		answered, removed := make(chan error, 1), make(chan struct{})
		go func() {
			_, err := rig.node.Propose(t.Context(), 1, []byte("x"))
			answered <- err
		}()
		synctest.Wait() // the write is under way
		go func() {
			rig.node.Remove(GroupOf(1))
			close(removed)
		}()
		if err := <-answered; !errors.Is(err, outbound.ErrAmbiguous) {
			t.Fatalf("err=%v, want ErrAmbiguous", err)
		}
		select {
		case <-removed:
			t.Fatal("removed while its write is under way")
		default:
		}
		close(gate)
		<-removed
		if _, err := rig.node.Propose(t.Context(), 0, []byte("x")); err != nil {
			t.Fatalf("the other shard: %v", err)
		}
		rig.close(t)
	})
}

func TestMetaGroupRunsBesideShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(1)
		machine := metaList{newListApplier()}
		cfg.Meta = &MetaConfig{ReplicaID: 1, Founders: []uint64{1}, Applier: machine}
		rig.run(t, cfg)
		rig.serving(t)
		synctest.Wait()
		if !rig.node.LeadsMeta() || len(rig.node.Shards()) != 1 {
			t.Fatalf("leads meta: %v, shards: %v", rig.node.LeadsMeta(), rig.node.Shards())
		}
		outcome, err := rig.node.ProposeMeta(t.Context(), []byte("c"))
		if err != nil || string(outcome) != "did c" {
			t.Fatalf("outcome %q, %v", outcome, err)
		}
		if c, leads := rig.node.Configuration(cluster.MetaGroup()); !leads || len(c.Members) != 1 || !c.Members[0].CaughtUp {
			t.Fatalf("configuration %+v, %v", c, leads)
		}
		rig.node.DurableMeta(machine.state[999].Index)
		synctest.Wait()
		if got := rig.log.mu.groups[MetaGroup].state.Truncated.Index; got != machine.state[999].Index {
			t.Fatalf("truncated to %d, want %d", got, machine.state[999].Index)
		}
		rig.node.Remove(MetaGroup)
		if _, err := rig.node.ProposeMeta(t.Context(), nil); rig.node.LeadsMeta() || !errors.Is(err, outbound.ErrNotProposed) {
			t.Fatalf("meta group after its removal: %v", err)
		}
		if err := rig.node.AddMeta(*cfg.Meta); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("meta group without its state, behind its log: %v, want Corrupt", err)
		}
		rig.close(t)
	})
}
