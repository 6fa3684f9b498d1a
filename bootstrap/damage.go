package bootstrap

import (
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// damage is which replicas of this node are damaged and wait to be made anew under other ids. It is safe
// for concurrent use.
type damage struct {
	mu struct {
		sync.Mutex
		groups map[cluster.Group]struct{}
	}
}

func newDamage() *damage {
	d := &damage{}
	d.mu.groups = map[cluster.Group]struct{}{}
	return d
}

func (d *damage) add(g cluster.Group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.groups[g] = struct{}{}
}

func (d *damage) has(g cluster.Group) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, has := d.mu.groups[g]
	return has
}

func (d *damage) remove(g cluster.Group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mu.groups, g)
}

// list returns the groups, in no order.
func (d *damage) list() []cluster.Group {
	d.mu.Lock()
	defer d.mu.Unlock()
	groups := make([]cluster.Group, 0, len(d.mu.groups))
	for g := range d.mu.groups {
		groups = append(groups, g)
	}
	return groups
}
