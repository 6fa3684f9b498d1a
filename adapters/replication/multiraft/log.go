package multiraft

import "go.etcd.io/raft/v3/raftpb"

// Log keeps the Raft logs of all groups of one node. Load, Entries and Term may be called beside each
// other and beside Write; Write is called by one goroutine at a time. The core never reads an entry
// whose write has not returned, nor one that a write, returned or not, truncated or replaced.
type Log interface {
	// Load returns what is stored of a group: the zero LogState when it was never created. Corrupt
	// when what is stored fails its check before the tail.
	Load(g GroupID) (LogState, error)
	// Entries returns the entries [lo, hi) of a group in order, as many as fit in bytesMax (the sum of
	// their Data lengths) but at least one. The caller must not change the entries; it owns the slice.
	// An index outside the log is an error.
	Entries(g GroupID, lo, hi, bytesMax uint64) ([]*raftpb.Entry, error)
	// Term returns the term of the entry at index, or the truncated point's term for its index.
	Term(g GroupID, index uint64) (uint64, error)
	// Write stores all writes in one atomic batch, in the order given (a group may occur more than
	// once), durable on return: after a power cut either all of the batch is there or none, and all
	// of it once Write returned. It must not keep or change the slices and entries. An error is fatal
	// for the process: what is on disk is unknown and nothing is ever retried.
	Write(writes []LogWrite) error
}

// LogPoint is a position of a log: an index and the term of the entry there.
type LogPoint struct {
	Index uint64
	Term  uint64
}

// LogIdentity says whose log it is.
type LogIdentity struct {
	// ReplicaID is the Raft id of this replica, never 0 and never used twice within its group.
	ReplicaID uint64
	// Founding is the configuration that the group was founded with (a marshalled ConfState, opaque
	// to the log); nil for a replica that joined later and starts from a snapshot.
	Founding []byte
}

// LogState is what a log holds of a group.
type LogState struct {
	Identity  LogIdentity       // ReplicaID 0: the group was never created here
	HardState *raftpb.HardState // nil when never written
	Truncated LogPoint          // what comes before the first entry; zero for a log that has everything
	Last      uint64            // index of the last entry; Truncated.Index when there is none
}

// First returns the index of the first entry that the log holds or will hold.
func (s LogState) First() uint64 { return s.Truncated.Index + 1 }

// LogWrite changes one group's log. Its parts take effect in the order of the fields: Create, Reset,
// HardState, Entries, Truncate. Parts that are nil or empty change nothing. The HardState and the
// entries that one raft state needs together are always in one LogWrite.
type LogWrite struct {
	Group GroupID
	// Destroy removes everything of the group, as if it had never been created; it stands alone.
	Destroy bool
	// Create stores the replica's identity; only on a group that was never created.
	Create *LogIdentity
	// Reset drops every entry; the log continues after this point, which becomes Truncated.
	Reset *LogPoint
	// HardState replaces the stored one.
	HardState *raftpb.HardState
	// Entries are appended after dropping every stored entry from Entries[0].Index on. They are
	// contiguous, and Entries[0].Index is at most one past the last.
	Entries []*raftpb.Entry
	// Truncate drops the entries up to and including this point, which becomes Truncated. It is
	// inside the log.
	Truncate *LogPoint
}

// IsEmpty reports that the write changes nothing.
func (w *LogWrite) IsEmpty() bool {
	return !w.Destroy && w.Create == nil && w.Reset == nil && w.HardState == nil && len(w.Entries) == 0 && w.Truncate == nil
}
