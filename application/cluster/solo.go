package cluster

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ inbound.ClusterObserver = (*Solo)(nil)
	_ inbound.MembershipAdmin = (*Solo)(nil)
)

// Solo shows a single node as the cluster that it is, and refuses to make it more.
type Solo struct {
	state   *cluster.State
	replica cluster.ReplicaID
	shards  outbound.ShardObserver
}

// NewSolo returns the cluster of state, which has one node; there is no meta group, and the replicas of
// all its shards have the id replica.
func NewSolo(state *cluster.State, replica cluster.ReplicaID, shards outbound.ShardObserver) *Solo {
	return &Solo{state: state, replica: replica, shards: shards}
}

// Overview implements inbound.ClusterObserver.
func (s *Solo) Overview(context.Context) (inbound.ClusterOverview, error) {
	node := s.state.Nodes()[0]
	heard := map[cluster.NodeID]outbound.HeardReport{node.ID(): {Node: node.ID(), Shards: s.shards.Shards()}}
	overview := inbound.ClusterOverview{
		ClusterID: s.state.Blueprint().ClusterID, Epoch: s.state.Epoch(),
		Nodes: []inbound.NodeOverview{{Node: node, State: inbound.NodeAlive}},
	}
	for i := range s.state.Blueprint().Shards.Count() {
		p := s.state.Shard(shard.ID(i))
		p.Replicas = []cluster.Replica{{ID: s.replica, Node: node.ID()}}
		overview.Shards = append(overview.Shards, shardOverview(shard.ID(i), p, heard))
	}
	return overview, nil
}

var errSingleNode = fault.New(fault.Conflict, "single_node",
	"this node is a cluster by itself and takes no part in another; start nodes with NODE_ROLE for a cluster")

// AddNode implements inbound.MembershipAdmin.
func (*Solo) AddNode(context.Context, string) (inbound.AddedNode, error) {
	return inbound.AddedNode{}, errSingleNode
}

// RemoveNode implements inbound.MembershipAdmin.
func (s *Solo) RemoveNode(_ context.Context, id cluster.NodeID) (inbound.Removal, error) {
	if _, member := s.state.Node(id); !member {
		return inbound.Removal{Gone: true}, nil
	}
	return inbound.Removal{}, errSingleNode
}

// Rebalance implements inbound.MembershipAdmin: there is nothing to even out.
func (*Solo) Rebalance(context.Context) (inbound.Rebalance, error) { return inbound.Rebalance{}, nil }
