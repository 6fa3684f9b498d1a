package bootstrap

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/application/apply"
	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// administer adds the use cases about the cluster to ports, for the cluster of one that a single node is.
func (n *Node) administer(ports *httpapi.Ports, nodeID string, placement shard.Map, machine *apply.StateMachine, clock *system.Clock) error {
	id, err := cluster.NewNodeID(nodeID)
	if err != nil {
		return err
	}
	self, err := cluster.NewNode(id, cluster.Embedded, n.Addr().String(), 1)
	if err != nil {
		return err
	}
	state, err := cluster.Found(cluster.Blueprint{ClusterID: n.place.record.ClusterID, Shards: placement, ReplicationFactor: 1}, []cluster.Node{self})
	if err != nil {
		return err
	}
	solo := appcluster.NewSolo(state, soleReplica, n.replication)
	ports.Cluster, ports.Membership = solo, solo
	ports.Storage = appcluster.NewInspector(appcluster.InspectorConfig{
		Self: id, State: func() *cluster.State { return state }, Proposer: n.replication,
		Flusher: n.maintainer, Digester: machine, Peers: nobody{}, Entropy: system.Entropy{}, Clock: clock, Timer: clock,
	})
	return nil
}

// nobody is the other nodes of a single node.
type nobody struct{}

var _ outbound.ReplicaPeers = nobody{}

var errNobody = fault.New(fault.Unavailable, "node_unknown", "a single node knows no other")

// FlushAt implements outbound.ReplicaPeers.
func (nobody) FlushAt(context.Context, cluster.NodeID) error { return errNobody }

// DigestAt implements outbound.ReplicaPeers.
func (nobody) DigestAt(context.Context, cluster.NodeID, shard.ID, uint64) (outbound.ReplicaDigest, error) {
	return outbound.ReplicaDigest{}, errNobody
}
