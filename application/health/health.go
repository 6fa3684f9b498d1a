// Package health tells how the node is, from where it stands in its life and from its shards.
package health

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.HealthReporter = (*Reporter)(nil)

// shardsShownMax bounds the shards that a message names; Health.Impeded has them all.
const shardsShownMax = 16

// The phases of a node's life, in order.
const (
	phaseOpening  int32 = iota // storage and log are being brought up
	phaseElecting              // everything is up; not every shard has had a leader yet
	phaseServing
	phaseStopping
)

// Node is who reports.
type Node struct {
	ID   string
	Role string // embedded, control or worker
}

// Reporter reports a node's health. It is safe for concurrent use.
type Reporter struct {
	node   Node
	shards outbound.ShardObserver
	phase  atomic.Int32
}

// New returns a reporter of a node that is starting.
func New(node Node, shards outbound.ShardObserver) *Reporter {
	return &Reporter{node: node, shards: shards}
}

// Opened tells that every replica of this node is up: from now on the node has started once each of
// them serves.
func (r *Reporter) Opened() { r.phase.CompareAndSwap(phaseOpening, phaseElecting) }

// Stopping tells that the node takes no more requests. There is no way back.
func (r *Reporter) Stopping() { r.phase.Store(phaseStopping) }

// Health implements inbound.HealthReporter.
func (r *Reporter) Health(context.Context) inbound.Health {
	statuses := r.shards.Shards()
	h := inbound.Health{NodeID: r.node.ID, Role: r.node.Role, Shards: len(statuses)}
	for _, s := range statuses {
		if !s.Serving {
			h.Impeded = append(h.Impeded, uint32(s.Shard))
		}
	}
	if len(h.Impeded) == 0 {
		r.phase.CompareAndSwap(phaseElecting, phaseServing)
	}
	switch phase := r.phase.Load(); {
	case phase == phaseStopping:
		h.Status, h.Message = inbound.Stopping, r.node.ID+" is stopping"
	case phase == phaseOpening:
		h.Status, h.Message = inbound.Starting, r.node.ID+" is starting"
	case phase == phaseElecting:
		h.Status = inbound.Starting
		h.Message = fmt.Sprintf("%s is starting: %s without a leader yet", r.node.ID, shardList(h.Impeded))
	case len(h.Impeded) > 0:
		h.Status = inbound.Degraded
		h.Message = fmt.Sprintf("%s cannot serve reads or writes of %s: no leader", r.node.ID, shardList(h.Impeded))
	default:
		h.Status, h.Message = inbound.Healthy, r.node.ID+" is operational"
	}
	return h
}

// shardList names shards for people, at most shardsShownMax of them.
func shardList(ids []uint32) string {
	var b strings.Builder
	b.WriteString("shard")
	if len(ids) != 1 {
		b.WriteByte('s')
	}
	for i, id := range ids {
		if i == shardsShownMax {
			fmt.Fprintf(&b, " and %d more", len(ids)-i)
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d", id)
	}
	return b.String()
}
