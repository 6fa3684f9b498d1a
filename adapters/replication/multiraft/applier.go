package multiraft

import (
	"context"
	"fmt"
)

// applyItem is one thing to do to a group's state machine.
type applyItem struct {
	apply   *Apply
	install *InstallSnapshot
}

// addApplies queues a step's work for the state machine. What waits here is bounded by ApplyBytesMax.
func (g *group) addApplies(out *Effects) {
	g.apply.Lock()
	for _, a := range out.Applies {
		g.apply.items = append(g.apply.items, applyItem{apply: a})
	}
	if out.Install != nil {
		g.apply.items = append(g.apply.items, applyItem{install: out.Install})
	}
	g.queueApplies()
}

// queueApplies queues the group, if there is work and it is not queued, and unlocks it.
func (g *group) queueApplies() {
	queue := !g.apply.queued && len(g.apply.items) > 0
	g.apply.queued = g.apply.queued || queue
	g.apply.Unlock()
	if queue {
		g.node.toApply <- g
	}
}

// applyGroups is a worker: a group is in the queue at most once until its work is done, so calls for one
// shard are serial.
func (n *Node) applyGroups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-n.toApply:
			if err := g.applyAll(ctx); err != nil {
				if ctx.Err() == nil {
					n.fail(&ApplyError{Group: g.id, Err: err})
				}
				return
			}
		}
	}
}

func (g *group) applyAll(ctx context.Context) error {
	g.applying.Lock()
	defer g.applying.Unlock()
	g.apply.Lock()
	items := g.apply.items
	g.apply.items = nil
	g.apply.Unlock()
	for _, item := range items {
		if g.closed.Load() {
			return nil
		}
		var err error
		if item.install != nil {
			err = g.install(ctx, item.install)
		} else {
			err = g.applyEntries(ctx, item.apply)
		}
		if err != nil {
			return err
		}
	}
	g.apply.Lock()
	g.apply.queued = false
	g.queueApplies()
	return nil
}

func (g *group) applyEntries(ctx context.Context, a *Apply) error {
	clock := g.node.cfg.Clock
	start := clock.Monotonic()
	outcomes, err := g.toMachine(ctx, a.Entries)
	if err != nil {
		return fmt.Errorf("apply entries from %d: %w", a.Entries[0].Index, err)
	}
	g.node.cfg.Observer.EntriesApplied(g.id, len(a.Entries), len(outcomes), clock.Monotonic()-start)
	g.post(Applied{Apply: a, Outcomes: outcomes})
	return nil
}
