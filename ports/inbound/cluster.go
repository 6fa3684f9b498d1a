package inbound

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// MetaApplier is the meta group's state machine as replication sees it; see Applier for the rules.
type MetaApplier interface {
	// ApplyMeta applies committed entries of the meta group and makes their effect durable.
	ApplyMeta(ctx context.Context, entries []Entry) ([][]byte, error)
}

// ReportTaker takes the reports of the cluster's nodes.
type ReportTaker interface {
	// Report takes a node's report and answers with what it does not know yet. It returns
	// outbound.ErrNotProposed on a node that does not lead the meta group, NotFound (unknown_node)
	// for a stranger and Conflict (other_incarnation) for a node that is not in the life known.
	Report(ctx context.Context, report outbound.NodeReport) (outbound.ReportReply, error)
}

// ReportGiver passes on what the meta group's leader has heard.
type ReportGiver interface {
	// Reports returns every member with its newest report, ascending by id, or outbound.ErrNotProposed
	// on a node that does not lead the meta group.
	Reports(ctx context.Context) ([]outbound.HeardReport, error)
}

// NodeFlusher makes a node's replicas durable.
type NodeFlusher interface {
	// Flush returns once all that the node's replicas had applied when it was called is on disk, and all
	// that can be merged of it is merged.
	Flush(ctx context.Context) error
}

// ReplicaDigester sums up replicas of this node.
type ReplicaDigester interface {
	// DigestAt returns the digest of the shard's content as of the entry that holds the mark, a
	// command that whoever compares replicas proposed; it waits within ctx until that entry is
	// applied. Unavailable: no_replica where the shard is not here, mark_unknown when the entry did
	// not come within ctx or the mark is no longer kept (after a restart, or after newer marks).
	DigestAt(ctx context.Context, id shard.ID, mark uint64) (outbound.ReplicaDigest, error)
}
