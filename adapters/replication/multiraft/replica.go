package multiraft

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Ticks of raft's logical clock. Production ticks every TickInterval, so an election takes one to two
// seconds and a leader is missed after one.
const (
	TickInterval   = 100 * time.Millisecond
	heartbeatTicks = 2
	electionTicks  = 10
)

const messagesInFlightMax = 256

// ReplicaConfig says which replica to build and from what. Limits and Logger may be left zero.
type ReplicaConfig struct {
	Group GroupID
	Log   Log
	// Recovery is what Recover found, after its Write became durable.
	Recovery Recovery
	// ReadNonce makes read contexts unlike those of earlier runs of the same replica, whose answers
	// may still be under way; random in production, from the seed in a simulation.
	ReadNonce uint64
	Limits    Limits
	Logger    raft.Logger // nil: silent, but for panics
}

// AppliedPoint is what a state machine knows of the log it contains.
type AppliedPoint struct {
	LogPoint
	LogTime    time.Duration
	Membership []byte // marshalled ConfState as of Index; nil when no change was applied yet
}

// Status is what is known of a replica, without asking anyone.
type Status struct {
	Leader  uint64 // replica id of the leader, 0 when none is known
	Leads   bool   // this replica leads
	Settled bool   // it leads and has applied an entry of its own term: it takes writes and reads
	Solo    bool   // Settled, and the only voter
	Voter   bool   // this replica votes, in the configuration that it has applied
	Term    uint64
	Commit  uint64
	Applied uint64
}

// Replica is one group's replica here: a raft.RawNode and what surrounds it, as a deterministic function
// of the events it is given. It starts no goroutine, reads no clock and does no I/O but reading old
// entries from the Log. It is not safe for concurrent use.
type Replica struct {
	group  GroupID
	id     uint64
	limits Limits
	node   *raft.RawNode
	view   *view

	now       time.Duration
	role      raft.StateType
	leader    uint64
	term      uint64
	commit    uint64
	applied   uint64
	settled   bool
	leaderAge time.Duration            // when the group was last seen with a leader
	heard     map[uint64]time.Duration // when other replicas were last heard

	// logTime is the replicated clock. A settled leader stamps base plus what passed since.
	logTime struct {
		seen        time.Duration // largest in the entries handed to the state machine
		base, since time.Duration
	}
	confState *raftpb.ConfState
	confIndex uint64 // of the entry that brought confState about, or later
	// confKnown is by when this leader's followers know that confState is committed: who has the entry
	// at index got it in a message that said so. It holds for the term only.
	confKnown LogPoint
	hardState struct {
		waiting    *raftpb.HardState // newest that no write took along yet
		vital      bool              // its term or vote is not on its way to the log yet
		term, vote uint64            // of the newest, waiting or written
	}
	proposals proposals
	reads     reads
	change    change
	snapshots snapshots
}

// NewReplica builds a replica from what recovery found. It must be stepped once, without events, for it
// to start.
func NewReplica(c ReplicaConfig) (_ *Replica, err error) {
	defer func() { rethrowUnlessLogFailure(recover(), &err) }()
	rec := c.Recovery
	if rec.NeedsSnapshot {
		return nil, fault.Newf(fault.Corrupt, "snapshot_needed",
			"the log of %s starts at %d but its state ends at %d; it needs a snapshot", c.Group, rec.Stored.First(), rec.Applied.Index)
	}
	if err := c.Limits.fill(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = quietLogger{}
	}
	confState, err := unmarshalConfState(rec.Applied.Membership)
	if err != nil {
		return nil, err
	}
	r := &Replica{
		group: c.Group, id: rec.Stored.Identity.ReplicaID, limits: c.Limits, confState: confState,
		term: rec.Stored.HardState.GetTerm(), commit: rec.Stored.HardState.GetCommit(), applied: rec.Applied.Index,
		heard: map[uint64]time.Duration{},
	}
	r.confIndex = rec.Applied.Index
	r.logTime.seen = rec.Applied.LogTime
	r.hardState.term, r.hardState.vote = r.term, rec.Stored.HardState.GetVote()
	r.reads.nonce = c.ReadNonce
	r.view = &view{
		log: c.Log, group: c.Group, hardState: rec.Stored.HardState, confState: confState,
		truncated: rec.Stored.Truncated, last: rec.Stored.Last, bytesMax: c.Limits.CacheBytesMax, snapshot: r.offerSnapshot,
	}
	r.node, err = raft.NewRawNode(r.raftConfig(c.Logger))
	if err != nil {
		return nil, fmt.Errorf("start raft of %s: %w", c.Group, err)
	}
	return r, nil
}

func (r *Replica) raftConfig(logger raft.Logger) *raft.Config {
	return &raft.Config{
		ID: r.id, Storage: r.view, Applied: r.applied, Logger: logger,
		ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks,
		AsyncStorageWrites: true, CheckQuorum: true, PreVote: true, StepDownOnRemoval: true,
		DisableProposalForwarding: true, ReadOnlyOption: raft.ReadOnlySafe,
		MaxInflightMsgs:          messagesInFlightMax,
		MaxInflightBytes:         uint64(r.limits.InflightBytesMax),
		MaxSizePerMsg:            uint64(r.limits.MessageBytesMax),
		MaxCommittedSizePerReady: uint64(r.limits.ApplyBytesMax),
		// A safety net: proposals wait for their turn below UncommittedBytesMax, except the one that
		// alone exceeds it.
		MaxUncommittedEntriesSize: uint64(2 * (r.limits.UncommittedBytesMax + r.limits.CommandBytesMax)),
	}
}

