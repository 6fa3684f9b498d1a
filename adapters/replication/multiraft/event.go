package multiraft

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Ticket identifies a request of the caller in the effect that answers it. The core gives it back
// unchanged and never interprets it; a caller must not use one again before it was answered.
type Ticket uint64

// Event is what happens to a replica.
type Event interface{ event() }

// Tick says that Count tick intervals have passed.
type Tick struct{ Count int }

// Receive is a message from another replica of the group. The core keeps the message.
type Receive struct{ Message *raftpb.Message }

// Propose asks to replicate a command. It is answered by exactly one ProposalDone.
type Propose struct {
	Ticket  Ticket
	Command []byte // kept until the answer; never changed
	// Deadline, on the clock of Step's now, is when a proposal that is still waiting is given up as
	// certainly not proposed; 0 means never.
	Deadline time.Duration
}

// Read asks when a read that begins now may be served here. It is answered by exactly one ReadReady.
type Read struct {
	Ticket   Ticket
	Deadline time.Duration // on the clock of Step's now; 0 means never
}

// Appended says that the write of an Append effect is durable. Appends complete in the order in which
// they were emitted.
type Appended struct{ Append *Append }

// Applied says that the entries of an Apply effect are applied. Applies complete in the order in which
// they were emitted.
type Applied struct {
	Apply *Apply
	// Outcomes holds one outcome for each command of each entry, in order.
	Outcomes [][]byte
}

// Durable says that the state machine's storage has everything up to Index on disk.
type Durable struct{ Index uint64 }

// TransferLeader asks the leader to hand leadership to another voter, after which it takes no proposals for
// an election timeout or until that is done. It is best effort: LeaderChanged tells whether it happened. To
// nobody (0) it withdraws what was asked for, so that it can be tried again at once.
type TransferLeader struct{ To uint64 }

// ChangeMembership asks the leader to change the configuration by joint consensus (Raft thesis section
// 4.3) that leaves the joint configuration by itself. It is answered by exactly one ProposalDone, when
// the first configuration entry is applied.
type ChangeMembership struct {
	Ticket  Ticket
	Changes []*raftpb.ConfChangeSingle
}

// SnapshotMade gives the core a snapshot that it may offer to followers from now on.
type SnapshotMade struct{ Snapshot Snapshot }

// SnapshotFetched says that the data of a FetchSnapshot effect is complete and durable beside the
// present state, ready to be installed without further help of other nodes.
type SnapshotFetched struct{ Message *raftpb.Message }

// SnapshotInstalled says that an InstallSnapshot effect is done: the state machine is durably at the
// snapshot, with this log time.
type SnapshotInstalled struct {
	Install *InstallSnapshot
	LogTime time.Duration
}

// SnapshotSent says how the transfer of a snapshot that was sent to a replica ended. It makes up for
// lost time only: snapshots that are not taken are offered again.
type SnapshotSent struct {
	To     uint64
	Failed bool
}

// Unreachable says that the last message to a replica was probably lost.
type Unreachable struct{ Replica uint64 }

func (Tick) event()              {}
func (Receive) event()           {}
func (Propose) event()           {}
func (Read) event()              {}
func (Appended) event()          {}
func (Applied) event()           {}
func (Durable) event()           {}
func (TransferLeader) event()    {}
func (ChangeMembership) event()  {}
func (SnapshotMade) event()      {}
func (SnapshotFetched) event()   {}
func (SnapshotInstalled) event() {}
func (SnapshotSent) event()      {}
func (Unreachable) event()       {}
