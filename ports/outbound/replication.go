package outbound

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// What a Proposer answers besides success. ErrNotProposed and ErrAmbiguous have kind Unavailable.
var (
	// ErrNotProposed means that the command certainly is not and will not be in the log: it may be
	// proposed again by any means.
	ErrNotProposed = fault.New(fault.Unavailable, "no_leader", "the shard has no leader that takes writes now; try again")
	// ErrAmbiguous means that the command may or may not be applied, now or later.
	ErrAmbiguous = fault.New(fault.Unavailable, "outcome_unknown", "the write's outcome was not seen; try again with the same Idempotency-Key")
)

// Proposer replicates commands.
type Proposer interface {
	// Propose replicates command in the shard's log and returns the applier's outcome once the
	// command is durable on a majority and applied here. The slice must not be changed until
	// Propose returns, nor afterwards after ErrAmbiguous or the end of ctx. Errors wrap
	// ErrNotProposed or ErrAmbiguous; the end of ctx is ErrAmbiguous once it was proposed.
	Propose(ctx context.Context, id shard.ID, command []byte) (outcome []byte, err error)
}

// ReadFence orders reads after writes.
type ReadFence interface {
	// Fence returns once this node has applied, in each of shards, every write that was acknowledged
	// anywhere before the call (Raft thesis section 6.4, ReadIndex; no clocks). Unavailable with
	// code no_leader and the detail shards when one of them cannot confirm within ctx.
	Fence(ctx context.Context, shards []shard.ID) error
}

// FreshnessGauge tells how old what this node's replicas hold may be.
type FreshnessGauge interface {
	// Freshness returns, at once, how long ago, on a monotonic clock, this node's replica of the shard
	// heard from its leader with a commit index that it has applied by now; on the leader, how long ago
	// a majority confirmed that it leads with such an index. known is false where that never happened,
	// or where there is no replica here.
	Freshness(id shard.ID) (age time.Duration, known bool)
}

// LogTruncator learns what of a shard's log is no longer needed to recover.
type LogTruncator interface {
	// Durable tells that storage has the shard's state up to and including index on disk. The log
	// may be dropped up to there, less what followers still need.
	Durable(id shard.ID, index uint64)
}

// ShardStatus is what replication knows of a shard's replica here.
type ShardStatus struct {
	Shard   shard.ID
	Leader  bool // this replica leads
	Learner bool // this replica receives the log and does not vote
	Serving bool // a leader is known, so that reads and writes can be served
	// LeaderReplica is the Raft id of the leader that this replica follows or is, 0 while none is known.
	LeaderReplica uint64
	Term          uint64
	Commit        uint64
	Applied       uint64
}

// ShardLookup tells how one shard is.
type ShardLookup interface {
	// Shard returns the status of this node's replica of the shard, at once; false when it has none.
	Shard(id shard.ID) (ShardStatus, bool)
}

// ShardObserver tells how the shards are.
type ShardObserver interface {
	// Shards returns the status of every replica on this node, ascending by shard, at once.
	Shards() []ShardStatus
}
