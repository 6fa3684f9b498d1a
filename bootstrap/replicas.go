package bootstrap

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
	"github.com/raftmetrics/raftmetrics/application/apply"
	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// replicas brings replicas of this node up and down: storage, state machine, log and Raft together.
type replicas struct {
	log         *raftlog.Store
	storage     sampleStorage
	machine     *apply.StateMachine
	replication *multiraft.Node
	home        home
	damage      *damage
	view        *appcluster.View
	founding    []byte
	logger      zerolog.Logger
	sole        bool    // nobody else has what is here
	replayed    *uint64 // counts the entries to be applied again
	mu          struct {
		sync.Mutex
		running map[cluster.Group]cluster.ReplicaID
		meta    *appcluster.MetaMachine
	}
}

var _ outbound.ReplicaHost = (*replicas)(nil)

func groupID(g cluster.Group) multiraft.GroupID {
	if g.Meta {
		return multiraft.MetaGroup
	}
	return multiraft.GroupOf(g.Shard)
}

// Host implements outbound.ReplicaHost.
func (r *replicas) Host(ctx context.Context, group cluster.Group, id cluster.ReplicaID, founding []cluster.ReplicaID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.running[group] == id {
		return nil
	}
	stored, err := r.log.Load(groupID(group))
	if err != nil {
		return fmt.Errorf("load log: %w", err)
	}
	switch have := stored.Identity.ReplicaID; {
	case have == uint64(id) && r.damage.has(group):
		return nil // it waits to be made anew under another id
	case have != 0 && have != uint64(id):
		if err := r.destroy(ctx, group); err != nil {
			return err
		}
		stored = multiraft.LogState{}
	}
	founders := make([]uint64, len(founding))
	for i, f := range founding {
		founders[i] = uint64(f)
	}
	if group.Meta {
		err = r.hostMeta(ctx, uint64(id), founders)
	} else {
		err = r.hostShard(ctx, group.Shard, uint64(id), founders, stored)
	}
	if err != nil {
		return err
	}
	r.mu.running[group] = id
	r.damage.remove(group)
	r.logger.Info().Stringer("group", group).Uint64("replica", uint64(id)).Msg("replica is up")
	return nil
}

func (r *replicas) hostShard(ctx context.Context, id shard.ID, replica uint64, founders []uint64, stored multiraft.LogState) error {
	state, err := r.openShard(ctx, id)
	if err != nil {
		return fmt.Errorf("open storage: %w", err)
	}
	if state, err = r.finishInstall(ctx, id, state, stored); err != nil {
		return err
	}
	created := stored.Identity.ReplicaID != 0
	if created && state.Index < stored.Truncated.Index && (state.Index > 0 || stored.Truncated.Index > 1) {
		if r.sole {
			return fault.Newf(fault.Corrupt, "shard_behind_log",
				"shard %v holds its data up to entry %d, but its log begins after %d; restore DATA_DIR from a backup",
				id, state.Index, stored.Truncated.Index)
		}
		r.damage.add(cluster.ShardGroup(id))
		return fault.Newf(fault.Corrupt, "shard_behind_log", "the replica lacks what its log has dropped; it is to be made anew")
	}
	if err := r.machine.Restore(id, state); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	*r.replayed += stored.Last - min(stored.Last, max(state.Index, stored.Truncated.Index))
	return r.replication.Add(multiraft.ShardConfig{Shard: id, ReplicaID: replica, Founders: founders, Applied: state})
}

// finishInstall installs a snapshot for which the log was reset already when a crash came between.
func (r *replicas) finishInstall(ctx context.Context, id shard.ID, state outbound.AppliedState, stored multiraft.LogState) (outbound.AppliedState, error) {
	if state.Index >= stored.Truncated.Index {
		return state, nil
	}
	received, found, err := r.storage.ReceivedSnapshot(ctx, id)
	if err != nil || !found || received.State.Index < stored.Truncated.Index {
		return state, err
	}
	return r.storage.InstallSnapshot(ctx, id, received.Manifest)
}

// openShard opens the shard's storage. Damaged data is set aside: the log, where it has everything, or
// the other replicas bring it back.
func (r *replicas) openShard(ctx context.Context, id shard.ID) (outbound.AppliedState, error) {
	state, err := r.storage.Open(ctx, id)
	if fault.KindOf(err) != fault.Corrupt {
		return state, err
	}
	r.logger.Error().Err(err).Stringer("shard", id).Msg("the shard's data is damaged; setting it aside")
	if err := r.storage.Quarantine(ctx, id); err != nil {
		return outbound.AppliedState{}, err
	}
	return r.storage.Open(ctx, id)
}

func (r *replicas) hostMeta(ctx context.Context, replica uint64, founders []uint64) error {
	state, err := r.home.LoadMeta(ctx)
	if err != nil {
		return err
	}
	if state.Machine == nil && len(founders) > 0 {
		state.Machine = r.founding
	}
	machine, err := appcluster.NewMetaMachine(state, r.view, r.home, r.replication)
	if err != nil {
		return err
	}
	r.mu.meta = machine
	return r.replication.AddMeta(multiraft.MetaConfig{ReplicaID: replica, Founders: founders, Applied: state, Applier: machine})
}

// meta returns the meta group's state machine here, nil when this node is no member of the group.
func (r *replicas) meta() *appcluster.MetaMachine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.meta
}

// Destroy implements outbound.ReplicaHost.
func (r *replicas) Destroy(ctx context.Context, group cluster.Group) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.destroy(ctx, group)
}

// destroy ends a replica, then removes its data, then its log: while the log is there, a start knows
// that the rest may be half gone.
func (r *replicas) destroy(ctx context.Context, group cluster.Group) error {
	r.replication.Remove(groupID(group))
	delete(r.mu.running, group)
	if group.Meta {
		r.mu.meta = nil
		if err := r.home.ForgetMeta(); err != nil {
			return err
		}
	} else {
		r.machine.Forget(group.Shard)
		if err := r.storage.Destroy(ctx, group.Shard); err != nil {
			return fmt.Errorf("destroy storage: %w", err)
		}
	}
	if err := r.replication.DestroyLog(groupID(group)); err != nil {
		return err
	}
	r.logger.Info().Stringer("group", group).Msg("replica is destroyed")
	return nil
}

// Hosted implements outbound.ReplicaHost.
func (r *replicas) Hosted() map[cluster.Group]cluster.ReplicaID {
	hosted := map[cluster.Group]cluster.ReplicaID{}
	identities, err := r.log.Groups()
	if err != nil {
		r.logger.Error().Err(err).Msg("list the log's groups")
	}
	for g, id := range identities {
		group := cluster.MetaGroup()
		if s, ok := g.Shard(); ok {
			group = cluster.ShardGroup(s)
		}
		hosted[group] = cluster.ReplicaID(id)
	}
	return hosted
}
