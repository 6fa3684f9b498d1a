package multiraft

import (
	"context"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.MetaProposer  = (*Node)(nil)
	_ outbound.MetaTruncator = (*Node)(nil)
)

// ProposeMeta implements outbound.MetaProposer, with the errors of Propose.
func (n *Node) ProposeMeta(ctx context.Context, command []byte) ([]byte, error) {
	return n.propose(ctx, MetaGroup, command)
}

// LeadsMeta implements outbound.MetaProposer.
func (n *Node) LeadsMeta() bool {
	g := n.group(MetaGroup)
	return g != nil && g.known().Settled
}

// DurableMeta implements outbound.MetaTruncator.
func (n *Node) DurableMeta(index uint64) { n.durable(MetaGroup, index) }
