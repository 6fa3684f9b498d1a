package outbound

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// ProposePeers proposes commands on other nodes.
type ProposePeers interface {
	// ProposeAt is Proposer.Propose of the replica on node, without looking further: ErrNotProposed
	// when it does not lead the shard or the node was certainly not reached, ErrAmbiguous when the
	// command may have been taken before the connection broke or ctx ended.
	ProposeAt(ctx context.Context, node cluster.NodeID, id shard.ID, command []byte) ([]byte, error)
}

// QueryPeers asks other nodes to compute over replicas that they hold.
type QueryPeers interface {
	// PartialsAt is inbound.ShardQuerier.Partials of the replicas on node. Unavailable when it was
	// not reached, stopped answering, or holds no replica of some of the shards.
	PartialsAt(ctx context.Context, node cluster.NodeID, read consistency.Read, q aggregate.Query) (aggregate.Table, error)
	// LatestAt is inbound.ShardQuerier.Latest of the replicas on node, with the same errors.
	LatestAt(ctx context.Context, node cluster.NodeID, read consistency.Read, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error)
	// ListSeriesAt is inbound.ShardQuerier.ListSeries of the replicas on node, with the same errors.
	ListSeriesAt(ctx context.Context, node cluster.NodeID, read consistency.Read, l metric.Listing) ([]string, error)
}

// ReplicaDigest sums up a replica's logical content as of one entry of its log; it is equal on replicas
// that hold the same samples in the same order, however they store them.
type ReplicaDigest struct {
	Index  uint64 // of the entry
	Digest []byte
}

// ReplicaPeers works on the replicas that other nodes hold.
type ReplicaPeers interface {
	// FlushAt is inbound.NodeFlusher.Flush on node.
	FlushAt(ctx context.Context, node cluster.NodeID) error
	// DigestAt is inbound.ReplicaDigester.DigestAt on node.
	DigestAt(ctx context.Context, node cluster.NodeID, id shard.ID, mark uint64) (ReplicaDigest, error)
}
