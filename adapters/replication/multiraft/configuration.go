package multiraft

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// caughtUpLagMax is how many entries a replica may lack and still count as caught up.
const caughtUpLagMax = 256

// Configuration returns the group's members as their leader sees them; false on any other replica.
func (r *Replica) Configuration() (cluster.Configuration, bool) {
	if !r.settled {
		return cluster.Configuration{}, false
	}
	c := cluster.Configuration{
		Leader: cluster.ReplicaID(r.id), Joint: len(r.confState.GetVotersOutgoing()) > 0 || !r.membershipKnown(),
	}
	// Raft visits the replicas in the order of their ids.
	r.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		c.Members = append(c.Members, cluster.Member{
			ID:       cluster.ReplicaID(id),
			Learner:  kind == raft.ProgressTypeLearner,
			CaughtUp: p.State == tracker.StateReplicate && p.Match+caughtUpLagMax >= r.commit,
			Active:   r.active(id),
		})
	})
	return c, true
}

// active tells whether the replica was heard from within an election timeout.
func (r *Replica) active(id uint64) bool {
	heard, ever := r.heard[id]
	return id == r.id || ever && r.now-heard <= electionTicks*TickInterval
}

// transfer carries out TransferLeader. Raft ends a transfer under way when the leader is to hand over to
// itself; a follower would pass such a wish on and be made leader.
func (r *Replica) transfer(to uint64) {
	switch {
	case to != raft.None:
		r.node.TransferLeader(to)
	case r.node.BasicStatus().RaftState == raft.StateLeader:
		r.node.TransferLeader(r.id)
	}
}

var _ outbound.GroupController = (*Node)(nil)

// Configuration implements outbound.GroupController. Who is active and caught up is as of the last tick.
func (n *Node) Configuration(group cluster.Group) (cluster.Configuration, bool) {
	g := n.of(group)
	if g == nil {
		return cluster.Configuration{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.configuration, g.mu.status.Settled
}

// Change implements outbound.GroupController. Its errors are those of Propose, and Conflict or Invalid
// where the step does not fit the configuration.
func (n *Node) Change(ctx context.Context, group cluster.Group, step cluster.Step) error {
	g := n.of(group)
	if g == nil {
		return outbound.ErrNotProposed
	}
	if step.Kind == cluster.StepTransfer {
		return g.transfer(ctx, uint64(step.Replica))
	}
	changes := changesOf(step)
	if changes == nil {
		return fault.Newf(fault.Internal, "no_step", "step %d changes nothing", step.Kind)
	}
	_, err := n.request(ctx, g, func(t Ticket) Event { return ChangeMembership{Ticket: t, Changes: changes} })
	if err != nil {
		return fmt.Errorf("change members of %s: %w", g.id, err)
	}
	return nil
}

// changesOf puts a step into raft's terms; nil when it changes nothing.
func changesOf(step cluster.Step) (changes []*raftpb.ConfChangeSingle) {
	add := func(kind raftpb.ConfChangeType, id cluster.ReplicaID) {
		changes = append(changes, &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(uint64(id))})
	}
	switch step.Kind {
	case cluster.StepAddLearner:
		add(raftpb.ConfChangeAddLearnerNode, step.Replica)
	case cluster.StepRemoveLearner:
		add(raftpb.ConfChangeRemoveNode, step.Replica)
	case cluster.StepSwap:
		for _, id := range step.Promote {
			add(raftpb.ConfChangeAddNode, id)
		}
		for _, id := range step.Remove {
			add(raftpb.ConfChangeRemoveNode, id)
		}
	case cluster.StepWait, cluster.StepSettled, cluster.StepTransfer:
		// These leave the members as they are.
	}
	return changes
}

var errNotHandedOver = fault.New(fault.Unavailable, "leadership_kept", "the replica did not take over leadership; try again")

// transfer asks to hand leadership over, and waits until this replica does not lead any more. When ctx ends
// first the wish is withdrawn: the message that makes the other one lead may be lost.
func (g *group) transfer(ctx context.Context, to uint64) error {
	g.mu.Lock()
	leads, changed := g.mu.status.Leads, g.mu.leaderChanged
	g.mu.Unlock()
	if !leads {
		return outbound.ErrNotProposed
	}
	if !g.offer(TransferLeader{To: to}, 0, nil) {
		return errQueueFull
	}
	for leads {
		select {
		case <-changed:
		case <-ctx.Done():
			g.offer(TransferLeader{}, 0, nil)
			return errors.Join(errNotHandedOver, context.Cause(ctx))
		}
		g.mu.Lock()
		leads, changed = g.mu.status.Leads, g.mu.leaderChanged
		g.mu.Unlock()
	}
	return nil
}

// of returns the group's replica here, nil when there is none.
func (n *Node) of(group cluster.Group) *group {
	if group.Meta {
		return n.group(MetaGroup)
	}
	return n.group(GroupOf(group.Shard))
}
