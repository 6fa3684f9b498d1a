package bootstrap

import (
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// soleVoter tells how fresh the replicas of a single node are. Each is the only voter of its group: as
// leader it is a majority by itself, at any moment, and it applies a write before it acknowledges it.
type soleVoter struct{ shards outbound.ShardObserver }

var _ outbound.FreshnessGauge = soleVoter{}

// Freshness implements outbound.FreshnessGauge.
func (v soleVoter) Freshness(id shard.ID) (time.Duration, bool) {
	return 0, slices.ContainsFunc(v.shards.Shards(), func(s outbound.ShardStatus) bool {
		return s.Shard == id && s.Leader && s.Serving
	})
}
