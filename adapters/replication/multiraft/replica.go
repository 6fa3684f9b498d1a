package multiraft

import (
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

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
	Term    uint64
	Commit  uint64
	Applied uint64
}

// Membership returns the configuration of a group founded with these voters, marshalled.
func Membership(voters ...uint64) ([]byte, error) {
	return marshalConfState(&raftpb.ConfState{Voters: voters})
}
