package multiraft

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// hosted are the replicas that run here. It is replaced as a whole when one comes or goes.
type hosted struct {
	list []*group // ascending by id
	byID map[GroupID]*group
}

func newHosted(list []*group) *hosted {
	slices.SortFunc(list, func(a, b *group) int { return cmp.Compare(a.id, b.id) })
	h := &hosted{list: list, byID: make(map[GroupID]*group, len(list))}
	for _, g := range list {
		h.byID[g.id] = g
	}
	return h
}

// group returns the replica of a group, nil when it is not here.
func (n *Node) group(id GroupID) *group { return n.hosted.Load().byID[id] }

// replica is what a group is started from.
type replica struct {
	group    GroupID
	id       uint64
	founders []uint64
	applied  outbound.AppliedState
	apply    applyFunc
}

// applyFunc gives entries to a group's state machine.
type applyFunc func(ctx context.Context, entries []inbound.Entry) ([][]byte, error)

func (n *Node) ofShard(c ShardConfig) replica {
	return replica{
		group: GroupOf(c.Shard), id: c.ReplicaID, founders: c.Founders, applied: c.Applied,
		apply: func(ctx context.Context, entries []inbound.Entry) ([][]byte, error) {
			return n.cfg.Applier.Apply(ctx, c.Shard, entries)
		},
	}
}

func ofMeta(c MetaConfig) replica {
	return replica{group: MetaGroup, id: c.ReplicaID, founders: c.Founders, applied: c.Applied, apply: c.Applier.ApplyMeta}
}

// Add brings up one more shard's replica. Errors are those of New; Conflict when the shard is here.
func (n *Node) Add(c ShardConfig) error { return n.host([]replica{n.ofShard(c)}) }

// AddMeta brings up the meta group's replica. Errors are those of New; Conflict when it is here.
func (n *Node) AddMeta(c MetaConfig) error { return n.host([]replica{ofMeta(c)}) }

// Remove ends a group's replica: when it returns, nothing of this node touches the group's log or state
// machine any more. What is stored stays. Callers that wait get ErrAmbiguous. It must not be called by
// that state machine itself. Without such a replica it does nothing.
func (n *Node) Remove(id GroupID) {
	n.changing.Lock()
	defer n.changing.Unlock()
	g := n.group(id)
	if g == nil {
		return
	}
	n.hosted.Store(newHosted(slices.DeleteFunc(slices.Clone(n.hosted.Load().list), func(have *group) bool { return have == g })))
	g.close()
	// Whoever began before it was closed ends now.
	for _, busy := range []interface {
		Lock()
		Unlock()
	}{&g.stepping, &n.log.writing, &g.applying} {
		busy.Lock()
		busy.Unlock() //nolint:staticcheck // taking it once is the wait
	}
}

// DestroyLog removes the log of a group whose replica was removed, so that another replica of the group
// may be created here. Conflict while the replica runs.
func (n *Node) DestroyLog(id GroupID) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	if n.group(id) != nil {
		return fault.Newf(fault.Conflict, "replica_hosted", "a replica of %s runs here", id)
	}
	return n.log.writeNow([]LogWrite{{Group: id, Destroy: true}}, "destroy log")
}

// host creates what is new, recovers and starts the replicas.
func (n *Node) host(replicas []replica) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	for _, r := range replicas {
		if n.group(r.group) != nil {
			return fault.Newf(fault.Conflict, "replica_hosted", "a replica of %s runs here already", r.group)
		}
		if r.id == 0 {
			return fault.Newf(fault.Internal, "no_replica_id", "the replica of %s has no id", r.group)
		}
	}
	if err := n.createMissing(replicas); err != nil {
		return err
	}
	groups, err := n.recover(replicas)
	if err != nil {
		return err
	}
	n.hosted.Store(newHosted(append(slices.Clone(n.hosted.Load().list), groups...)))
	for _, g := range groups {
		g.wake()
	}
	return nil
}

// createMissing writes the identities of all replicas that the log does not know.
func (n *Node) createMissing(replicas []replica) error {
	var writes []LogWrite
	for _, r := range replicas {
		stored, err := n.cfg.Log.Load(r.group)
		if err != nil {
			return fmt.Errorf("load log of %s: %w", r.group, err)
		}
		have := stored.Identity.ReplicaID
		switch {
		case have == r.id:
		case have != 0:
			return fault.Newf(fault.Conflict, "replica_mismatch",
				"the log of %s belongs to replica %d, not %d", r.group, have, r.id)
		case r.applied.Index > 0:
			return fault.Newf(fault.Corrupt, "log_lost",
				"the log of %s is lost: storage is at index %d, but there is no log", r.group, r.applied.Index)
		case len(r.founders) == 0:
			writes = append(writes, Join(r.group, r.id))
		default:
			founding, err := Membership(r.founders...)
			if err != nil {
				return err
			}
			writes = append(writes, Found(r.group, r.id, founding))
		}
	}
	return n.log.writeNow(writes, "create logs")
}

// recover aligns the logs with the state machines and builds the cores.
func (n *Node) recover(replicas []replica) ([]*group, error) {
	var writes []LogWrite
	recoveries := make([]Recovery, len(replicas))
	for i, r := range replicas {
		s := &r.applied
		rec, err := Recover(n.cfg.Log, r.group, AppliedPoint{
			LogPoint: LogPoint{Index: s.Index, Term: s.Term}, LogTime: s.LogTime, Membership: s.Membership,
		})
		if err != nil {
			return nil, err
		}
		if !rec.Write.IsEmpty() {
			writes = append(writes, rec.Write)
		}
		recoveries[i] = rec
	}
	if err := n.log.writeNow(writes, "align logs"); err != nil {
		return nil, err
	}
	groups := make([]*group, len(replicas))
	for i, r := range replicas {
		core, err := NewReplica(ReplicaConfig{
			Group: r.group, Log: n.cfg.Log, Recovery: recoveries[i], ReadNonce: n.cfg.Entropy.Uint64(),
			Limits: n.cfg.Limits, Logger: raftLogger{n.cfg.Logger.With().Stringer("group", r.group).Logger()},
		})
		if err != nil {
			return nil, err
		}
		groups[i] = newGroup(n, r, core)
	}
	return groups, nil
}

// shardOf returns a group's shard; the meta group, which no caller of shards meets, gives 0.
func shardOf(g *group) shard.ID {
	id, _ := g.id.Shard()
	return id
}
