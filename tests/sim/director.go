package sim

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

const directInterval = 100 * time.Millisecond

// home is where messages for a replica go.
type home struct {
	shard   shard.ID
	replica uint64
}

// place notes which node founds which replica.
func (w *world) place(ids []uint64) {
	w.homes, w.idLast = map[home]*node{}, ids[len(ids)-1]
	for s := range w.swarm.shards {
		place := cluster.Placement{Settled: true}
		for i, id := range ids {
			place.Replicas = append(place.Replicas, cluster.Replica{ID: cluster.ReplicaID(id)})
			w.homes[home{shard.ID(s), id}] = w.nodes[i]
		}
		w.places = append(w.places, place)
	}
}

// settled reports whether every group consists of exactly the replicas that it is to have.
func (w *world) settled() bool {
	return !slices.ContainsFunc(w.places, func(p cluster.Placement) bool { return !p.Settled })
}

// wipe takes a node's disk away, log and data. Its replicas are replaced by empty ones under new ids.
// As one of three it may happen at any time, but not again before the replacement is done.
func (w *world) wipe() {
	if !w.settled() {
		return
	}
	w.counts.Wipes++
	n := w.anyNode()
	n.crash()
	n.format()
	var writes []multiraft.LogWrite
	for s, r := range n.shards {
		r.disk, r.fetched = memory.NewDisk(), nil
		if w.mutant == ReusedID {
			writes = append(writes, multiraft.Found(r.group, r.id, w.founding))
			continue
		}
		w.idLast++
		replicas := slices.DeleteFunc(slices.Clone(w.places[s].Replicas), func(old cluster.Replica) bool {
			return uint64(old.ID) == r.id
		})
		w.places[s] = cluster.Placement{Replicas: append(replicas, cluster.Replica{ID: cluster.ReplicaID(w.idLast)})}
		r.id = w.idLast
		w.homes[home{r.shard, r.id}] = n
		writes = append(writes, multiraft.Join(r.group, r.id))
	}
	n.must(n.log.Write(writes), "join")
	n.start()
}

// direct lets leaders take the next step towards their group's placement, as the control plane does.
func (w *world) direct() {
	for s := range w.places {
		if w.places[s].Settled {
			continue
		}
		for _, n := range w.nodes {
			if n.up {
				w.directReplica(n.shards[s], &w.places[s])
			}
		}
	}
	w.after(directInterval, w.direct)
}

func (w *world) directReplica(r *replica, place *cluster.Placement) {
	configuration, leads := r.core.Configuration()
	if !leads {
		return
	}
	step := cluster.NextStep(*place, configuration)
	var changes []*raftpb.ConfChangeSingle
	change := func(kind raftpb.ConfChangeType, ids ...cluster.ReplicaID) {
		for _, id := range ids {
			changes = append(changes, &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(uint64(id))})
		}
	}
	switch step.Kind {
	case cluster.StepSettled:
		place.Settled = true
	case cluster.StepAddLearner:
		change(raftpb.ConfChangeAddLearnerNode, step.Replica)
	case cluster.StepRemoveLearner:
		change(raftpb.ConfChangeRemoveNode, step.Replica)
	case cluster.StepTransfer:
		r.post(multiraft.TransferLeader{To: uint64(step.Replica)})
	case cluster.StepSwap:
		change(raftpb.ConfChangeAddNode, step.Promote...)
		change(raftpb.ConfChangeRemoveNode, step.Remove...)
	case cluster.StepWait:
	}
	if len(changes) > 0 {
		r.post(multiraft.ChangeMembership{Ticket: r.nextTicket(), Changes: changes})
	}
}
