package inbound

import (
	"context"

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
