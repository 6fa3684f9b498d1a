package cluster

import (
	"cmp"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Record is a State as plain data, for adapters and codecs that store or send one.
type Record struct {
	Blueprint   Blueprint
	Epoch       uint64
	NextReplica ReplicaID
	Nodes       []Node
	Meta        Placement
	Shards      []Placement
	Retention   metric.RetentionPolicy
}

// Record returns the state as plain data, which shares nothing that the state will change.
func (s *State) Record() Record {
	c := s.Clone()
	return Record{
		Blueprint: c.blueprint, Epoch: c.epoch, NextReplica: c.nextReplica,
		Nodes: c.nodes, Meta: c.meta, Shards: c.shards, Retention: c.retention,
	}
}

// Restore rebuilds a state from its record, or refuses one that contradicts itself as Corrupt.
func Restore(r Record) (*State, error) {
	s := &State{
		blueprint: r.Blueprint, epoch: r.Epoch, nextReplica: r.NextReplica,
		nodes: slices.Clone(r.Nodes), meta: r.Meta, shards: slices.Clone(r.Shards), retention: r.Retention,
	}
	if r.Retention.Check("retention") != nil {
		return nil, errRecord("its retention")
	}
	if len(s.shards) != s.blueprint.Shards.Count() || len(s.shards) == 0 || s.blueprint.ClusterID == "" {
		return nil, errRecord("the number of shards")
	}
	if !slices.IsSortedFunc(s.nodes, func(a, b Node) int { return cmp.Compare(a.id.text, b.id.text) }) {
		return nil, errRecord("the order of nodes")
	}
	seen := map[ReplicaID]bool{}
	for _, p := range append([]Placement{s.meta}, s.shards...) {
		for _, replica := range slices.Concat(p.Replicas, p.Departing) {
			if _, member := s.find(replica.Node); !member || replica.ID == 0 || replica.ID >= s.nextReplica || seen[replica.ID] {
				return nil, errRecord("a replica's id or node")
			}
			seen[replica.ID] = true
		}
	}
	return s, nil
}

func errRecord(what string) error {
	return fault.Newf(fault.Corrupt, "invalid_cluster_state", "the cluster state contradicts itself in %s", what)
}
