package workerrpc

import (
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func encodeStatus(list []outbound.ShardStatus) []*workerpb.ShardStatus {
	messages := make([]*workerpb.ShardStatus, len(list))
	for i, s := range list {
		messages[i] = &workerpb.ShardStatus{
			Shard: uint32(s.Shard), Leader: s.Leader, Serving: s.Serving, LeaderReplica: s.LeaderReplica,
			Term: s.Term, Commit: s.Commit, Applied: s.Applied,
		}
	}
	return messages
}

func decodeStatus(messages []*workerpb.ShardStatus) []outbound.ShardStatus {
	list := make([]outbound.ShardStatus, len(messages))
	for i, m := range messages {
		list[i] = outbound.ShardStatus{
			Shard: shard.ID(m.GetShard()), Leader: m.GetLeader(), Serving: m.GetServing(), LeaderReplica: m.GetLeaderReplica(),
			Term: m.GetTerm(), Commit: m.GetCommit(), Applied: m.GetApplied(),
		}
	}
	return list
}

func encodeReport(r outbound.NodeReport) *workerpb.ReportRequest {
	m := &workerpb.ReportRequest{
		Node: r.Node.String(), Incarnation: uint64(r.Incarnation), Address: r.Address, Epoch: r.Epoch,
		Shards: encodeStatus(r.Shards),
	}
	for _, g := range r.Settled {
		m.Settled = append(m.Settled, &workerpb.SettledGroup{Meta: g.Group.Meta, Shard: uint32(g.Group.Shard), Epoch: g.Epoch})
	}
	return m
}

func decodeReport(m *workerpb.ReportRequest) (outbound.NodeReport, error) {
	id, err := cluster.NewNodeID(m.GetNode())
	if err != nil {
		return outbound.NodeReport{}, err
	}
	r := outbound.NodeReport{
		Node: id, Incarnation: cluster.Incarnation(m.GetIncarnation()), Address: m.GetAddress(), Epoch: m.GetEpoch(),
		Shards: decodeStatus(m.GetShards()),
	}
	for _, g := range m.GetSettled() {
		r.Settled = append(r.Settled, outbound.SettledGroup{
			Group: cluster.Group{Meta: g.GetMeta(), Shard: shard.ID(g.GetShard())}, Epoch: g.GetEpoch(),
		})
	}
	return r, nil
}
