package cluster

import (
	"cmp"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Move is one change of one group's placement: From loses its replica and To gets one. A zero From only
// adds, a zero To only removes, equal From and To replace a dead replica on the same node.
type Move struct {
	Group Group
	From  NodeID
	To    NodeID
	Epoch uint64 // the group's placement epoch that the move was planned on
}

// Observation is what the meta group's leader sees of the cluster, besides the State.
type Observation struct {
	// Lost reports a node that was silent for longer than REPAIR_AFTER.
	Lost func(NodeID) bool
}

// Plan returns the next moves, at most one a group and at most movesMax, deterministically. Repairs
// come first, then missing replicas, then a better role, then balance. It moves as little as it can:
// unlike a pure rendezvous placement it starts from what is, and uses rendezvous hashing (Thaler and
// Ravishankar, 1998) to choose among nodes that are equally good.
func (s *State) Plan(see Observation, movesMax int) []Move {
	var moves []Move
	if s.meta.Settled {
		if m, ok := s.planMeta(see); ok {
			moves = append(moves, m)
		}
	}
	load := s.loads()
	for _, step := range []func(shard.ID, Observation, map[NodeID]int) (Move, bool){s.planRepair, s.planRole, s.planBalance} {
		for i := range s.shards {
			id := shard.ID(i)
			if len(moves) >= movesMax {
				return moves
			}
			if !s.shards[i].Settled || slices.ContainsFunc(moves, func(m Move) bool { return m.Group == ShardGroup(id) }) {
				continue
			}
			if m, ok := step(id, see, load); ok {
				load[m.From]--
				load[m.To]++
				moves = append(moves, m)
			}
		}
	}
	return moves
}

// loads counts the replicas of shards on each node.
func (s *State) loads() map[NodeID]int {
	load := make(map[NodeID]int, len(s.nodes))
	for _, p := range s.shards {
		for _, r := range p.Replicas {
			load[r.Node]++
		}
	}
	return load
}

// usable reports that node may keep or get replicas.
func (s *State) usable(n Node, see Observation) bool { return !n.draining && !see.Lost(n.id) }

// planRepair moves a replica off a lost or draining node, adds one that is missing, or takes one away
// that is too many.
func (s *State) planRepair(id shard.ID, see Observation, load map[NodeID]int) (Move, bool) {
	p := s.shards[id]
	target, found := s.bestTarget(id, see, load)
	for _, r := range p.Replicas {
		n, member := s.Node(r.Node)
		if member && s.usable(n, see) {
			continue
		}
		if found {
			return Move{Group: ShardGroup(id), From: r.Node, To: target, Epoch: p.Epoch}, true
		}
		if member && n.draining && !see.Lost(n.id) && s.usableCount(p, see) > 0 {
			return Move{Group: ShardGroup(id), From: r.Node, Epoch: p.Epoch}, true
		}
	}
	if len(p.Replicas) < s.blueprint.ReplicationFactor && found {
		return Move{Group: ShardGroup(id), To: target, Epoch: p.Epoch}, true
	}
	return Move{}, false
}

func (s *State) usableCount(p Placement, see Observation) int {
	count := 0
	for _, r := range p.Replicas {
		if n, ok := s.Node(r.Node); ok && s.usable(n, see) {
			count++
		}
	}
	return count
}

// planRole moves a control node's replica to a worker that holds none of the shard.
func (s *State) planRole(id shard.ID, see Observation, load map[NodeID]int) (Move, bool) {
	p := s.shards[id]
	target, found := s.bestTarget(id, see, load)
	if t, _ := s.Node(target); !found || t.role == Control {
		return Move{}, false
	}
	for _, r := range p.Replicas {
		if n, ok := s.Node(r.Node); ok && n.role == Control {
			return Move{Group: ShardGroup(id), From: r.Node, To: target, Epoch: p.Epoch}, true
		}
	}
	return Move{}, false
}

// planBalance moves a replica to a node of the same role that holds at least two fewer.
func (s *State) planBalance(id shard.ID, see Observation, load map[NodeID]int) (Move, bool) {
	p := s.shards[id]
	target, found := s.bestTarget(id, see, load)
	if !found {
		return Move{}, false
	}
	t, _ := s.Node(target)
	var from NodeID
	for _, r := range p.Replicas {
		n, ok := s.Node(r.Node)
		if ok && n.role == t.role && load[r.Node] >= load[target]+2 && (from.IsZero() || load[r.Node] > load[from]) {
			from = r.Node
		}
	}
	return Move{Group: ShardGroup(id), From: from, To: target, Epoch: p.Epoch}, !from.IsZero()
}

// bestTarget returns the usable node without a replica of the shard that should get the next one.
func (s *State) bestTarget(id shard.ID, see Observation, load map[NodeID]int) (NodeID, bool) {
	var best Node
	for _, n := range s.nodes {
		if _, holds := s.shards[id].On(n.id); holds || !s.usable(n, see) {
			continue
		}
		if best.id.IsZero() || better(n, best, id, load) {
			best = n
		}
	}
	return best.id, !best.id.IsZero()
}

// better orders candidates for a replica of shard id: workers before control nodes, then the lesser
// load, then the greater rendezvous weight.
func better(a, b Node, id shard.ID, load map[NodeID]int) bool {
	if ca, cb := a.role == Control, b.role == Control; ca != cb {
		return cb
	}
	if load[a.id] != load[b.id] {
		return load[a.id] < load[b.id]
	}
	return rendezvous(a.id, id) > rendezvous(b.id, id)
}

// firstNodes chooses the nodes of a shard at founding, when the shards before it are placed.
func (s *State) firstNodes(id shard.ID) []NodeID {
	nodes := slices.Clone(s.nodes)
	load := s.loads()
	slices.SortFunc(nodes, func(a, b Node) int {
		if better(a, b, id, load) {
			return -1
		}
		return 1
	})
	count := min(s.blueprint.ReplicationFactor, len(nodes))
	ids := make([]NodeID, count)
	for i := range ids {
		ids[i] = nodes[i].id
	}
	return ids
}

// wantedMeta returns the members that the meta group should have: control nodes first, filled up with
// workers, present members before others, so that it moves only when it must.
func (s *State) wantedMeta(usable func(NodeID) bool) []NodeID {
	candidates := slices.DeleteFunc(slices.Clone(s.nodes), func(n Node) bool { return !usable(n.id) })
	rank := func(n Node) int {
		r := 0
		if n.role == Worker {
			r += 2
		}
		if _, member := s.meta.On(n.id); !member {
			r++
		}
		return r
	}
	slices.SortStableFunc(candidates, func(a, b Node) int { return cmp.Compare(rank(a), rank(b)) })
	ids := make([]NodeID, 0, MetaMembersMax)
	for _, n := range candidates[:min(MetaMembersMax, len(candidates))] {
		ids = append(ids, n.id)
	}
	return ids
}

// planMeta brings the meta group one member closer to wantedMeta.
func (s *State) planMeta(see Observation) (Move, bool) {
	wanted := s.wantedMeta(func(id NodeID) bool {
		n, _ := s.Node(id)
		return s.usable(n, see)
	})
	m := Move{Group: MetaGroup(), Epoch: s.meta.Epoch}
	for _, r := range s.meta.Replicas {
		if !slices.Contains(wanted, r.Node) {
			m.From = r.Node
			break
		}
	}
	for _, id := range wanted {
		if _, member := s.meta.On(id); !member {
			m.To = id
			break
		}
	}
	if m.To.IsZero() && !m.From.IsZero() {
		// Fewer usable nodes than members: a lost member stays counted until there is a replacement,
		// but a draining one goes.
		n, ok := s.Node(m.From)
		if ok && !n.draining || len(wanted) == 0 {
			return Move{}, false
		}
	}
	return m, !m.From.IsZero() || !m.To.IsZero()
}

// PreferredLeader returns which replica of a shard should lead: a live worker's, spread evenly by
// shard number; false when none is live.
func (s *State) PreferredLeader(id shard.ID, alive func(NodeID) bool) (Replica, bool) {
	var candidates []Replica
	workers := false
	for _, r := range s.shards[id].Replicas {
		n, ok := s.Node(r.Node)
		if !ok || !alive(r.Node) || n.draining {
			continue
		}
		isWorker := n.role != Control
		if isWorker && !workers {
			candidates, workers = nil, true
		}
		if isWorker == workers {
			candidates = append(candidates, r)
		}
	}
	if len(candidates) == 0 {
		return Replica{}, false
	}
	slices.SortFunc(candidates, func(a, b Replica) int { return cmp.Compare(a.Node.text, b.Node.text) })
	return candidates[int(id)%len(candidates)], true
}

// PreferredMetaLeader returns which replica should lead the meta group: a live control node's, for
// those know the hosts to recruit; false when there is none.
func (s *State) PreferredMetaLeader(alive func(NodeID) bool) (Replica, bool) {
	for _, r := range s.meta.Replicas {
		if n, ok := s.Node(r.Node); ok && n.role != Worker && alive(r.Node) && !n.draining {
			return r, true
		}
	}
	return Replica{}, false
}

// rendezvous weighs node for shard id by FNV-1a over both, finished by MurmurHash3's mixer.
func rendezvous(node NodeID, id shard.ID) uint64 {
	h := uint64(14695981039346656037) ^ uint64(id)
	for i := range len(node.text) {
		h = (h ^ uint64(node.text[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	return h ^ h>>33
}
