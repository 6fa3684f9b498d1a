package cluster

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

var _ inbound.MembershipAdmin = (*Solo)(nil)

// Solo refuses to make more of a single node.
type Solo struct{ state *cluster.State }

// NewSolo returns the administration of the cluster of state, which has one node.
func NewSolo(state *cluster.State) *Solo { return &Solo{state: state} }

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
