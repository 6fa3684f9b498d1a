package cluster

import (
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// View is this node's copy of the cluster state, by which it routes. It only ever gets newer. The
// States that it gives out are never changed; all methods may be used concurrently.
type View struct {
	mu struct {
		sync.Mutex
		state   *cluster.State
		changed chan struct{}
	}
}

// NewView returns a view of state, which may be nil: the node belongs to no cluster yet.
func NewView(state *cluster.State) *View {
	v := &View{}
	v.mu.state = state
	v.mu.changed = make(chan struct{})
	return v
}

// State returns the newest state known, nil before there is one. It must not be changed.
func (v *View) State() *cluster.State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.state
}

// Retention returns how long the cluster keeps samples by the newest state, everything before there is one.
func (v *View) Retention() metric.RetentionPolicy {
	if s := v.State(); s != nil {
		return s.Retention()
	}
	return metric.RetentionPolicy{}
}

// Epoch returns the newest state's epoch, 0 before there is one.
func (v *View) Epoch() uint64 {
	if s := v.State(); s != nil {
		return s.Epoch()
	}
	return 0
}

// Changed returns a channel that is closed when the state after this call's becomes known. Take the
// channel first, then read State, and no change is missed.
func (v *View) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.changed
}

// Update takes state if it is newer than what is known and reports whether it was. The view keeps it.
func (v *View) Update(state *cluster.State) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.state != nil && v.mu.state.Epoch() >= state.Epoch() {
		return false
	}
	v.mu.state = state
	close(v.mu.changed)
	v.mu.changed = make(chan struct{})
	return true
}
