package multiraft

import (
	"context"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.Proposer      = (*Node)(nil)
	_ outbound.ReadFence     = (*Node)(nil)
	_ outbound.LogTruncator  = (*Node)(nil)
	_ outbound.ShardObserver = (*Node)(nil)
)

// errAbandoned is what callers get that still wait when the node has stopped.
var errAbandoned = outbound.ErrAmbiguous.WithCause(errStopped)

// Propose implements outbound.Proposer. Besides its errors it returns Exhausted (proposal_queue_full)
// and TooLarge (command_too_large), which mean that nothing was proposed.
func (n *Node) Propose(ctx context.Context, id shard.ID, command []byte) ([]byte, error) {
	return n.propose(ctx, GroupOf(id), command)
}

func (n *Node) propose(ctx context.Context, id GroupID, command []byte) ([]byte, error) {
	g := n.group(id)
	if g == nil || ctx.Err() != nil {
		return nil, outbound.ErrNotProposed
	}
	since := n.cfg.Clock.Monotonic()
	deadline := n.deadline(ctx, since)
	outcome, err := n.request(ctx, g, func(t Ticket) Event { return Propose{Ticket: t, Command: command, Deadline: deadline} })
	n.cfg.Observer.ProposalAnswered(g.id, n.cfg.Clock.Monotonic()-since, err)
	return outcome, err
}

// request gives a group an event that is answered by a ProposalDone, and waits for it.
func (n *Node) request(ctx context.Context, g *group, event func(Ticket) Event) ([]byte, error) {
	n.underway.Add(1)
	defer n.proposalEnded()
	if n.stopping.Load() {
		return nil, outbound.ErrNotProposed
	}
	w := &waiter{answers: make(chan answer, 1)}
	ticket := Ticket(n.tickets.Add(1))
	if !g.offer(event(ticket), ticket, w) {
		if n.stopping.Load() {
			return nil, outbound.ErrNotProposed
		}
		return nil, errQueueFull
	}
	select {
	case a := <-w.answers:
		return a.outcome, a.err
	case <-ctx.Done():
		g.forget(ticket)
		return nil, outbound.ErrAmbiguous.WithCause(context.Cause(ctx))
	}
}

func (n *Node) proposalEnded() {
	if n.underway.Add(-1) == 0 && n.stopping.Load() {
		select {
		case n.idle <- struct{}{}:
		default:
		}
	}
}

// deadlineMargin is how long before its context's end a request that still waits is given up, so that
// its caller learns that it was certainly not proposed instead of not knowing.
const deadlineMargin = 2 * TickInterval

// deadline puts a context's deadline on the cores' clock; 0 where there is none.
func (n *Node) deadline(ctx context.Context, now time.Duration) time.Duration {
	at, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := at.Sub(n.cfg.Clock.Now())
	return now + max(left-deadlineMargin, left/2)
}

