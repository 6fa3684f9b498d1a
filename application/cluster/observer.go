package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.ClusterObserver = (*Observer)(nil)

// Observer shows the whole cluster: the state as this node knows it, with what the meta group's leader
// has heard of every node.
type Observer struct {
	route  *MetaRoute
	shards outbound.ShardObserver
}

// NewObserver returns an observer; shards are this node's own.
func NewObserver(route *MetaRoute, shards outbound.ShardObserver) *Observer {
	return &Observer{route: route, shards: shards}
}

// Overview implements inbound.ClusterObserver. Without a leader of the meta group it shows what is known
// here: the state, and this node's own replicas.
func (o *Observer) Overview(ctx context.Context) (inbound.ClusterOverview, error) {
	state, err := o.route.state()
	if err != nil {
		return inbound.ClusterOverview{}, err
	}
	leader, reports, err := o.route.reports(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return inbound.ClusterOverview{}, err
		}
		reports = nil
	}
	heard := map[cluster.NodeID]outbound.HeardReport{}
	for _, r := range reports {
		heard[r.Node] = r
	}
	overview := inbound.ClusterOverview{
		ClusterID: state.Blueprint().ClusterID, Epoch: state.Epoch(), Retention: state.Retention(),
		Meta: inbound.MetaOverview{Leader: leader, Members: state.Meta().Replicas},
	}
	for _, n := range state.Nodes() {
		r, known := heard[n.ID()]
		overview.Nodes = append(overview.Nodes, inbound.NodeOverview{Node: n, State: stateOf(n, r.Age, known), LastHeard: r.Age})
	}
	own := heard[o.route.Self]
	own.Shards = o.shards.Shards() // newer than what was reported
	heard[o.route.Self] = own
	for i := range state.Blueprint().Shards.Count() {
		overview.Shards = append(overview.Shards, shardOverview(shard.ID(i), state.Shard(shard.ID(i)), heard))
	}
	return overview, nil
}

func stateOf(n cluster.Node, age time.Duration, known bool) inbound.NodeState {
	switch {
	case !known:
		return inbound.NodeUnknown
	case age > silentAfter:
		return inbound.NodeSilent
	case n.Draining():
		return inbound.NodeDraining
	}
	return inbound.NodeAlive
}

func shardOverview(id shard.ID, p cluster.Placement, heard map[cluster.NodeID]outbound.HeardReport) inbound.ShardOverview {
	overview := inbound.ShardOverview{Shard: id, Epoch: p.Epoch, Settled: p.Settled}
	var commit, term uint64
	for _, r := range slices.Concat(p.Replicas, p.Departing) {
		replica := replicaOverview(id, r, heard[r.Node])
		if _, wanted := slices.BinarySearchFunc(p.Replicas, r.ID, func(r cluster.Replica, id cluster.ReplicaID) int { return int(r.ID) - int(id) }); !wanted {
			replica.Role = inbound.ReplicaDeparting
		}
		if replica.Leader && replica.Term > term && heard[r.Node].Age <= silentAfter {
			overview.Leader, commit, term = r.Node, replica.Commit, replica.Term
		}
		overview.Replicas = append(overview.Replicas, replica)
	}
	for i := range overview.Replicas {
		if r := &overview.Replicas[i]; r.Reported && commit > r.Applied {
			r.Lag = commit - r.Applied
		}
	}
	return overview
}

func replicaOverview(id shard.ID, r cluster.Replica, heard outbound.HeardReport) inbound.ReplicaOverview {
	overview := inbound.ReplicaOverview{Replica: r, Role: inbound.ReplicaVoter}
	i := slices.IndexFunc(heard.Shards, func(s outbound.ShardStatus) bool { return s.Shard == id })
	if i < 0 {
		return overview
	}
	s := heard.Shards[i]
	overview.Reported, overview.Leader = true, s.Leader
	overview.Term, overview.Commit, overview.Applied = s.Term, s.Commit, s.Applied
	if s.Learner {
		overview.Role = inbound.ReplicaLearner
	}
	return overview
}
