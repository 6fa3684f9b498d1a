package multiraft

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// collect turns one Ready into effects.
func (r *Replica) collect(out *Effects) error {
	ready := r.node.Ready()
	r.noteState(ready, out)
	r.matchProposed(ready.Entries, out)
	for _, s := range ready.ReadStates {
		r.readConfirmed(s, out)
	}
	for _, m := range ready.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			r.emitAppend(m, out)
		case raft.LocalApplyThread:
			if err := r.emitApply(m, out); err != nil {
				return err
			}
		default:
			out.Send = append(out.Send, m)
		}
	}
	return nil
}

// noteState follows leader, term and commit index.
func (r *Replica) noteState(ready raft.Ready, out *Effects) {
	role, leader, term := r.role, r.leader, r.term
	if s := ready.SoftState; s != nil {
		role, leader = s.RaftState, s.Lead
	}
	if h := ready.HardState; !raft.IsEmptyHardState(h) {
		term, r.commit = h.GetTerm(), h.GetCommit()
	}
	if leader != raft.None || r.leader != raft.None {
		r.leaderAge = r.now
	}
	if role == r.role && leader == r.leader && term == r.term {
		return
	}
	changed := leader != r.leader || term != r.term
	lost := r.role == raft.StateLeader && (role != raft.StateLeader || term != r.term)
	r.role, r.leader, r.term = role, leader, term
	if changed {
		out.Leader = &LeaderChanged{Leader: leader, Term: term, Here: role == raft.StateLeader}
		r.repeatReads()
	}
	if lost {
		r.settled = false
		r.abandonProposals(out)
	}
}

// emitAppend turns a MsgStorageAppend into an Append. A HardState that only advanced the commit index
// needs no write of its own (recovery makes up for a lost one): it goes along with the next write.
func (r *Replica) emitAppend(m *raftpb.Message, out *Effects) {
	h := &r.hardState
	if m.Term != nil {
		h.waiting = &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		h.vital = h.vital || m.GetTerm() != h.term || m.GetVote() != h.vote
		h.term, h.vote = m.GetTerm(), m.GetVote()
	}
	a := &Append{Write: LogWrite{Group: r.group, Entries: m.GetEntries()}, responses: m.GetResponses()}
	if s := m.GetSnapshot(); !raft.IsEmptySnap(s) {
		r.resetToSnapshot(s, a)
	}
	if len(a.responses) == 0 && len(a.Write.Entries) == 0 && a.install == nil {
		return
	}
	if h.vital || len(a.Write.Entries) > 0 || a.install != nil {
		r.takeHardState(a)
	}
	r.view.append(a.Write.Entries)
	out.Appends = append(out.Appends, a)
}

// takeHardState makes the newest HardState part of a write that is made anyway.
func (r *Replica) takeHardState(a *Append) {
	a.Write.HardState = r.hardState.waiting
	r.hardState.waiting, r.hardState.vital = nil, false
}

// appended delivers what waited for a write: raft's own responses to raft, the others to their replicas.
func (r *Replica) appended(a *Append, out *Effects) {
	if a.install != nil {
		a.install.responses = a.responses
		a.install.started = true
		out.Install = a.install
		return
	}
	if i := r.snapshots.installing; i != nil && i.started {
		// The answer to the snapshot comes first.
		i.responses = append(i.responses, a.responses...)
		return
	}
	r.deliver(a.responses, out)
}

func (r *Replica) deliver(responses []*raftpb.Message, out *Effects) {
	for _, m := range responses {
		if m.GetTo() == r.id {
			r.step(m)
		} else {
			out.Send = append(out.Send, m)
		}
	}
}

// emitApply turns a MsgStorageApply into an Apply.
func (r *Replica) emitApply(m *raftpb.Message, out *Effects) error {
	a := &Apply{Entries: make([]inbound.Entry, len(m.GetEntries())), responses: m.GetResponses()}
	for i, e := range m.GetEntries() {
		entry := &a.Entries[i]
		entry.Index, entry.Term = e.GetIndex(), e.GetTerm()
		var err error
		switch {
		case e.GetType() != raftpb.EntryNormal:
			err = r.applyMembership(e, entry, a, out)
		case len(e.GetData()) > 0:
			entry.LogTime, entry.Commands, err = parseEnvelope(e.GetData())
		}
		if err != nil {
			return fault.From(err).WithDetail("group", r.group.String()).WithDetail("index", entry.Index)
		}
		r.logTime.seen = max(r.logTime.seen, entry.LogTime)
		entry.LogTime = r.logTime.seen
	}
	r.proposals.noteCommitted(a.Entries[len(a.Entries)-1].Index)
	out.Applies = append(out.Applies, a)
	return nil
}

// entriesApplied answers what waited for the entries.
func (r *Replica) entriesApplied(e Applied, out *Effects) error {
	entries, outcomes := e.Apply.Entries, e.Outcomes
	for i := range entries {
		n := len(entries[i].Commands)
		if n > len(outcomes) {
			return errOutcomes.WithDetail("group", r.group.String()).WithDetail("index", entries[i].Index)
		}
		r.answerProposed(&entries[i], outcomes[:n], out)
		outcomes = outcomes[n:]
	}
	if len(outcomes) > 0 {
		return errOutcomes.WithDetail("group", r.group.String())
	}
	for _, c := range e.Apply.changes {
		r.answerChange(c, out)
	}
	last := entries[len(entries)-1]
	r.applied = last.Index
	r.view.noteApplied(last.Index)
	r.deliver(e.Apply.responses, out)
	if r.role == raft.StateLeader && !r.settled && last.Term == r.term {
		// Everything that earlier leaders committed is applied: their log times are all seen.
		r.settled = true
		r.logTime.base, r.logTime.since = r.logTime.seen, r.now
		if r.confKnown.Term != r.term {
			// The membership was applied before this leadership began with its empty entry.
			r.confKnown = LogPoint{Index: last.Index, Term: r.term}
		}
	}
	if len(e.Apply.changes) > 0 {
		r.announceMembership()
	}
	r.answerReads(out)
	return nil
}

var errOutcomes = fault.New(fault.Internal, "outcomes_mismatch",
	"the state machine did not give one outcome for each command")
