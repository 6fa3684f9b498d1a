package inbound

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Entry is one committed entry of a shard's log.
type Entry struct {
	Index uint64
	Term  uint64
	// LogTime is the shard's replicated clock: elapsed time that only leaders advance, never
	// decreasing along the log, unrelated to any wall clock.
	LogTime time.Duration
	// Membership, when not nil, is the shard's new voter configuration in replication's own
	// encoding, to be kept with the applied state and given back on restart.
	Membership []byte
	// Commands were proposed together and apply in this order; none for an entry that only moves
	// the index. The applier must not keep or change the slices.
	Commands [][]byte
}

// Applier is the replicated state machine as replication sees it.
type Applier interface {
	// Apply applies committed entries of one shard in log order, Index rising, and returns one
	// outcome for each command of each entry, in order: opaque to replication, meant for whoever
	// proposed the command. Calls for one shard are serial, those for different shards run
	// concurrently. Equal entries give equal outcomes and equal state on every replica: a command
	// that cannot be applied is refused in its outcome. An error means that this replica is broken
	// (storage failed) and must stop serving; it is never about a command's content.
	Apply(ctx context.Context, id shard.ID, entries []Entry) ([][]byte, error)
}
