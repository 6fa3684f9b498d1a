package httpapi

import (
	"encoding/hex"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// The answers about the cluster, in the form that clients see. Member names are part of the API.
type (
	memberJSON struct {
		ID      string `json:"id"`
		Role    string `json:"role"`
		Address string `json:"address"`
	}
	nodeJSON struct {
		memberJSON
		State     string `json:"state"`
		LastHeard *int64 `json:"last_heard_ms"` // null: unknown
	}
	replicaJSON struct {
		ID      uint64  `json:"id"`
		Node    string  `json:"node"`
		Role    string  `json:"role,omitempty"` // left out for the meta group
		Term    *uint64 `json:"term,omitempty"` // these are left out where the node has not reported
		Commit  *uint64 `json:"commit,omitempty"`
		Applied *uint64 `json:"applied,omitempty"`
		Lag     *uint64 `json:"lag,omitempty"`
	}
	metaJSON struct {
		Leader  *string       `json:"leader"`
		Members []replicaJSON `json:"members"`
	}
	shardJSON struct {
		Shard    uint32        `json:"shard"`
		Leader   *string       `json:"leader"`
		Epoch    uint64        `json:"epoch"`
		Settled  bool          `json:"settled"`
		Replicas []replicaJSON `json:"replicas"`
	}
	overviewJSON struct {
		ClusterID string        `json:"cluster_id"`
		Epoch     uint64        `json:"epoch"`
		Retention retentionJSON `json:"retention"`
		Nodes     []nodeJSON    `json:"nodes"`
		Meta      metaJSON      `json:"meta"`
		Shards    []shardJSON   `json:"shards"`
	}
	removalJSON struct {
		ID       string `json:"id"`
		State    string `json:"state"`
		Replicas int    `json:"replicas"`
	}
	moveJSON struct {
		Group string  `json:"group"`
		From  *string `json:"from"`
		To    *string `json:"to"`
	}
	rebalanceJSON struct {
		Moves    []moveJSON `json:"moves"`
		UnderWay int        `json:"under_way"`
	}
	flushJSON struct {
		Flushed bool `json:"flushed"`
	}
	shardVerificationJSON struct {
		Shard   uint32            `json:"shard"`
		Index   uint64            `json:"index"`
		Equal   bool              `json:"equal"`
		Digests map[string]string `json:"digests"`
		Missing map[string]string `json:"missing,omitempty"`
	}
	verificationJSON struct {
		Equal  bool                    `json:"equal"`
		Shards []shardVerificationJSON `json:"shards"`
	}
)

// nameOf is null for no node.
func nameOf(id cluster.NodeID) *string {
	if id.IsZero() {
		return nil
	}
	return new(id.String())
}

func memberJSONOf(n cluster.Node) memberJSON {
	return memberJSON{ID: n.ID().String(), Role: n.Role().String(), Address: n.Address()}
}

func overviewJSONOf(o inbound.ClusterOverview) overviewJSON {
	answer := overviewJSON{
		ClusterID: o.ClusterID, Epoch: o.Epoch, Retention: retentionJSONOf(o.Retention),
		Nodes: []nodeJSON{}, Meta: metaJSON{Leader: nameOf(o.Meta.Leader), Members: []replicaJSON{}}, Shards: []shardJSON{},
	}
	for _, n := range o.Nodes {
		node := nodeJSON{memberJSON: memberJSONOf(n.Node), State: string(n.State)}
		if n.State != inbound.NodeUnknown {
			node.LastHeard = new(n.LastHeard.Milliseconds())
		}
		answer.Nodes = append(answer.Nodes, node)
	}
	for _, r := range o.Meta.Members {
		answer.Meta.Members = append(answer.Meta.Members, replicaJSON{ID: uint64(r.ID), Node: r.Node.String()})
	}
	for _, s := range o.Shards {
		shard := shardJSON{Shard: uint32(s.Shard), Leader: nameOf(s.Leader), Epoch: s.Epoch, Settled: s.Settled, Replicas: []replicaJSON{}}
		for _, r := range s.Replicas {
			shard.Replicas = append(shard.Replicas, replicaJSONOf(r))
		}
		answer.Shards = append(answer.Shards, shard)
	}
	return answer
}

func replicaJSONOf(r inbound.ReplicaOverview) replicaJSON {
	replica := replicaJSON{ID: uint64(r.Replica.ID), Node: r.Replica.Node.String(), Role: string(r.Role)}
	if r.Reported {
		replica.Term, replica.Commit, replica.Applied, replica.Lag = &r.Term, &r.Commit, &r.Applied, &r.Lag
	}
	return replica
}

func rebalanceJSONOf(result inbound.Rebalance) rebalanceJSON {
	answer := rebalanceJSON{Moves: []moveJSON{}, UnderWay: result.UnderWay}
	for _, m := range result.Moves {
		answer.Moves = append(answer.Moves, moveJSON{Group: m.Group.String(), From: nameOf(m.From), To: nameOf(m.To)})
	}
	return answer
}

func verificationJSONOf(v inbound.Verification) verificationJSON {
	answer := verificationJSON{Equal: v.Equal, Shards: []shardVerificationJSON{}}
	for _, s := range v.Shards {
		shard := shardVerificationJSON{Shard: uint32(s.Shard), Index: s.Index, Equal: s.Equal, Digests: map[string]string{}}
		for _, r := range s.Replicas {
			if r.Digest != nil {
				shard.Digests[r.Node.String()] = hex.EncodeToString(r.Digest)
				continue
			}
			if shard.Missing == nil {
				shard.Missing = map[string]string{}
			}
			shard.Missing[r.Node.String()] = r.Failure
		}
		answer.Shards = append(answer.Shards, shard)
	}
	return answer
}
