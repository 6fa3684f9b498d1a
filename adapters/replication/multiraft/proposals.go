package multiraft

import (
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Why a proposal is refused before it enters the log.
var (
	errQueueFull = fault.New(fault.Exhausted, "proposal_queue_full",
		"too many writes wait for this shard; try again later").WithRetryAfter(time.Second)
	errCommandTooLarge = fault.New(fault.TooLarge, "command_too_large",
		"the write is too large for one shard; send smaller batches")
)

// proposals are a leader's commands on their way: waiting to be put into an entry, proposed to raft but
// not yet seen in the log, in the log at a known index.
type proposals struct {
	waiting      []waitingProposal
	waitingBytes int
	proposed     []batch // in raft's hands, in the order of their entries
	logged       []batch // in the log, ascending
	committed    int     // how many of logged are committed

	uncommittedBytes int
	commands         [][]byte // scratch of one batch
}

type waitingProposal struct {
	ticket   Ticket
	command  []byte
	deadline time.Duration
}

// batch is one entry made of proposals.
type batch struct {
	tickets []Ticket
	index   uint64
	term    uint64
	bytes   int
}

// uncommitted is the number of entries proposed and not yet committed.
func (p *proposals) uncommitted() int { return len(p.proposed) + len(p.logged) - p.committed }

func (r *Replica) propose(e Propose, out *Effects) {
	p := &r.proposals
	var refused error
	switch {
	case r.role != raft.StateLeader:
		refused = outbound.ErrNotProposed
	case len(e.Command) > r.limits.CommandBytesMax:
		refused = errCommandTooLarge.WithDetail("limit", r.limits.CommandBytesMax)
	case len(p.waiting) >= r.limits.ProposalsWaitingMax, p.waitingBytes+len(e.Command) > r.limits.ProposalsWaitingBytesMax:
		refused = errQueueFull
	}
	if refused != nil {
		out.Done = append(out.Done, ProposalDone{Ticket: e.Ticket, Err: refused})
		return
	}
	p.waiting = append(p.waiting, waitingProposal{ticket: e.Ticket, command: e.Command, deadline: e.Deadline})
	p.waitingBytes += len(e.Command)
}

// proposeWaiting makes entries of what waits, while few enough are under way. When all that came while
// those were written becomes one entry, batches grow with the load and nothing waits when idle.
func (r *Replica) proposeWaiting(out *Effects) {
	p := &r.proposals
	for r.settled && len(p.waiting) > 0 && p.uncommitted() < r.limits.EntriesInFlightMax &&
		(p.uncommitted() == 0 || p.uncommittedBytes < r.limits.UncommittedBytesMax) {
		b := r.takeBatch(out)
		if len(b.tickets) == 0 {
			continue
		}
		stamp := r.logTime.base + (r.now - r.logTime.since)
		data := appendEnvelope(make([]byte, 0, envelopeBytesMax(len(p.commands), b.bytes)), stamp, p.commands)
		clear(p.commands)
		if err := r.node.Propose(data); err != nil {
			// Dropped: leadership is being handed over or was just lost.
			r.refuse(b.tickets, outbound.ErrNotProposed, out)
			continue
		}
		p.proposed = append(p.proposed, b)
		p.uncommittedBytes += b.bytes
		out.Batches = append(out.Batches, Batch{Commands: len(b.tickets), Bytes: b.bytes})
	}
}

// takeBatch moves the proposals of one entry from waiting to p.commands, and answers those that are late.
func (r *Replica) takeBatch(out *Effects) batch {
	p := &r.proposals
	p.commands = p.commands[:0]
	b := batch{term: r.term}
	n := 0
	for ; n < len(p.waiting) && len(b.tickets) < r.limits.EntryCommandsMax; n++ {
		w := &p.waiting[n]
		if len(b.tickets) > 0 && b.bytes+len(w.command) > r.limits.EntryBytesMax {
			break
		}
		p.waitingBytes -= len(w.command)
		if w.deadline != 0 && w.deadline <= r.now {
			out.Done = append(out.Done, ProposalDone{Ticket: w.ticket, Err: outbound.ErrNotProposed})
			continue
		}
		b.tickets = append(b.tickets, w.ticket)
		b.bytes += len(w.command)
		p.commands = append(p.commands, w.command)
	}
	clear(p.waiting[:n])
	p.waiting = p.waiting[n:]
	return b
}

// matchProposed finds the indexes of proposed entries: raft appends them in the order of their
// proposals, at this leader's term, between its own empty and membership entries.
func (r *Replica) matchProposed(entries []*raftpb.Entry, out *Effects) {
	p := &r.proposals
	for _, e := range entries {
		if e.GetTerm() != r.term || len(e.GetData()) == 0 || r.role != raft.StateLeader {
			continue
		}
		if e.GetType() != raftpb.EntryNormal {
			r.change.logged = r.change.logged || r.change.is(e)
			continue
		}
		if len(p.proposed) == 0 {
			panic(fmt.Sprintf("entry %d of term %d of %s was proposed by nobody", e.GetIndex(), e.GetTerm(), r.group))
		}
		b := p.proposed[0]
		p.proposed = p.proposed[1:]
		b.index = e.GetIndex()
		p.logged = append(p.logged, b)
	}
	if r.change.active && !r.change.logged {
		// Raft put an empty entry in its place.
		r.finishChange(errChangePending, out)
	}
}

// noteCommitted counts the entries up to index as committed.
func (p *proposals) noteCommitted(index uint64) {
	for p.committed < len(p.logged) && p.logged[p.committed].index <= index {
		p.uncommittedBytes -= p.logged[p.committed].bytes
		p.committed++
	}
}

// answerProposed gives the outcomes of an applied entry to who proposed its commands, if it was here and
// is still asking.
func (r *Replica) answerProposed(e *inbound.Entry, outcomes [][]byte, out *Effects) {
	p := &r.proposals
	if len(p.logged) == 0 || p.logged[0].index != e.Index {
		return
	}
	b := p.logged[0]
	p.logged[0] = batch{}
	p.logged = p.logged[1:]
	p.committed--
	if b.term != e.Term || len(b.tickets) != len(outcomes) {
		r.refuse(b.tickets, outbound.ErrAmbiguous, out)
		return
	}
	for i, t := range b.tickets {
		out.Done = append(out.Done, ProposalDone{Ticket: t, Outcome: outcomes[i]})
	}
}

// abandonProposals answers everything under way when leadership is lost: a later leader decides what
// becomes of it.
func (r *Replica) abandonProposals(out *Effects) {
	p := &r.proposals
	for _, b := range p.logged {
		r.refuse(b.tickets, outbound.ErrAmbiguous, out)
	}
	for _, b := range p.proposed {
		r.refuse(b.tickets, outbound.ErrAmbiguous, out)
	}
	for _, w := range p.waiting {
		out.Done = append(out.Done, ProposalDone{Ticket: w.ticket, Err: outbound.ErrNotProposed})
	}
	*p = proposals{}
	if r.change.active {
		r.finishChange(outbound.ErrAmbiguous, out)
	}
}

func (r *Replica) refuse(tickets []Ticket, err error, out *Effects) {
	for _, t := range tickets {
		out.Done = append(out.Done, ProposalDone{Ticket: t, Err: err})
	}
}

// expireProposals gives up what waited past its deadline.
func (r *Replica) expireProposals(out *Effects) {
	p := &r.proposals
	kept := p.waiting[:0]
	for _, w := range p.waiting {
		if w.deadline == 0 || w.deadline > r.now {
			kept = append(kept, w)
			continue
		}
		p.waitingBytes -= len(w.command)
		out.Done = append(out.Done, ProposalDone{Ticket: w.ticket, Err: outbound.ErrNotProposed})
	}
	clear(p.waiting[len(kept):])
	p.waiting = kept
}
