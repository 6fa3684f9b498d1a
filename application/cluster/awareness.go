package cluster

import (
	"slices"

	"github.com/raftmetrics/raftmetrics/application/health"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ health.Surroundings = (*Awareness)(nil)

// Awareness is what this node knows, without asking, of how the shards are.
type Awareness struct {
	self     cluster.NodeID
	view     *View
	reporter *Reporter
}

// NewAwareness returns the awareness of the node self.
func NewAwareness(self cluster.NodeID, view *View, reporter *Reporter) *Awareness {
	return &Awareness{self: self, view: view, reporter: reporter}
}

// Cluster implements health.Surroundings.
func (a *Awareness) Cluster() string {
	if state := a.view.State(); state != nil {
		return state.Blueprint().ClusterID
	}
	return ""
}

// Refusal implements health.Surroundings.
func (a *Awareness) Refusal() string { return a.reporter.Refusal() }

// Impeded implements health.Surroundings: it returns the shards that cannot be read or written through
// this node, ascending, given the status of its own replicas: those whose replica here votes and knows
// no leader, and of the others those that lack a majority or that a node which is cut off does not
// reach. A replica that is only being brought up here is not asked.
func (a *Awareness) Impeded(own []outbound.ShardStatus) []shard.ID {
	state := a.view.State()
	if state == nil {
		return nil
	}
	lost, cutOff := state.WithoutMajority(a.reporter.Silent), a.reporter.CutOff()
	var impeded []shard.ID
	for i := range state.Blueprint().Shards.Count() {
		id := shard.ID(i)
		at := slices.IndexFunc(own, func(s outbound.ShardStatus) bool { return s.Shard == id })
		switch {
		case at >= 0 && own[at].Serving:
		case at >= 0 && !own[at].Learner, cutOff, slices.Contains(lost, id):
			impeded = append(impeded, id)
		}
	}
	return impeded
}

// UnderReplicated implements health.Surroundings: it returns the shards with fewer live replicas than wanted, ascending.
func (a *Awareness) UnderReplicated() []shard.ID {
	state := a.view.State()
	if state == nil {
		return nil
	}
	return state.UnderReplicated(a.reporter.Silent)
}
