package outbound

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// ReplicaHost runs the replicas of this node.
type ReplicaHost interface {
	// Host makes this node run exactly one replica of the group, named id: it opens or creates the
	// replica's storage and log and joins it to the group. founding lists the voters of a group that
	// is new with the cluster; nil means that the group exists and the replica starts empty, to be
	// brought up by its leader. A replica of the group with another id that is here is destroyed
	// first. Hosting what is hosted already does nothing.
	Host(ctx context.Context, group cluster.Group, id cluster.ReplicaID, founding []cluster.ReplicaID) error
	// Destroy ends the group's replica here and removes its log and data; nothing when there is none.
	Destroy(ctx context.Context, group cluster.Group) error
	// Hosted returns the replicas that are here, running or not, by group.
	Hosted() map[cluster.Group]cluster.ReplicaID
}

// GroupController changes the Raft configuration of groups that this node leads.
type GroupController interface {
	// Configuration returns the configuration of a group and true when this node leads it.
	Configuration(group cluster.Group) (cluster.Configuration, bool)
	// Change carries out one step of cluster.NextStep (never StepWait or StepSettled) and returns
	// once it is committed, or with an error, after which the configuration must be read anew.
	Change(ctx context.Context, group cluster.Group, step cluster.Step) error
}

// MetaProposer replicates changes of the cluster's state.
type MetaProposer interface {
	// ProposeMeta replicates a command in the meta group, as Proposer does for shards. It succeeds
	// only on the meta group's leader, elsewhere it returns ErrNotProposed.
	ProposeMeta(ctx context.Context, command []byte) (outcome []byte, err error)
	// LeadsMeta reports that this node leads the meta group.
	LeadsMeta() bool
}

// MetaStore keeps the applied state of the meta group's replica on this node.
type MetaStore interface {
	// SaveMeta makes state durable before it returns, replacing what was saved before.
	SaveMeta(ctx context.Context, state AppliedState) error
	// LoadMeta returns what was saved last, zero when nothing was.
	LoadMeta(ctx context.Context) (AppliedState, error)
}

// StateStore keeps the newest cluster state that this node has acted upon.
type StateStore interface {
	// SaveState makes an encoded state durable before it returns, replacing what was saved before.
	SaveState(encoded []byte) error
}

// MetaTruncator learns what of the meta group's log is no longer needed to recover.
type MetaTruncator interface {
	// DurableMeta tells that the meta group's state up to and including index is saved.
	DurableMeta(index uint64)
}

// Introduction is what a node says of itself before it trusts or is trusted.
type Introduction struct {
	Node        cluster.NodeID
	Role        cluster.Role
	Incarnation cluster.Incarnation
	ClusterID   string // "" while no cluster has adopted it
}

// Adoption makes a waiting node a member.
type Adoption struct {
	Node        cluster.NodeID      // whom the sender means to adopt
	Incarnation cluster.Incarnation // and in which life
	// Founding is the encoded state that the cluster was founded with, from which a founding member
	// of the meta group starts.
	Founding []byte
	// State is the newest encoded state, which names the node.
	State []byte
}

// Recruiter reaches nodes that are not members yet, under the secret that they share with it before
// they have the cluster's key.
type Recruiter interface {
	// Introduce asks the node at address who it is. Unauthenticated when it has another secret.
	Introduce(ctx context.Context, address string) (Introduction, error)
	// Adopt makes the node at address a member and hands it the cluster's key. Repeating it is
	// harmless. Conflict when it belongs to another cluster or is not whom the adoption names.
	Adopt(ctx context.Context, address string, adoption Adoption) error
	// Refuse tells the node at address, in words for people, why this cluster does not take it in, so
	// that its own log says so too. It changes nothing there, and a long reason is cut off; an error
	// means only that the node may not have heard it.
	Refuse(ctx context.Context, address, reason string) error
}

// NodeReport is what a node tells the meta group's leader about itself, about once a second.
type NodeReport struct {
	Node        cluster.NodeID
	Incarnation cluster.Incarnation
	Address     string
	// Epoch is the cluster state's epoch that the node knows.
	Epoch uint64
	// Settled are the groups led by this node whose configuration equals their placement of the
	// epoch given.
	Settled []SettledGroup
	// Damaged are the replicas of this node whose data is damaged or lost, to be made anew under new ids.
	Damaged []DamagedReplica
	// Shards is the status of its replicas, for display.
	Shards []ShardStatus
	// Clock is what the node's wall clock shows, 0 where it does not tell.
	Clock metric.Timestamp
}

// SettledGroup says that a group's configuration has reached its placement of Epoch.
type SettledGroup struct {
	Group cluster.Group
	Epoch uint64
}

// DamagedReplica names a node's replica of a group by the group's placement, settled at Epoch, so that a
// report that comes late cannot be taken for one about the replica made in its stead.
type DamagedReplica struct {
	Group cluster.Group
	Epoch uint64
}

// ReportReply is what comes back.
type ReportReply struct {
	// State is the encoded cluster state when the reporting node knows an older epoch, else nil.
	State []byte
	// Silent are the nodes that the leader has not heard from for a while, ascending.
	Silent []cluster.NodeID
	// Clock is the cluster's time, the median of the living nodes' clocks; 0 while the leader has not heard
	// enough of them.
	Clock metric.Timestamp
}

// HeardReport is what the meta group's leader has heard of a node.
type HeardReport struct {
	Node cluster.NodeID
	// Age is the time since its last report, or since the leader began to lead when there was none.
	Age time.Duration
	// Shards is the status of its replicas; nil when there was no report.
	Shards []ShardStatus
}

// ClusterPeers reaches the other nodes of the cluster.
type ClusterPeers interface {
	// Report delivers report to node. ErrNotProposed when that node does not lead the meta group.
	Report(ctx context.Context, node cluster.NodeID, report NodeReport) (ReportReply, error)
}

// MetaPeers reaches the leader of the meta group on another node.
type MetaPeers interface {
	// ProposeMetaAt is MetaProposer.ProposeMeta on node: ErrNotProposed when it does not lead the meta
	// group or was certainly not reached, ErrAmbiguous when the command may have been taken.
	ProposeMetaAt(ctx context.Context, node cluster.NodeID, command []byte) (outcome []byte, err error)
	// ReportsAt is inbound.ReportGiver.Reports on node.
	ReportsAt(ctx context.Context, node cluster.NodeID) ([]HeardReport, error)
}
