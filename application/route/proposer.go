package route

import (
	"context"
	"errors"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ outbound.Proposer = (*Proposer)(nil)

// Proposer takes each command to its shard's leader, on this node or another.
type Proposer struct {
	where *Map
	local outbound.Proposer
	peers outbound.ProposePeers
}

// NewProposer returns a proposer; local proposes to the replicas on this node.
func NewProposer(where *Map, local outbound.Proposer, peers outbound.ProposePeers) *Proposer {
	return &Proposer{where: where, local: local, peers: peers}
}

// Propose implements outbound.Proposer. It offers the command to the likeliest leader and, while nobody
// can have taken it, to each other holder once: that a leader is being elected is for the caller to
// wait for, who knows how long it may.
func (p *Proposer) Propose(ctx context.Context, id shard.ID, command []byte) ([]byte, error) {
	err := error(outbound.ErrNotProposed)
	for _, node := range p.where.writers(id) {
		var outcome []byte
		outcome, err = p.offer(ctx, node, id, command)
		if err == nil {
			p.where.leads(id, node)
			return outcome, nil
		}
		if !errors.Is(err, outbound.ErrNotProposed) || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, err
}

func (p *Proposer) offer(ctx context.Context, node cluster.NodeID, id shard.ID, command []byte) ([]byte, error) {
	if node == p.where.self {
		return p.local.Propose(ctx, id, command)
	}
	return p.peers.ProposeAt(ctx, node, id, command)
}
