// Package health tells how the node is, from where it stands in its life and from its shards.
package health

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/domain/shard"
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

// Surroundings is what a member of a cluster knows of the shards around its own. It answers at once.
type Surroundings interface {
	// Cluster returns the cluster's id.
	Cluster() string
	// Refusal returns why the cluster does not take this node for a member any more, or "".
	Refusal() string
	// Impeded returns the shards that cannot be read or written through this node, ascending, given
	// the status of its own replicas.
	Impeded(own []outbound.ShardStatus) []shard.ID
	// UnderReplicated returns the shards with fewer live replicas than wanted.
	UnderReplicated() []shard.ID
}

// Reporter reports a node's health. It is safe for concurrent use.
type Reporter struct {
	node   Node
	shards outbound.ShardObserver
	phase  atomic.Int32
	mu     struct {
		sync.Mutex
		waiting func() string // nil: the node waits for nobody
		around  Surroundings  // nil: the node's own replicas are all there is
	}
}

// New returns a reporter of a node that is starting.
func New(node Node, shards outbound.ShardObserver) *Reporter {
	return &Reporter{node: node, shards: shards}
}

// Waits tells that the node waits for others before it can begin; why says, at once and in words that
// follow the node's name, what for. It ends with Joined.
func (r *Reporter) Waits(why func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.waiting = why
}

// Joined tells that the node is a member of a cluster, of which around knows.
func (r *Reporter) Joined(around Surroundings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.waiting, r.mu.around = nil, around
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
	r.mu.Lock()
	waiting, around := r.mu.waiting, r.mu.around
	r.mu.Unlock()
	refusal := ""
	if around != nil {
		refusal = around.Refusal()
		h.Cluster, h.UnderReplicated = around.Cluster(), len(around.UnderReplicated())
		for _, id := range around.Impeded(statuses) {
			h.Impeded = append(h.Impeded, uint32(id))
		}
	} else {
		for _, s := range statuses {
			if !s.Serving {
				h.Impeded = append(h.Impeded, uint32(s.Shard))
			}
		}
	}
	if len(h.Impeded) == 0 {
		r.phase.CompareAndSwap(phaseElecting, phaseServing)
	}
	switch phase := r.phase.Load(); {
	case phase == phaseStopping:
		h.Status, h.Message = inbound.Stopping, r.node.ID+" is stopping"
	case waiting != nil:
		h.Status, h.Message = inbound.Starting, r.node.ID+" is starting: it "+waiting()
	case phase == phaseOpening:
		h.Status, h.Message = inbound.Starting, r.node.ID+" is starting"
	case phase == phaseElecting:
		h.Status = inbound.Starting
		h.Message = fmt.Sprintf("%s is starting: %s without a leader yet", r.node.ID, shardList(h.Impeded))
	case refusal != "":
		h.Status, h.Message = inbound.Degraded, r.node.ID+" is no member of its cluster now: "+refusal
	case len(h.Impeded) > 0:
		h.Status = inbound.Degraded
		h.Message = fmt.Sprintf("%s cannot serve reads or writes of %s: no leader is known or reached", r.node.ID, shardList(h.Impeded))
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
