// Package cluster holds the use cases of the cluster itself: the meta group's state machine, what
// each node makes of the state (hosting replicas, leading groups to their placement, reporting), and
// what the meta group's leader decides.
package cluster

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// The formats of the encoded cluster state. It is JSON: small, rare, and readable when something is wrong.
// A state is written in the oldest format that says it all, so that a cluster which does not use what is
// new can still go back to an older version of the program.
const (
	stateFormatFirst     = 1
	stateFormatRetention = 2 // adds retention
)

var stateFormats = []int{stateFormatFirst, stateFormatRetention}

type stateRecord struct {
	Format            int               `json:"format"`
	ClusterID         string            `json:"cluster_id"`
	ShardMapVersion   int               `json:"shard_map_version"`
	Shards            int               `json:"shards"`
	MetricSpread      int               `json:"metric_spread"`
	ReplicationFactor int               `json:"replication_factor"`
	Epoch             uint64            `json:"epoch"`
	NextReplica       uint64            `json:"next_replica"`
	Nodes             []nodeRecord      `json:"nodes"`
	Meta              placementRecord   `json:"meta"`
	Placements        []placementRecord `json:"placements"`
	Retention         *retentionRecord  `json:"retention,omitempty"`
}

type nodeRecord struct {
	ID          string `json:"id"`
	Role        string `json:"role"`
	Address     string `json:"address"`
	Incarnation uint64 `json:"incarnation"`
	Draining    bool   `json:"draining,omitempty"`
}

type placementRecord struct {
	Epoch     uint64          `json:"epoch"`
	Settled   bool            `json:"settled"`
	Replicas  []replicaRecord `json:"replicas"`
	Departing []replicaRecord `json:"departing,omitempty"`
}

type replicaRecord struct {
	ID   uint64 `json:"id"`
	Node string `json:"node"`
}

// EncodeState writes the state as bytes; equal states give equal bytes.
func EncodeState(s *cluster.State) ([]byte, error) {
	r := s.Record()
	record := stateRecord{
		Format: stateFormatFirst, ClusterID: r.Blueprint.ClusterID, ShardMapVersion: shard.MapVersion,
		Shards: r.Blueprint.Shards.Count(), MetricSpread: r.Blueprint.Shards.Spread(),
		ReplicationFactor: r.Blueprint.ReplicationFactor, Epoch: r.Epoch, NextReplica: uint64(r.NextReplica),
		Meta: placementToRecord(r.Meta),
	}
	for _, n := range r.Nodes {
		record.Nodes = append(record.Nodes, nodeToRecord(n))
	}
	for _, p := range r.Shards {
		record.Placements = append(record.Placements, placementToRecord(p))
	}
	if !r.Retention.IsZero() {
		record.Format, record.Retention = stateFormatRetention, retentionToRecord(r.Retention)
	}
	data, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode cluster state: %w", err)
	}
	return data, nil
}

// DecodeState reads what EncodeState wrote. An error has kind Corrupt.
func DecodeState(data []byte) (*cluster.State, error) {
	var record stateRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "invalid_cluster_state", "decode cluster state")
	}
	if !slices.Contains(stateFormats, record.Format) || record.ShardMapVersion != shard.MapVersion {
		return nil, fault.Newf(fault.Corrupt, "unknown_format", "cluster state has format %d with shard map %d; this version reads %v with %d",
			record.Format, record.ShardMapVersion, stateFormats, shard.MapVersion)
	}
	r, err := record.restore()
	if err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "invalid_cluster_state", "decode cluster state")
	}
	return cluster.Restore(r)
}

func (record stateRecord) restore() (cluster.Record, error) {
	shards, err := shard.NewMap(record.Shards, record.MetricSpread)
	if err != nil {
		return cluster.Record{}, err
	}
	r := cluster.Record{
		Blueprint:   cluster.Blueprint{ClusterID: record.ClusterID, Shards: shards, ReplicationFactor: record.ReplicationFactor},
		Epoch:       record.Epoch,
		NextReplica: cluster.ReplicaID(record.NextReplica),
	}
	for _, n := range record.Nodes {
		node, err := n.node()
		if err != nil {
			return cluster.Record{}, err
		}
		r.Nodes = append(r.Nodes, node)
	}
	if r.Meta, err = record.Meta.placement(); err != nil {
		return cluster.Record{}, err
	}
	for _, p := range record.Placements {
		placement, err := p.placement()
		if err != nil {
			return cluster.Record{}, err
		}
		r.Shards = append(r.Shards, placement)
	}
	r.Retention, err = record.Retention.policy()
	return r, err
}

func nodeToRecord(n cluster.Node) nodeRecord {
	return nodeRecord{
		ID: n.ID().String(), Role: n.Role().String(), Address: n.Address(),
		Incarnation: uint64(n.Incarnation()), Draining: n.Draining(),
	}
}

func (n nodeRecord) node() (cluster.Node, error) {
	id, err := cluster.NewNodeID(n.ID)
	if err != nil {
		return cluster.Node{}, err
	}
	role, err := cluster.ParseRole(n.Role)
	if err != nil {
		return cluster.Node{}, err
	}
	node, err := cluster.NewNode(id, role, n.Address, cluster.Incarnation(n.Incarnation))
	return node.WithDraining(n.Draining), err
}

func placementToRecord(p cluster.Placement) placementRecord {
	return placementRecord{
		Epoch: p.Epoch, Settled: p.Settled,
		Replicas: replicasToRecords(p.Replicas), Departing: replicasToRecords(p.Departing),
	}
}

func replicasToRecords(replicas []cluster.Replica) []replicaRecord {
	var records []replicaRecord
	for _, r := range replicas {
		records = append(records, replicaRecord{ID: uint64(r.ID), Node: r.Node.String()})
	}
	return records
}

func (p placementRecord) placement() (cluster.Placement, error) {
	placement := cluster.Placement{Epoch: p.Epoch, Settled: p.Settled}
	var err error
	if placement.Replicas, err = replicasFromRecords(p.Replicas); err != nil {
		return cluster.Placement{}, err
	}
	placement.Departing, err = replicasFromRecords(p.Departing)
	return placement, err
}

func replicasFromRecords(records []replicaRecord) ([]cluster.Replica, error) {
	var replicas []cluster.Replica
	for _, r := range records {
		node, err := cluster.NewNodeID(r.Node)
		if err != nil {
			return nil, err
		}
		replicas = append(replicas, cluster.Replica{ID: cluster.ReplicaID(r.ID), Node: node})
	}
	return replicas, nil
}
