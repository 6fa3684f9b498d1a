// Package route takes a client's writes and reads to the nodes that can serve them: every node of a
// cluster, whatever it holds, is a gateway to all of it.
package route

import (
	"slices"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// avoidFor is how long a node that did not answer is asked only after the others.
const avoidFor = 2 * time.Second

// Map is what a router knows of where shards are: the cluster state, what the replicas here know of
// their leaders, and what earlier answers taught. It is safe for concurrent use.
type Map struct {
	self   cluster.NodeID
	state  func() *cluster.State
	shards outbound.ShardLookup
	clock  outbound.Clock
	mu     struct {
		sync.Mutex
		leaders map[shard.ID]cluster.NodeID      // who took the last write
		avoid   map[cluster.NodeID]time.Duration // until when, by the monotonic clock
	}
}

// NewMap returns the map of the node self. state returns the newest cluster state known.
func NewMap(self cluster.NodeID, state func() *cluster.State, shards outbound.ShardLookup, clock outbound.Clock) *Map {
	m := &Map{self: self, state: state, shards: shards, clock: clock}
	m.mu.leaders = map[shard.ID]cluster.NodeID{}
	m.mu.avoid = map[cluster.NodeID]time.Duration{}
	return m
}

// holders returns the nodes that may hold a replica of the shard, wanted ones first, those that did
// not answer lately last.
func (m *Map) holders(id shard.ID) []cluster.NodeID {
	state := m.state()
	if state == nil || int(id) >= state.Blueprint().Shards.Count() {
		return nil
	}
	p := state.Shard(id)
	var nodes []cluster.NodeID
	for _, r := range slices.Concat(p.Replicas, p.Departing) {
		if !slices.Contains(nodes, r.Node) {
			nodes = append(nodes, r.Node)
		}
	}
	slices.SortStableFunc(nodes, func(a, b cluster.NodeID) int { return m.penalty(a) - m.penalty(b) })
	return nodes
}

func (m *Map) penalty(node cluster.NodeID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.avoid[node] > m.clock.Monotonic() {
		return 1
	}
	return 0
}

// failed notes that a node did not answer.
func (m *Map) failed(node cluster.NodeID) {
	if node == m.self {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.avoid[node] = m.clock.Monotonic() + avoidFor
}

// answered notes that a node is there.
func (m *Map) answered(node cluster.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mu.avoid, node)
}

// writers returns the nodes to offer a write of the shard to, the likeliest leader first: whom the
// replica here follows, else who took the last write, then the other holders.
func (m *Map) writers(id shard.ID) []cluster.NodeID {
	nodes := m.holders(id)
	leader := m.leader(id)
	if i := slices.Index(nodes, leader); i > 0 {
		nodes = slices.Insert(slices.Delete(nodes, i, i+1), 0, leader)
	}
	return nodes
}

func (m *Map) leader(id shard.ID) cluster.NodeID {
	status, here := m.shards.Shard(id)
	if here && status.Leader {
		return m.self
	}
	if here && status.LeaderReplica != 0 {
		if node, ok := m.state().Shard(id).Locate(cluster.ReplicaID(status.LeaderReplica)); ok {
			return node
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.leaders[id]
}

// leads notes who took a write.
func (m *Map) leads(id shard.ID, node cluster.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.leaders[id] = node
}
