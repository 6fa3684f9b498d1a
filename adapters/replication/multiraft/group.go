// Package multiraft replicates shards: one Raft group a shard, a deterministic core that drives each of
// them (event in, effects out) and the few goroutines that run the core in production.
package multiraft

import (
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// GroupID numbers a Raft group within a cluster. MetaGroup is the group of the cluster itself; shard s
// is group s+1.
type GroupID uint64

// MetaGroup is the group that keeps the cluster's own state.
const MetaGroup GroupID = 0

// GroupOf returns the group that replicates a shard.
func GroupOf(id shard.ID) GroupID { return GroupID(id) + 1 }

// Shard returns the shard that the group replicates; false for the meta group.
func (g GroupID) Shard() (shard.ID, bool) {
	if g == MetaGroup {
		return 0, false
	}
	return shard.ID(g - 1), true
}

// String names the group for people.
func (g GroupID) String() string {
	if id, ok := g.Shard(); ok {
		return "shard " + id.String()
	}
	if g == MetaGroup {
		return "meta group"
	}
	return "group " + strconv.FormatUint(uint64(g), 10)
}
