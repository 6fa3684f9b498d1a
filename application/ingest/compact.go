package ingest

import (
	"context"
	"fmt"
	"sync"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Compactor takes commands from other nodes' gateways to the log, and tells series by number where those
// could not: a gateway without a replica of the shard has nobody to ask. It is safe for concurrent use.
type Compactor struct {
	proposer outbound.Proposer
	series   outbound.SeriesNumberer
	scratch  sync.Pool // of *command.Compactor
}

var _ outbound.Proposer = (*Compactor)(nil)

// NewCompactor returns a proposer in front of proposer; series knows what this node has applied.
func NewCompactor(proposer outbound.Proposer, series outbound.SeriesNumberer) *Compactor {
	return &Compactor{proposer: proposer, series: series, scratch: sync.Pool{New: func() any { return &command.Compactor{} }}}
}

// Propose implements outbound.Proposer.
func (c *Compactor) Propose(ctx context.Context, id shard.ID, data []byte) ([]byte, error) {
	scratch, _ := c.scratch.Get().(*command.Compactor)
	data = scratch.Compact(data, func(keys []string, numbers []uint32) { c.series.NumberSeries(id, keys, numbers) })
	c.scratch.Put(scratch)
	outcome, err := c.proposer.Propose(ctx, id, data)
	if err != nil {
		return nil, fmt.Errorf("propose for another node: %w", err)
	}
	return outcome, nil
}