// ID returns the replica's Raft id.
func (r *Replica) ID() uint64 { return r.id }

// Status returns what the replica knew at the end of the last Step.
func (r *Replica) Status() Status {
	return Status{
		Leader: r.leader, Leads: r.role == raft.StateLeader, Settled: r.settled, Solo: r.settled && r.solo(), Voter: slices.Contains(r.confState.GetVoters(), r.id),
		Term: r.term, Commit: r.commit, Applied: r.applied,
	}
}

// Step takes events that happened, in order, at now (a monotonic clock), and adds to out what is to be
// done about them. Events that are ready together belong into one Step: their proposals become one
// entry and their reads one confirmation. An error is fatal for the node: the log cannot be read, or
// holds what no leader wrote.
func (r *Replica) Step(now time.Duration, events []Event, out *Effects) (err error) {
	defer func() { rethrowUnlessLogFailure(recover(), &err) }()
	r.now = max(r.now, now)
	if r.leaderAge == 0 {
		r.leaderAge = r.now
	}
	for _, event := range events {
		if err := r.take(event, out); err != nil {
			return err
		}
	}
	if r.role == raft.StateFollower && r.leader == raft.None && r.solo() {
		// The only voter need not wait for others to speak up. Raft refuses while a committed
		// configuration change is unapplied; the next Step tries again.
		if err := r.node.Campaign(); err != nil {
			return fmt.Errorf("campaign for %s: %w", r.group, err)
		}
	}
	for {
		r.proposeWaiting(out)
		r.requestReads()
		if !r.node.HasReady() {
			out.WantSnapshot = out.WantSnapshot || r.snapshots.wanted
			r.snapshots.wanted = false
			return nil
		}
		if err := r.collect(out); err != nil {
			return err
		}
	}
}

func (r *Replica) take(event Event, out *Effects) error {
	switch e := event.(type) {
	case Tick:
		r.tick(e.Count, out)
	case Receive:
		r.receive(e.Message, out)
	case Propose:
		r.propose(e, out)
	case Read:
		r.read(e, out)
	case Appended:
		r.appended(e.Append, out)
	case Applied:
		return r.entriesApplied(e, out)
	case Durable:
		r.truncate(e.Index, out)
	case TransferLeader:
		r.transfer(e.To)
	case ChangeMembership:
		r.changeMembership(e, out)
	case SnapshotMade:
		r.snapshotMade(e.Snapshot)
	case SnapshotFetched:
		if r.snapshots.installing == nil {
			r.step(e.Message)
		}
	case SnapshotInstalled:
		r.snapshotInstalled(e, out)
	case SnapshotSent:
		r.snapshotSent(e)
	case Unreachable:
		r.node.ReportUnreachable(e.Replica)
	default:
		return fault.Newf(fault.Internal, "unknown_event", "%T is no event of a replica", event)
	}
	return nil
}

func (r *Replica) tick(count int, out *Effects) {
	for range count {
		r.node.Tick()
	}
	r.expireProposals(out)
	r.reviewReads(count, out)
	r.repeatSnapshots(count)
}

// receive takes a message of another replica. One for an earlier replica of the group here is dropped.
func (r *Replica) receive(m *raftpb.Message, out *Effects) {
	from := m.GetFrom()
	if m.GetTo() != r.id || from == r.id || from == raft.None || raft.IsLocalMsgTarget(from) {
		return
	}
	r.heard[from] = r.now
	switch m.GetType() {
	case raftpb.MsgProp:
		// Only this replica's own proposals may enter its log: their answers are found by order.
	case raftpb.MsgReadIndex:
		// A leader that has not applied an entry of its own term may not know all that was
		// committed before it. Raft itself lets a single voter answer; the asker will ask again.
		if r.role != raft.StateLeader || r.settled {
			r.step(m)
		}
	case raftpb.MsgSnap:
		r.receiveSnapshot(m, out)
	default:
		r.step(m)
	}
}

// step gives raft a message. It refuses local types from the network and answers of unknown replicas,
// both of which are to be ignored.
func (r *Replica) step(m *raftpb.Message) {
	err := r.node.Step(m)
	if err != nil && !errors.Is(err, raft.ErrProposalDropped) && !errors.Is(err, raft.ErrStepLocalMsg) &&
		!errors.Is(err, raft.ErrStepPeerNotFound) {
		panic(fmt.Sprintf("raft of %s refuses %s: %v", r.group, m.GetType(), err))
	}
}

// solo tells whether this replica is the group's only voter.
func (r *Replica) solo() bool {
	return len(r.confState.GetVoters()) == 1 && r.confState.GetVoters()[0] == r.id && len(r.confState.GetVotersOutgoing()) == 0
}
