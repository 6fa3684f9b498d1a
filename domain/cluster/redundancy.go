package cluster

import "github.com/raftmetrics/raftmetrics/domain/shard"

// UnderReplicated returns the shards with fewer live replicas than wanted, ascending: the replication
// factor's number, or one on each node that stays where there are fewer nodes.
func (s *State) UnderReplicated(silent func(NodeID) bool) []shard.ID {
	wanted := 0
	for _, n := range s.nodes {
		if !n.draining {
			wanted++
		}
	}
	wanted = min(wanted, s.blueprint.ReplicationFactor)
	return s.shardsWith(func(p Placement) bool { return p.live(silent) < wanted })
}

// WithoutMajority returns the shards that too few living nodes hold to elect a leader, ascending.
func (s *State) WithoutMajority(silent func(NodeID) bool) []shard.ID {
	return s.shardsWith(func(p Placement) bool {
		return alive(p.Replicas, silent)+alive(p.Departing, silent) <= len(p.Replicas)/2
	})
}

func (s *State) shardsWith(property func(Placement) bool) []shard.ID {
	var ids []shard.ID
	for i, p := range s.shards {
		if property(p) {
			ids = append(ids, shard.ID(i))
		}
	}
	return ids
}

// live counts the replicas on living nodes that hold the shard's content. Until a placement has settled
// each change of it may have one replica that is still being brought up.
func (p Placement) live(silent func(NodeID) bool) int {
	count := alive(p.Replicas, silent) + alive(p.Departing, silent)
	if !p.Settled {
		count -= max(1, len(p.Departing))
	}
	return count
}

func alive(replicas []Replica, silent func(NodeID) bool) int {
	count := 0
	for _, r := range replicas {
		if !silent(r.Node) {
			count++
		}
	}
	return count
}
