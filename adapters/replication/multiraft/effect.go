package multiraft

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// Effects are what a replica wants done after a Step, in any order between the fields, in order within
// each of them. A caller may reuse the value after Reset; what it points to is the receiver's.
type Effects struct {
	// Appends go to the log, each answered by Appended, in order. Messages that must wait for the
	// write come out of the Step that takes Appended.
	Appends []*Append
	// Applies go to the state machine, each answered by Applied, in order.
	Applies []*Apply
	// Send are messages to other replicas of the group. They may be lost, repeated and reordered.
	Send []*raftpb.Message
	// Done answers Propose and ChangeMembership.
	Done []ProposalDone
	// Reads answers Read.
	Reads []ReadReady
	// Fetch, when not nil, asks for a snapshot's data from another replica.
	Fetch *FetchSnapshot
	// Install, when not nil, switches the state machine to a fetched snapshot, after every Apply
	// emitted before. The log was reset to it already.
	Install *InstallSnapshot
	// WantSnapshot asks the state machine for a snapshot, because a follower needs one that is newer
	// than the last SnapshotMade. It is asked again until there is one.
	WantSnapshot bool
	// Leader, when not nil, tells that the group's leader or term changed.
	Leader *LeaderChanged
	// MembershipChanged tells that the group has other members now.
	MembershipChanged bool
	// Batches counts what was proposed, for measurements.
	Batches []Batch
}

// Reset empties e for the next Step and keeps its memory.
func (e *Effects) Reset() {
	clear(e.Appends)
	clear(e.Applies)
	clear(e.Send)
	clear(e.Done)
	*e = Effects{
		Appends: e.Appends[:0], Applies: e.Applies[:0], Send: e.Send[:0],
		Done: e.Done[:0], Reads: e.Reads[:0], Batches: e.Batches[:0],
	}
}

// Append is a write to the log. An empty Write (IsEmpty) needs no I/O but keeps its place in the order.
type Append struct {
	Write     LogWrite
	install   *InstallSnapshot  // when Write resets the log to a snapshot
	responses []*raftpb.Message // to be delivered once the write is durable
}

// Apply hands committed entries to the state machine.
type Apply struct {
	Entries   []inbound.Entry
	responses []*raftpb.Message
	changes   []appliedChange // membership changes among Entries
}

// ProposalDone answers a Propose or ChangeMembership.
type ProposalDone struct {
	Ticket  Ticket
	Outcome []byte // of Propose, when Err is nil
	// Err is nil when applied, outbound.ErrNotProposed, outbound.ErrAmbiguous, or a fault of kind
	// Exhausted, TooLarge or Conflict, all of which mean that nothing was proposed.
	Err error
}

// ReadReady answers a Read: when Err is nil, state at Index or later may be read, and is applied here.
type ReadReady struct {
	Ticket Ticket
	Index  uint64
	Err    error // Unavailable with code no_leader, or Exhausted
}

// Snapshot describes a state machine's snapshot; the data itself travels by other means.
type Snapshot struct {
	Index      uint64
	Term       uint64
	Membership []byte // marshalled ConfState as of Index
	Manifest   []byte // opaque: what a receiver needs to fetch and check the data
}

// FetchSnapshot asks to fetch the data that a MsgSnap message describes. It is answered by
// SnapshotFetched, or by nothing when fetching failed: the snapshot will be offered again. While one is
// being fetched other such effects of the group are to be ignored.
type FetchSnapshot struct{ Message *raftpb.Message }

// InstallSnapshot switches the state machine to a snapshot whose data was fetched. It is answered by
// SnapshotInstalled. Emitted once the log's reset is durable: a crash before the switch leaves a log that
// starts after the applied index, which recovery sees as a replica in need of that snapshot.
type InstallSnapshot struct {
	Snapshot  Snapshot
	started   bool              // the log's reset is durable
	responses []*raftpb.Message // of the reset and of the writes after it
}

// LeaderChanged tells who leads now.
type LeaderChanged struct {
	Leader uint64 // replica id, 0 when none is known
	Term   uint64
	Here   bool // this replica leads
}

// Batch is one entry made of waiting proposals.
type Batch struct{ Commands, Bytes int }
