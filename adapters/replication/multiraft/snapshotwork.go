package multiraft

import (
	"context"
	"fmt"
	"sync/atomic"
)

// snapshotWork keeps a group to one snapshot made and one fetched at a time.
type snapshotWork struct{ making, fetching atomic.Bool }

type fetchJob struct {
	group *group
	fetch *FetchSnapshot
}

// moveSnapshots passes on what a step wants of the snapshot store. What is under way already is not
// asked for twice: raft asks again while it needs one.
func (g *group) moveSnapshots(out *Effects) {
	n := g.node
	if n.cfg.Snapshots == nil {
		return
	}
	if out.WantSnapshot && g.snapshots.making.CompareAndSwap(false, true) {
		n.makes <- g
	}
	if out.Fetch != nil && g.snapshots.fetching.CompareAndSwap(false, true) {
		n.fetches <- fetchJob{group: g, fetch: out.Fetch}
	}
}

// makeSnapshots is the worker that has snapshots made for followers, one at a time.
func (n *Node) makeSnapshots(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-n.makes:
			s, err := n.cfg.Snapshots.Make(ctx, g.id)
			g.snapshots.making.Store(false)
			if err != nil {
				n.cfg.Logger.Warn().Err(err).Stringer("group", g.id).Msg("make snapshot failed")
				continue
			}
			g.post(SnapshotMade{Snapshot: s})
		}
	}
}

// fetchSnapshots is the worker that fetches snapshots which leaders offer, one at a time.
func (n *Node) fetchSnapshots(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-n.fetches:
			g, m := job.group, job.fetch.Message
			s, err := snapshotOf(m.GetSnapshot())
			if err == nil {
				err = n.cfg.Snapshots.Fetch(ctx, g.id, m.GetFrom(), s)
			}
			g.snapshots.fetching.Store(false)
			if err != nil {
				n.cfg.Logger.Warn().Err(err).Stringer("group", g.id).Uint64("from", m.GetFrom()).Msg("fetch snapshot failed")
				continue
			}
			g.post(SnapshotFetched{Message: m})
		}
	}
}

// install switches the state machine to a fetched snapshot.
func (g *group) install(ctx context.Context, i *InstallSnapshot) error {
	state, err := g.node.cfg.Snapshots.Install(ctx, g.id, i.Snapshot)
	if err != nil {
		return fmt.Errorf("install snapshot at %d: %w", i.Snapshot.Index, err)
	}
	g.post(SnapshotInstalled{Install: i, LogTime: state.LogTime})
	return nil
}
