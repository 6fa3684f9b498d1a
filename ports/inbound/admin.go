package inbound

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// NodeState is how the meta group's leader sees a node.
type NodeState string

// The states.
const (
	NodeAlive    NodeState = "alive"
	NodeSilent   NodeState = "silent"   // has not reported for a while
	NodeDraining NodeState = "draining" // alive, and gives its replicas away to be removed
	NodeUnknown  NodeState = "unknown"  // the meta group's leader could not be asked
)

// NodeOverview is one member of the cluster.
type NodeOverview struct {
	Node      cluster.Node
	State     NodeState
	LastHeard time.Duration // since its last report; meaningless when State is NodeUnknown
}

// MetaOverview is the meta group.
type MetaOverview struct {
	Leader  cluster.NodeID // zero while none is known
	Members []cluster.Replica
}

// ReplicaRole is a replica's part in its group.
type ReplicaRole string

// The roles of replicas.
const (
	ReplicaVoter     ReplicaRole = "voter"
	ReplicaLearner   ReplicaRole = "learner"   // receives the log and does not vote yet
	ReplicaDeparting ReplicaRole = "departing" // no longer wanted, still there
)

// ReplicaOverview is one replica of a shard, as its node reported it last.
type ReplicaOverview struct {
	Replica  cluster.Replica
	Role     ReplicaRole
	Reported bool // the numbers below are known
	Leader   bool
	Term     uint64
	Commit   uint64
	Applied  uint64
	Lag      uint64 // entries that the leader has committed and this replica has not applied
}

// ShardOverview is one shard.
type ShardOverview struct {
	Shard    shard.ID
	Leader   cluster.NodeID // zero while none is known
	Epoch    uint64         // of its placement
	Settled  bool           // its replicas are those of the placement
	Replicas []ReplicaOverview
}

// ClusterOverview is the whole cluster as one node knows it.
type ClusterOverview struct {
	ClusterID string
	Epoch     uint64
	Nodes     []NodeOverview // ascending by id
	Meta      MetaOverview
	Shards    []ShardOverview // ascending
	Retention metric.RetentionPolicy
}

// ClusterObserver tells how the cluster is.
type ClusterObserver interface {
	// Overview asks the meta group's leader for what it has heard, and does without when there is none.
	// Unavailable (not_adopted) on a node that belongs to no cluster yet.
	Overview(ctx context.Context) (ClusterOverview, error)
}

// AddedNode is the outcome of ClusterAdmin.AddNode.
type AddedNode struct {
	Node cluster.Node
	New  bool // false: it was a member before
}

// Removal is the outcome of ClusterAdmin.RemoveNode.
type Removal struct {
	Gone     bool // the cluster has no such node any more
	Replicas int  // that it still has to give away
}

// Rebalance is the outcome of ClusterAdmin.Rebalance.
type Rebalance struct {
	Moves    []cluster.Move // begun by this call
	UnderWay int            // placements that are still being brought about, those included
}

// MembershipAdmin changes which nodes make up the cluster, through any node. Unavailable (no_leader) when
// the meta group has no leader, Conflict (single_node) on a node that is a cluster by itself.
type MembershipAdmin interface {
	// AddNode takes the node that waits at address, host:port, into the cluster. It is idempotent.
	// Conflict (other_cluster, node_exists) when it cannot be taken in, Unavailable when it does not
	// answer.
	AddNode(ctx context.Context, address string) (AddedNode, error)
	// RemoveNode has a node give its replicas away and lets it go once it holds none; it returns at
	// once, and is to be called again, or not, until the node is gone. Conflict (last_node) when no
	// other node would be left.
	RemoveNode(ctx context.Context, id cluster.NodeID) (Removal, error)
	// Rebalance begins the moves that even out the cluster now, as many as may run at once; the
	// cluster does by itself what this does, only later.
	Rebalance(ctx context.Context) (Rebalance, error)
}

// RetentionAdmin says how long samples are kept, through any node.
type RetentionAdmin interface {
	// Retention returns the policy as this node knows it, which is the cluster's of at most about a second
	// ago. Unavailable (not_adopted) on a node that belongs to no cluster yet.
	Retention(ctx context.Context) (metric.RetentionPolicy, error)
	// SetRetention replaces the policy and returns once this node knows it. Samples that it no longer keeps
	// are forgotten soon after; to keep longer brings nothing back, and what is older than the cut-off that
	// was reached is not taken until the longer time has passed it. Invalid for a policy that fails its
	// check, Unavailable (no_leader) when the meta group has no leader. Repeating it is harmless.
	SetRetention(ctx context.Context, policy metric.RetentionPolicy) error
}

// ReplicaVerification is what one replica answered.
type ReplicaVerification struct {
	Node    cluster.NodeID
	Digest  []byte // nil when it did not answer
	Failure string // why it did not answer, for people
}

// ShardVerification compares the replicas of a shard.
type ShardVerification struct {
	Shard    shard.ID
	Index    uint64 // of the log, up to which the digests cover the content; 0 when no replica answered
	Equal    bool   // every replica answered, all alike
	Replicas []ReplicaVerification
}

// Verification compares the replicas of all shards.
type Verification struct {
	Equal  bool
	Shards []ShardVerification // ascending
}

// StorageAdmin works on what all nodes together store, through any of them.
type StorageAdmin interface {
	// Flush returns once every node has on disk, and merged, what it had applied when it was asked.
	// Unavailable (not_flushed) names the nodes that could not.
	Flush(ctx context.Context) error
	// Verify has every replica of every shard sum up its content as of one entry of the shard's log,
	// which takes time in proportion to what is stored. A shard or replica that cannot is an answer,
	// not an error.
	Verify(ctx context.Context) (Verification, error)
}
