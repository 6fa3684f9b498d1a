package cluster

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Limits and defaults of a cluster.
const (
	// ReplicationFactorDefault is how many replicas a shard gets where there are that many nodes.
	ReplicationFactorDefault = 3
	// ReplicationFactorMax bounds REPLICATION_FACTOR.
	ReplicationFactorMax = 7
	// MetaMembersMax is how many members the meta group has where there are that many nodes.
	MetaMembersMax = 3
	// NodesMax bounds the members of a cluster.
	NodesMax = 1024
)

// ReplicaID numbers a replica in its group. Ids are given by the meta group and never used twice in
// a cluster, so that a replica whose disk was lost can never vote under its old name.
type ReplicaID uint64

// Replica is one node's copy of one group.
type Replica struct {
	ID   ReplicaID
	Node NodeID
}

// Placement is which replicas a group is wanted to have. The group's leader brings its Raft
// configuration there step by step (learner, caught up, joint consensus) and then reports it settled;
// until then the departing replicas may still vote, so they must stay reachable and keep their data.
type Placement struct {
	Replicas  []Replica // wanted, ascending by ID
	Departing []Replica // no longer wanted, but perhaps still in the Raft configuration
	Epoch     uint64    // grows with each change of Replicas
	Settled   bool      // the Raft configuration is known to hold exactly Replicas
}

// On returns the replica on node, if there is one.
func (p Placement) On(node NodeID) (Replica, bool) {
	for _, r := range p.Replicas {
		if r.Node == node {
			return r, true
		}
	}
	return Replica{}, false
}

// Group names a Raft group: the meta group or a shard's.
type Group struct {
	Meta  bool
	Shard shard.ID // unless Meta
}

// MetaGroup is the group that holds the State itself.
func MetaGroup() Group { return Group{Meta: true} }

// ShardGroup is the group of a shard.
func ShardGroup(id shard.ID) Group { return Group{Shard: id} }

// String returns "meta" or "shard N".
func (g Group) String() string {
	if g.Meta {
		return "meta"
	}
	return "shard " + g.Shard.String()
}

// Blueprint is what is chosen when a cluster is founded and never changes.
type Blueprint struct {
	ClusterID         string // 128 random bits in hexadecimal
	Shards            shard.Map
	ReplicationFactor int
}

// State is the whole content of the meta group. The zero State is that of no cluster; build one with
// Found or Restore. Its methods that change it check first and change nothing when they refuse.
type State struct {
	blueprint   Blueprint
	epoch       uint64 // grows with every change of anything
	nextReplica ReplicaID
	nodes       []Node // ascending by id
	meta        Placement
	shards      []Placement // index: shard.ID
	retention   metric.RetentionPolicy
}

// Found makes the state of a new cluster of nodes, all distinct, with its first placement.
func Found(b Blueprint, nodes []Node) (*State, error) {
	if b.ReplicationFactor < 1 || b.ReplicationFactor > ReplicationFactorMax {
		return nil, fault.Field("REPLICATION_FACTOR", "is "+strconv.Itoa(b.ReplicationFactor), "1 to "+strconv.Itoa(ReplicationFactorMax))
	}
	if b.ClusterID == "" || b.Shards.Count() == 0 {
		return nil, fault.New(fault.Invalid, "invalid_blueprint", "a cluster needs an id and a shard map")
	}
	if len(nodes) == 0 || len(nodes) > NodesMax {
		return nil, fault.Newf(fault.Invalid, "invalid_cluster", "a cluster has 1 to %d nodes, not %d", NodesMax, len(nodes))
	}
	s := &State{blueprint: b, epoch: 1, nextReplica: 1, nodes: slices.Clone(nodes), shards: make([]Placement, b.Shards.Count())}
	slices.SortFunc(s.nodes, func(x, y Node) int { return cmp.Compare(x.id.text, y.id.text) })
	for i := 1; i < len(s.nodes); i++ {
		if s.nodes[i].id == s.nodes[i-1].id {
			return nil, errDuplicateNode(s.nodes[i].id)
		}
	}
	everyoneAlive := func(NodeID) bool { return true }
	s.meta = s.place(s.wantedMeta(everyoneAlive))
	for i := range s.shards {
		s.shards[i] = s.place(s.firstNodes(shard.ID(i)))
	}
	return s, nil
}

// Locate returns the node of a replica, wanted or departing.
func (p Placement) Locate(id ReplicaID) (NodeID, bool) {
	for _, replicas := range [][]Replica{p.Replicas, p.Departing} {
		for _, r := range replicas {
			if r.ID == id {
				return r.Node, true
			}
		}
	}
	return NodeID{}, false
}

// place gives new replica ids on nodes and counts the epoch.
func (s *State) place(nodes []NodeID) Placement {
	p := Placement{Epoch: 1, Settled: true}
	for _, n := range nodes {
		p.Replicas = append(p.Replicas, Replica{ID: s.nextReplica, Node: n})
		s.nextReplica++
	}
	return p
}

// Blueprint returns what was chosen at founding.
func (s *State) Blueprint() Blueprint { return s.blueprint }

// Epoch returns a number that grows with every change.
func (s *State) Epoch() uint64 { return s.epoch }

// Retention returns how long samples are kept; callers must not change its rules.
func (s *State) Retention() metric.RetentionPolicy { return s.retention }

// Nodes returns the members, ascending by id; callers must not change it.
func (s *State) Nodes() []Node { return s.nodes }

// Node returns the member named id.
func (s *State) Node(id NodeID) (Node, bool) {
	i, ok := s.find(id)
	if !ok {
		return Node{}, false
	}
	return s.nodes[i], true
}

// Meta returns the placement of the meta group.
func (s *State) Meta() Placement { return s.meta }

// Shard returns the placement of a shard below Blueprint().Shards.Count().
func (s *State) Shard(id shard.ID) Placement { return s.shards[id] }

// ShardsOn returns the shards of which node is wanted to hold a replica, ascending.
func (s *State) ShardsOn(node NodeID) []shard.ID {
	var ids []shard.ID
	for i, p := range s.shards {
		if _, ok := p.On(node); ok {
			ids = append(ids, shard.ID(i))
		}
	}
	return ids
}

func (s *State) find(id NodeID) (int, bool) {
	return slices.BinarySearchFunc(s.nodes, id, func(n Node, id NodeID) int { return cmp.Compare(n.id.text, id.text) })
}

func errDuplicateNode(id NodeID) error {
	return fault.Newf(fault.Conflict, "node_exists", "NODE_ID %s belongs to another living node of the cluster; give each node its own", id)
}

// Clone returns a copy that shares nothing that either may change.
func (s *State) Clone() *State {
	c := *s
	c.nodes = slices.Clone(s.nodes)
	c.shards = slices.Clone(s.shards) // placements' replica slices are replaced, never changed
	return &c
}
