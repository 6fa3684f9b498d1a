package multiraft

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// snapshotRepeatTicks is how often a leader offers a snapshot anew to a follower that still needs it.
const snapshotRepeatTicks = 50

// silentAfter is how long a follower may be silent before the log is not kept for it any more. (Raft's
// own note of who is active is wiped at every quorum check.)
const silentAfter = 2 * electionTicks * TickInterval

// snapshots are what is known of the group's snapshots.
type snapshots struct {
	made       Snapshot         // newest that may be offered; Index 0: none
	wanted     bool             // raft asked for one since the last Step
	age        int              // ticks since repeatSnapshots looked
	installing *InstallSnapshot // from the log's reset on until the state machine is switched
}

// offerSnapshot is raft's question for a snapshot to send to a follower that is behind the log.
func (r *Replica) offerSnapshot() (*raftpb.Snapshot, error) {
	made := &r.snapshots.made
	// A snapshot from before the newest membership may not name the follower that needs it, which
	// would then refuse it.
	if made.Index == 0 || made.Index < max(r.view.truncated.Index, r.confIndex) {
		r.snapshots.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	confState, err := unmarshalConfState(made.Membership)
	if err != nil {
		panic(logFailure{err})
	}
	return &raftpb.Snapshot{
		Data:     made.Manifest,
		Metadata: &raftpb.SnapshotMetadata{ConfState: confState, Index: new(made.Index), Term: new(made.Term)},
	}, nil
}

func (r *Replica) snapshotMade(s Snapshot) {
	if s.Index > r.snapshots.made.Index {
		r.snapshots.made = s
	}
}

// receiveSnapshot asks for the data first: raft forgets its log as soon as it is given the message, so
// the message waits until nothing of the snapshot is missing.
func (r *Replica) receiveSnapshot(m *raftpb.Message, out *Effects) {
	meta := m.GetSnapshot().GetMetadata()
	if r.snapshots.installing != nil {
		return
	}
	if m.GetTerm() < r.term || meta.GetIndex() <= r.commit {
		r.step(m) // raft answers that it has more already
		return
	}
	out.Fetch = &FetchSnapshot{Message: m}
}

// resetToSnapshot makes a the write that starts the log anew after a snapshot.
func (r *Replica) resetToSnapshot(s *raftpb.Snapshot, a *Append) {
	meta := s.GetMetadata()
	at := LogPoint{Index: meta.GetIndex(), Term: meta.GetTerm()}
	a.Write.Reset = &at
	r.view.reset(at)
	snapshot, err := snapshotOf(s)
	if err != nil {
		panic(logFailure{err})
	}
	a.install = &InstallSnapshot{Snapshot: snapshot}
	r.snapshots.installing = a.install
	r.confState, r.confIndex = meta.GetConfState(), at.Index
}

// snapshotOf reads what a snapshot message describes.
func snapshotOf(s *raftpb.Snapshot) (Snapshot, error) {
	meta := s.GetMetadata()
	membership, err := marshalConfState(meta.GetConfState())
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{Index: meta.GetIndex(), Term: meta.GetTerm(), Membership: membership, Manifest: s.GetData()}, nil
}

func (r *Replica) snapshotInstalled(e SnapshotInstalled, out *Effects) {
	r.snapshots.installing = nil
	r.applied = max(r.applied, e.Install.Snapshot.Index)
	r.logTime.seen = max(r.logTime.seen, e.LogTime)
	r.deliver(e.Install.responses, out)
	r.answerReads(out)
}

func (r *Replica) snapshotSent(e SnapshotSent) {
	status := raft.SnapshotFinish
	if e.Failed {
		status = raft.SnapshotFailure
	}
	r.node.ReportSnapshot(e.To, status)
}

// repeatSnapshots offers snapshots again: raft waits for ever when the message, the transfer or the
// news of its failure is lost. A follower that is fetching one ignores the offer.
func (r *Replica) repeatSnapshots(ticks int) {
	s := &r.snapshots
	s.age += ticks
	if s.age < snapshotRepeatTicks || r.role != raft.StateLeader || r.alone() {
		return
	}
	s.age = 0
	var waiting []uint64
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if p.State == tracker.StateSnapshot {
			waiting = append(waiting, id)
		}
	})
	for _, id := range waiting {
		r.node.ReportSnapshot(id, raft.SnapshotFailure)
	}
}

// truncate drops the log up to the durable index, less a bounded part that followers may still need.
func (r *Replica) truncate(durable uint64, out *Effects) {
	to := min(durable, r.applied)
	if !r.alone() {
		floor := to - min(to, r.limits.TrailingEntriesMax)
		to = max(floor, min(to, r.needed(floor)))
	}
	if to <= r.view.truncated.Index || to > r.view.last {
		return
	}
	term, err := r.view.Term(to)
	if err != nil {
		panic(logFailure{err})
	}
	at := LogPoint{Index: to, Term: term}
	r.view.truncate(at)
	a := &Append{Write: LogWrite{Group: r.group, Truncate: &at}}
	r.takeHardState(a)
	out.Appends = append(out.Appends, a)
}

// needed returns the least index that some live follower has, as far as the leader knows; floor where it
// knows nothing.
func (r *Replica) needed(floor uint64) uint64 {
	if r.role != raft.StateLeader {
		return floor
	}
	least := r.applied
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if heard, ever := r.heard[id]; id == r.id || !ever || r.now-heard > silentAfter {
			return
		}
		has := p.Match
		if p.State == tracker.StateSnapshot {
			has = p.PendingSnapshot
		}
		least = min(least, has)
	})
	return least
}

// alone tells whether the group has no other replica.
func (r *Replica) alone() bool { return r.solo() && len(r.confState.GetLearners()) == 0 }
