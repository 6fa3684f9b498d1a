package cluster

import (
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// AddNode takes a new member in. It gets replicas by later moves.
func (s *State) AddNode(n Node) error {
	i, ok := s.find(n.id)
	if ok {
		return errDuplicateNode(n.id)
	}
	if len(s.nodes) >= NodesMax {
		return fault.Newf(fault.Exhausted, "too_many_nodes", "the cluster has %d nodes already, the most it can have", NodesMax)
	}
	s.nodes = slices.Insert(s.nodes, i, n)
	s.epoch++
	return nil
}

// Readmit takes a known node back. With the incarnation it had, only its address changes. With a new
// one its disk was lost: its replicas are dead, and each is replaced under a new id on the same node.
// Whether the old incarnation still answers is for the caller to find out first.
func (s *State) Readmit(n Node) error {
	i, ok := s.find(n.id)
	if !ok {
		return errUnknownNode(n.id)
	}
	old := s.nodes[i]
	if old.role != n.role {
		return fault.Newf(fault.Conflict, "role_changed", "node %s is known as %s and cannot return as %s", n.id, old.role, n.role)
	}
	n.draining = old.draining
	s.nodes[i] = n
	s.epoch++
	if old.incarnation == n.incarnation {
		return nil
	}
	s.renew(&s.meta, n.id)
	for i := range s.shards {
		s.renew(&s.shards[i], n.id)
	}
	return nil
}

// renew replaces the replica on node, if there is one, by one with a new id.
func (s *State) renew(p *Placement, node NodeID) {
	if old, ok := p.On(node); ok {
		s.replace(p, old.ID, node)
	}
}

func errUnknownNode(id NodeID) error {
	return fault.Newf(fault.NotFound, "unknown_node", "the cluster has no node %s", id)
}

// SetDraining marks a member so that the planner moves its replicas away, or takes the mark off.
func (s *State) SetDraining(id NodeID, draining bool) error {
	i, ok := s.find(id)
	if !ok {
		return errUnknownNode(id)
	}
	if s.nodes[i].draining != draining {
		s.nodes[i] = s.nodes[i].WithDraining(draining)
		s.epoch++
	}
	return nil
}

// Holding counts the replicas that node holds or may still hold: those wanted there, and those that
// depart and must stay reachable until their groups have settled without them.
func (s *State) Holding(id NodeID) int {
	count := s.meta.holding(id)
	for _, p := range s.shards {
		count += p.holding(id)
	}
	return count
}

func (p Placement) holding(id NodeID) int {
	count := 0
	for _, replicas := range [][]Replica{p.Replicas, p.Departing} {
		for _, r := range replicas {
			if r.Node == id {
				count++
			}
		}
	}
	return count
}

// RemoveNode lets a member go that holds no replica any more.
func (s *State) RemoveNode(id NodeID) error {
	i, ok := s.find(id)
	if !ok {
		return errUnknownNode(id)
	}
	if n := s.Holding(id); n > 0 {
		return fault.Newf(fault.Conflict, "node_not_empty", "node %s still holds %d replicas; drain it first", id, n)
	}
	s.nodes = slices.Delete(s.nodes, i, i+1)
	s.epoch++
	return nil
}

// Apply carries out one move of the planner. It refuses a move that was planned on another placement
// of the group than the present one.
func (s *State) Apply(m Move) error {
	p, err := s.at(m.Group, m.Epoch)
	if err != nil {
		return err
	}
	if !p.Settled {
		return fault.New(fault.Conflict, "placement_unsettled", "the placement's last change is still under way")
	}
	if !m.To.IsZero() {
		if _, ok := s.find(m.To); !ok {
			return errUnknownNode(m.To)
		}
		if _, ok := p.On(m.To); ok && m.To != m.From {
			return fault.Newf(fault.Conflict, "replica_exists", "node %s holds a replica already", m.To)
		}
	}
	var from ReplicaID
	if !m.From.IsZero() {
		r, ok := p.On(m.From)
		if !ok {
			return fault.Newf(fault.Conflict, "no_replica", "node %s holds no replica", m.From)
		}
		from = r.ID
	}
	if m.To.IsZero() && len(p.Replicas) < 2 {
		return fault.New(fault.Conflict, "last_replica", "the last replica cannot be removed")
	}
	s.replace(p, from, m.To)
	s.epoch++
	return nil
}

// replace removes replica old (0: none) and adds a new one on node (zero: none). It builds a new
// slice, for the old one may be in readers' hands.
func (s *State) replace(p *Placement, old ReplicaID, node NodeID) {
	replicas := make([]Replica, 0, len(p.Replicas)+1)
	departing := slices.Clone(p.Departing)
	for _, r := range p.Replicas {
		if r.ID != old {
			replicas = append(replicas, r)
		} else {
			departing = append(departing, r)
		}
	}
	if !node.IsZero() {
		replicas = append(replicas, Replica{ID: s.nextReplica, Node: node})
		s.nextReplica++
	}
	*p = Placement{Replicas: replicas, Departing: departing, Epoch: p.Epoch + 1}
}

// Settle records that the group's Raft configuration has reached its placement of epoch.
func (s *State) Settle(group Group, epoch uint64) error {
	p, err := s.at(group, epoch)
	if err != nil {
		return err
	}
	if !p.Settled {
		*p = Placement{Replicas: p.Replicas, Epoch: p.Epoch, Settled: true}
		s.epoch++
	}
	return nil
}

// at returns a group's placement if it is at epoch.
func (s *State) at(group Group, epoch uint64) (*Placement, error) {
	p := &s.meta
	if !group.Meta {
		if int(group.Shard) >= len(s.shards) {
			return nil, fault.Newf(fault.Invalid, "unknown_shard", "the cluster has no shard %s", group.Shard)
		}
		p = &s.shards[group.Shard]
	}
	if p.Epoch != epoch {
		return nil, fault.Newf(fault.Conflict, "placement_changed", "the placement is at epoch %d, not %d", p.Epoch, epoch)
	}
	return p, nil
}

// SetRetention changes how long samples are kept. The same policy again changes nothing.
func (s *State) SetRetention(p metric.RetentionPolicy) error {
	if err := p.Check("retention"); err != nil {
		return err
	}
	if !s.retention.Equal(p) {
		// A copy of its own, for states that were given out share the rules of the old one.
		s.retention = metric.RetentionPolicy{Default: p.Default, Rules: slices.Clone(p.Rules)}
		s.epoch++
	}
	return nil
}
