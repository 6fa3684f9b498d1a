package workerrpc

import (
	"fmt"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func encodeStatus(list []outbound.ShardStatus) []*workerpb.ShardStatus {
	messages := make([]*workerpb.ShardStatus, len(list))
	for i, s := range list {
		messages[i] = &workerpb.ShardStatus{
			Shard: uint32(s.Shard), Leader: s.Leader, Learner: s.Learner, Serving: s.Serving, LeaderReplica: s.LeaderReplica,
			Term: s.Term, Commit: s.Commit, Applied: s.Applied,
		}
	}
	return messages
}

func decodeStatus(messages []*workerpb.ShardStatus) []outbound.ShardStatus {
	list := make([]outbound.ShardStatus, len(messages))
	for i, m := range messages {
		list[i] = outbound.ShardStatus{
			Shard: shard.ID(m.GetShard()), Leader: m.GetLeader(), Learner: m.GetLearner(), Serving: m.GetServing(),
			LeaderReplica: m.GetLeaderReplica(), Term: m.GetTerm(), Commit: m.GetCommit(), Applied: m.GetApplied(),
		}
	}
	return list
}

func encodeReport(r outbound.NodeReport) *workerpb.ReportRequest {
	m := &workerpb.ReportRequest{
		Node: r.Node.String(), Incarnation: uint64(r.Incarnation), Address: r.Address, Epoch: r.Epoch,
		Shards: encodeStatus(r.Shards), Clock: int64(r.Clock),
	}
	for _, g := range r.Settled {
		m.Settled = append(m.Settled, &workerpb.SettledGroup{Meta: g.Group.Meta, Shard: uint32(g.Group.Shard), Epoch: g.Epoch})
	}
	for _, d := range r.Damaged {
		m.Damaged = append(m.Damaged, &workerpb.DamagedReplica{Meta: d.Group.Meta, Shard: uint32(d.Group.Shard), Epoch: d.Epoch})
	}
	return m
}

func decodeReport(m *workerpb.ReportRequest) (outbound.NodeReport, error) {
	id, err := cluster.NewNodeID(m.GetNode())
	if err != nil {
		return outbound.NodeReport{}, err
	}
	clock, err := metric.NewTimestamp(m.GetClock())
	if err != nil {
		return outbound.NodeReport{}, err
	}
	r := outbound.NodeReport{
		Node: id, Incarnation: cluster.Incarnation(m.GetIncarnation()), Address: m.GetAddress(), Epoch: m.GetEpoch(),
		Shards: decodeStatus(m.GetShards()), Clock: clock,
	}
	for _, g := range m.GetSettled() {
		r.Settled = append(r.Settled, outbound.SettledGroup{
			Group: cluster.Group{Meta: g.GetMeta(), Shard: shard.ID(g.GetShard())}, Epoch: g.GetEpoch(),
		})
	}
	for _, d := range m.GetDamaged() {
		r.Damaged = append(r.Damaged, outbound.DamagedReplica{
			Group: cluster.Group{Meta: d.GetMeta(), Shard: shard.ID(d.GetShard())}, Epoch: d.GetEpoch(),
		})
	}
	return r, nil
}

func encodeReply(r outbound.ReportReply) *workerpb.ReportResponse {
	m := &workerpb.ReportResponse{State: r.State, Clock: int64(r.Clock)}
	for _, id := range r.Silent {
		m.Silent = append(m.Silent, id.String())
	}
	return m
}

func decodeReply(m *workerpb.ReportResponse) (outbound.ReportReply, error) {
	clock, err := metric.NewTimestamp(m.GetClock())
	if err != nil {
		return outbound.ReportReply{}, fmt.Errorf("decode reply: %w: %w", errMessage, err)
	}
	r := outbound.ReportReply{State: m.GetState(), Clock: clock}
	for _, text := range m.GetSilent() {
		id, err := cluster.NewNodeID(text)
		if err != nil {
			return outbound.ReportReply{}, fmt.Errorf("decode reply: %w: %w", errMessage, err)
		}
		r.Silent = append(r.Silent, id)
	}
	return r, nil
}

func encodeHeard(reports []outbound.HeardReport) *workerpb.ReportsResponse {
	m := &workerpb.ReportsResponse{Reports: make([]*workerpb.HeardReport, len(reports))}
	for i, r := range reports {
		m.Reports[i] = &workerpb.HeardReport{
			Node: r.Node.String(), AgeNanos: int64(r.Age), Reported: r.Shards != nil, Shards: encodeStatus(r.Shards),
		}
	}
	return m
}

func decodeHeard(m *workerpb.ReportsResponse) ([]outbound.HeardReport, error) {
	reports := make([]outbound.HeardReport, len(m.GetReports()))
	for i, r := range m.GetReports() {
		id, err := cluster.NewNodeID(r.GetNode())
		if err != nil {
			return nil, fmt.Errorf("decode reports: %w: %w", errMessage, err)
		}
		reports[i] = outbound.HeardReport{Node: id, Age: time.Duration(r.GetAgeNanos())}
		if r.GetReported() {
			reports[i].Shards = decodeStatus(r.GetShards())
		}
	}
	return reports, nil
}
