package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// hostRetryWait is how long the host waits before it tries again what failed.
const hostRetryWait = time.Second

// Reporting receives what a loop could not do and will try again; it must not block.
type Reporting func(action string, err error)

// Host makes the replicas on this node those that the cluster state wants here. It stores each state
// before it acts upon it: a node that destroyed a replica and then started again on an older state, which
// still wants that replica, would create it anew with an empty log under an id that has voted.
type Host struct {
	self   cluster.NodeID
	view   *View
	host   outbound.ReplicaHost
	store  outbound.StateStore
	timer  outbound.Timer
	report Reporting
	saved  uint64 // the epoch of the state that was stored last; of Reconcile, which is serial
}

// NewHost returns a host for the node named self.
func NewHost(self cluster.NodeID, view *View, host outbound.ReplicaHost, store outbound.StateStore, timer outbound.Timer, report Reporting) *Host {
	return &Host{self: self, view: view, host: host, store: store, timer: timer, report: report}
}

// Run reconciles at every change of the state until ctx ends, trying again what failed.
func (h *Host) Run(ctx context.Context) error {
	for {
		changed := h.view.Changed()
		var retry <-chan time.Time
		if err := h.Reconcile(ctx); err != nil && ctx.Err() == nil {
			h.report("host replicas", err)
			retry = h.timer.After(hostRetryWait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		}
	}
}

// Reconcile starts what is wanted here and missing, and destroys what is neither wanted nor departing.
// A replica that is departing stays until its group has settled without it: until then it may be
// needed for a majority. One replica's failure keeps no other from its turn. Calls must be serial.
func (h *Host) Reconcile(ctx context.Context) error {
	state := h.view.State()
	if state == nil {
		return nil
	}
	if err := h.save(state); err != nil {
		return err
	}
	var errs []error
	for group, id := range h.host.Hosted() {
		if !h.mayStay(state, group, id) {
			if err := h.host.Destroy(ctx, group); err != nil {
				errs = append(errs, fmt.Errorf("destroy replica of %s: %w", group, err))
			}
		}
	}
	errs = append(errs, h.hostOne(ctx, cluster.MetaGroup(), state.Meta()))
	for i := range state.Blueprint().Shards.Count() {
		errs = append(errs, h.hostOne(ctx, cluster.ShardGroup(shard.ID(i)), state.Shard(shard.ID(i))))
	}
	return errors.Join(errs...)
}

func (h *Host) save(state *cluster.State) error {
	if h.saved == state.Epoch() {
		return nil
	}
	encoded, err := EncodeState(state)
	if err != nil {
		return err
	}
	if err := h.store.SaveState(encoded); err != nil {
		return fmt.Errorf("store the cluster state: %w", err)
	}
	h.saved = state.Epoch()
	return nil
}

// mayStay reports that the replica is wanted or still departing. Another one of the group that is
// wanted here instead makes Host replace it, so a replica superseded on its own node may not stay.
func (h *Host) mayStay(state *cluster.State, group cluster.Group, id cluster.ReplicaID) bool {
	node, known := placementOf(state, group).Locate(id)
	return known && node == h.self
}

func (h *Host) hostOne(ctx context.Context, group cluster.Group, p cluster.Placement) error {
	replica, wanted := p.On(h.self)
	if !wanted {
		return nil
	}
	var founding []cluster.ReplicaID
	if p.Epoch == 1 {
		for _, r := range p.Replicas {
			founding = append(founding, r.ID)
		}
	}
	if err := h.host.Host(ctx, group, replica.ID, founding); err != nil {
		return fmt.Errorf("host replica of %s: %w", group, err)
	}
	return nil
}

func placementOf(state *cluster.State, group cluster.Group) cluster.Placement {
	if group.Meta {
		return state.Meta()
	}
	if int(group.Shard) >= state.Blueprint().Shards.Count() {
		return cluster.Placement{}
	}
	return state.Shard(group.Shard)
}