// Fence implements outbound.ReadFence. For a shard whose only voter leads here it asks nobody: what was
// acknowledged was applied here before, and no other replica could have acknowledged anything.
func (n *Node) Fence(ctx context.Context, shards []shard.ID) error {
	var asked []*group
	groups := n.hosted.Load().byID
	for _, id := range shards {
		g := groups[GroupOf(id)]
		if g == nil {
			return noReadLeader([]shard.ID{id}, nil)
		}
		if !g.solo.Load() {
			asked = append(asked, g)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	return n.fence(ctx, asked)
}

func (n *Node) fence(ctx context.Context, asked []*group) error {
	if n.stopping.Load() {
		return noReadLeader(shardsOf(asked), errStopped)
	}
	now := n.cfg.Clock.Monotonic()
	deadline := n.deadline(ctx, now)
	w := &waiter{answers: make(chan answer, len(asked))}
	first := Ticket(n.tickets.Add(uint64(len(asked)))) - Ticket(len(asked)) + 1
	waiting := make(map[GroupID]Ticket, len(asked))
	defer func() {
		for _, g := range asked {
			if t, open := waiting[g.id]; open {
				g.forget(t)
			}
		}
	}()
	var failed []shard.ID
	var cause error
	for i, g := range asked {
		t := first + Ticket(i)
		if !g.offer(Read{Ticket: t, Deadline: deadline}, t, w) {
			if n.stopping.Load() {
				return noReadLeader(shardsOf(asked), errStopped)
			}
			return errReadsFull
		}
		waiting[g.id] = t
	}
	for len(waiting) > 0 {
		select {
		case a := <-w.answers:
			delete(waiting, a.group)
			if a.err != nil {
				id, _ := a.group.Shard()
				failed, cause = append(failed, id), a.err
			} else if g := n.group(a.group); g != nil {
				g.confirm(now)
			}
		case <-ctx.Done():
			for _, g := range asked {
				if _, open := waiting[g.id]; open {
					failed = append(failed, shardOf(g))
				}
			}
			return noReadLeader(failed, context.Cause(ctx))
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case fault.KindOf(cause) == fault.Exhausted:
		return cause
	}
	return noReadLeader(failed, cause)
}

func shardsOf(groups []*group) []shard.ID {
	ids := make([]shard.ID, len(groups))
	for i, g := range groups {
		ids[i] = shardOf(g)
	}
	return ids
}

func noReadLeader(shards []shard.ID, cause error) error {
	slices.Sort(shards)
	return errNoReadLeader.WithDetail("shards", shards).WithCause(cause)
}

// confirm notes that a fence begun at start has been passed.
func (g *group) confirm(start time.Duration) {
	for {
		have := g.confirmed.Load()
		if int64(start) <= have || g.confirmed.CompareAndSwap(have, int64(start)) {
			return
		}
	}
}

// Freshness implements outbound.FreshnessGauge: by the last fence that was passed here. What raft's
// messages carry would not do, for a heartbeat to a replica that lacks entries names no more than what
// that replica has.
func (n *Node) Freshness(id shard.ID) (age time.Duration, known bool) {
	g := n.group(GroupOf(id))
	if g == nil {
		return 0, false
	}
	if g.solo.Load() {
		return 0, true
	}
	at := g.confirmed.Load()
	return n.cfg.Clock.Monotonic() - time.Duration(at), at != 0
}

// Durable implements outbound.LogTruncator.
func (n *Node) Durable(id shard.ID, index uint64) {
	n.durable(GroupOf(id), index)
}

func (n *Node) durable(id GroupID, index uint64) {
	if g := n.group(id); g != nil && !n.stopping.Load() {
		g.post(Durable{Index: index})
	}
}

// Shards implements outbound.ShardObserver.
func (n *Node) Shards() []outbound.ShardStatus {
	groups := n.hosted.Load().list
	list := make([]outbound.ShardStatus, 0, len(groups))
	for _, g := range groups {
		if id, ok := g.id.Shard(); ok {
			list = append(list, g.shardStatus(id))
		}
	}
	return list
}

// Shard implements outbound.ShardLookup.
func (n *Node) Shard(id shard.ID) (outbound.ShardStatus, bool) {
	g := n.group(GroupOf(id))
	if g == nil {
		return outbound.ShardStatus{}, false
	}
	return g.shardStatus(id), true
}

func (g *group) shardStatus(id shard.ID) outbound.ShardStatus {
	s := g.known()
	return outbound.ShardStatus{
		Shard: id, Learner: !s.Voter, Leader: s.Leads, Serving: s.Leader != 0 && (s.Settled || !s.Leads),
		LeaderReplica: s.Leader, Term: s.Term, Commit: s.Commit, Applied: s.Applied,
	}
}

// Receive takes a message from another node. It keeps the message, and drops it when the group is not
// here or has too much to do.
func (n *Node) Receive(group GroupID, m *raftpb.Message) {
	if g := n.group(group); g != nil {
		g.offer(Receive{Message: m}, 0, nil)
	}
}

// Lost takes back a message that the transport could not deliver, so that the leader stops sending
// entries, or waiting for a snapshot, until the replica answers again.
func (n *Node) Lost(group GroupID, m *raftpb.Message) {
	g := n.group(group)
	if g == nil {
		return
	}
	if m.GetType() == raftpb.MsgSnap {
		g.offer(SnapshotSent{To: m.GetTo(), Failed: true}, 0, nil)
		return
	}
	g.offer(Unreachable{Replica: m.GetTo()}, 0, nil)
}
