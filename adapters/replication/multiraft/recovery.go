package multiraft

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// foundingPoint is where the log of a founded group starts. It lies past 0 so that a replica with an
// empty log can never be brought up by entries alone: it needs a snapshot, and with it the
// configuration that the founders had from the start.
var foundingPoint = LogPoint{Index: 1, Term: 1}

// Found returns the write that creates a replica of a new group. Every founding replica is given the
// same membership (see Membership), and no configuration entry is ever in the log for it.
func Found(g GroupID, replicaID uint64, membership []byte) LogWrite {
	at := foundingPoint
	return LogWrite{
		Group:     g,
		Create:    &LogIdentity{ReplicaID: replicaID, Founding: membership},
		Reset:     &at,
		HardState: &raftpb.HardState{Term: new(at.Term), Vote: new(uint64(0)), Commit: new(at.Index)},
	}
}

// Join returns the write that creates a replica which joins an existing group: empty, to be brought up
// by a snapshot.
func Join(g GroupID, replicaID uint64) LogWrite {
	return LogWrite{Group: g, Create: &LogIdentity{ReplicaID: replicaID}}
}

// Recovery is how a replica starts from what log and state machine hold.
type Recovery struct {
	// Write must be durable before the replica starts, unless it IsEmpty.
	Write LogWrite
	// Stored is the log's state after Write.
	Stored LogState
	// Applied is where the state machine stands, Membership filled in.
	Applied AppliedPoint
	// NeedsSnapshot: the log starts after what the state machine has. The replica must not start (its
	// log holds votes and acknowledged entries that it must not forget) until a snapshot that reaches
	// the log was installed.
	NeedsSnapshot bool
}

// Recover decides how a group's replica starts, by rules R1 to R3 of the package's DESIGN.md. The group
// must have been created. It returns an error of kind Corrupt when log and state contradict each other.
func Recover(log Log, g GroupID, applied AppliedPoint) (Recovery, error) {
	stored, err := log.Load(g)
	if err != nil {
		return Recovery{}, fmt.Errorf("load log of %s: %w", g, err)
	}
	var termAtApplied uint64
	if i := applied.Index; i >= stored.Truncated.Index && i <= stored.Last && i > 0 {
		if termAtApplied, err = log.Term(g, i); err != nil {
			return Recovery{}, fmt.Errorf("read term %d of %s: %w", i, g, err)
		}
	}
	return recoverState(g, stored, applied, termAtApplied)
}

// recoverState is Recover without I/O. termAtApplied is the log's term at applied.Index, 0 where the log
// does not reach it.
func recoverState(g GroupID, stored LogState, applied AppliedPoint, termAtApplied uint64) (Recovery, error) {
	if stored.Identity.ReplicaID == 0 {
		return Recovery{}, fault.Newf(fault.Corrupt, "log_lost",
			"the log of %s was never created or is lost; its replica must not come back under its old id", g)
	}
	founded := len(stored.Identity.Founding) > 0
	if founded && applied.Index < foundingPoint.Index {
		// An empty state machine is the founding state.
		applied.LogPoint = foundingPoint
		applied.Membership = stored.Identity.Founding
	}
	if applied.Index > 0 && len(applied.Membership) == 0 {
		if !founded {
			return Recovery{}, fault.Newf(fault.Corrupt, "membership_lost",
				"%s has applied entries but no membership", g)
		}
		applied.Membership = stored.Identity.Founding
	}
	r := Recovery{Write: LogWrite{Group: g}, Stored: stored, Applied: applied}
	if stored.First() > applied.Index+1 { // R3
		r.NeedsSnapshot = true
		return r, nil
	}
	if c := stored.HardState.GetCommit(); c > stored.Last {
		return Recovery{}, fault.Newf(fault.Corrupt, "log_damaged",
			"the log of %s ends at %d before its commit index %d", g, stored.Last, c)
	}
	r.alignLog(termAtApplied)
	r.alignHardState()
	return r, nil
}

// alignLog is rule R2: a log that ends before the applied index, or that has another entry there, is no
// continuation of the state and starts anew after it.
func (r *Recovery) alignLog(termAtApplied uint64) {
	at := r.Applied.LogPoint
	beyondLog := r.Stored.Last < at.Index
	contradicts := at.Index > 0 && !beyondLog && at.Index != foundingPoint.Index && termAtApplied != at.Term
	if !beyondLog && !contradicts {
		return
	}
	r.Write.Reset = &at
	r.Stored.Truncated, r.Stored.Last = at, at.Index
}

// alignHardState is rule R1: HardState.Commit is not synced with every advance, so it may lie behind what
// is applied; after R2 it may lie behind the new log's start, as may the term.
func (r *Recovery) alignHardState() {
	have := r.Stored.HardState
	term, vote, commit := have.GetTerm(), have.GetVote(), have.GetCommit()
	if term < r.Applied.Term {
		term, vote = r.Applied.Term, 0
	}
	commit = max(commit, r.Applied.Index)
	if have != nil && have.GetTerm() == term && have.GetCommit() == commit {
		return
	}
	if have == nil && term == 0 && commit == 0 {
		return
	}
	hs := &raftpb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
	r.Stored.HardState = hs
	if r.Write.Reset != nil {
		// Without a reset the correction follows from what is stored and needs no write.
		r.Write.HardState = hs
	}
}

func marshalConfState(cs *raftpb.ConfState) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(cs)
	if err != nil {
		return nil, fmt.Errorf("marshal membership: %w", err)
	}
	return b, nil
}

func unmarshalConfState(b []byte) (*raftpb.ConfState, error) {
	cs := &raftpb.ConfState{}
	if err := proto.Unmarshal(b, cs); err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "membership_unreadable", "a stored membership cannot be read")
	}
	return cs, nil
}
