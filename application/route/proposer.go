package route

import (
	"context"
	"errors"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ outbound.Proposer = (*Proposer)(nil)

// offerMax bounds one offer to another node. A node that froze is noticed by its connections only after
// seconds; by then the shard has another leader, whom the caller's next attempt reaches.
const offerMax = 1500 * time.Millisecond

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
	bounded, cancel := context.WithTimeout(ctx, offerMax)
	defer cancel()
	outcome, err := p.peers.ProposeAt(bounded, node, id, command)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil && !errors.Is(err, outbound.ErrNotProposed) {
		p.where.failed(node)
		return nil, outbound.ErrAmbiguous.WithCause(err)
	}
	return outcome, err
}
