package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// stewardInterval is how often the steward looks at the groups led here.
	stewardInterval = 500 * time.Millisecond
	// transferRoundsMin is how many rounds a group is led here before it is handed to the preferred
	// leader, 10 s: a node that stops hands its groups over first and must not get them back.
	transferRoundsMin = 20
	// stewardStepMax bounds one change of a configuration.
	stewardStepMax = 10 * time.Second
)

// Steward brings the groups that this node leads to their placement, step by step, and hands
// leadership to the preferred replica. Its decisions are cluster.NextStep and PreferredLeader.
type Steward struct {
	view    *View
	control outbound.GroupController
	timer   outbound.Timer
	report  Reporting
	rounds  map[cluster.Group]int // for how many rounds groups were led here and settled; only Round uses it
	mu      struct {
		sync.Mutex
		settled map[cluster.Group]uint64 // groups led here and the epoch of the placement they have
	}
}

// NewSteward returns a steward; Run does its work.
func NewSteward(view *View, control outbound.GroupController, timer outbound.Timer, report Reporting) *Steward {
	s := &Steward{view: view, control: control, timer: timer, report: report, rounds: map[cluster.Group]int{}}
	s.mu.settled = map[cluster.Group]uint64{}
	return s
}

// Run works until ctx ends.
func (s *Steward) Run(ctx context.Context) error {
	for {
		s.Round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.timer.After(stewardInterval):
		}
	}
}

// Settled returns the groups led here whose configuration equals their placement, for the report to
// the meta group's leader; in no particular order.
func (s *Steward) Settled() []outbound.SettledGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	groups := make([]outbound.SettledGroup, 0, len(s.mu.settled))
	for g, epoch := range s.mu.settled {
		groups = append(groups, outbound.SettledGroup{Group: g, Epoch: epoch})
	}
	return groups
}

// Round takes one step in each group that this node leads. It is not safe for concurrent use.
func (s *Steward) Round(ctx context.Context) {
	state := s.view.State()
	if state == nil {
		return
	}
	s.tend(ctx, state, cluster.MetaGroup())
	for i := range state.Blueprint().Shards.Count() {
		if ctx.Err() != nil {
			return
		}
		s.tend(ctx, state, cluster.ShardGroup(shard.ID(i)))
	}
}

func (s *Steward) tend(ctx context.Context, state *cluster.State, group cluster.Group) {
	p := placementOf(state, group)
	configuration, leads := s.control.Configuration(group)
	if !leads {
		delete(s.rounds, group)
		s.setSettled(group, 0)
		return
	}
	step := cluster.NextStep(p, configuration)
	switch step.Kind {
	case cluster.StepWait:
		s.setSettled(group, 0)
		return
	case cluster.StepSettled:
		s.setSettled(group, p.Epoch)
		s.rounds[group]++
		step = s.leaderStep(state, group, configuration)
		if step.Kind != cluster.StepTransfer || s.rounds[group] < transferRoundsMin {
			return
		}
	default:
		s.setSettled(group, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, stewardStepMax)
	defer cancel()
	if err := s.control.Change(ctx, group, step); err != nil && ctx.Err() == nil {
		s.report(fmt.Sprintf("change configuration of %s", group), err)
	}
}

// leaderStep hands a group to its preferred leader when that replica is up and has the log. A meta
// group that a control node leads stays where it is.
func (s *Steward) leaderStep(state *cluster.State, group cluster.Group, c cluster.Configuration) cluster.Step {
	fit := map[cluster.ReplicaID]bool{}
	for _, m := range c.Members {
		fit[m.ID] = !m.Learner && m.Active && m.CaughtUp
	}
	p := placementOf(state, group)
	alive := func(node cluster.NodeID) bool {
		r, on := p.On(node)
		return on && fit[r.ID]
	}
	if group.Meta {
		if node, known := p.Locate(c.Leader); known && roleOf(state, node) != cluster.Worker {
			return cluster.Step{}
		}
	}
	preferred, ok := state.PreferredMetaLeader(alive)
	if !group.Meta {
		preferred, ok = state.PreferredLeader(group.Shard, alive)
	}
	if !ok || preferred.ID == c.Leader {
		return cluster.Step{}
	}
	return cluster.Step{Kind: cluster.StepTransfer, Replica: preferred.ID}
}

// HandOver gives every group that this node leads to another replica that is fit to lead, all at once,
// until that is done or ctx ends: what remains is taken over by election.
func (s *Steward) HandOver(ctx context.Context) {
	state := s.view.State()
	if state == nil {
		return
	}
	groups := []cluster.Group{cluster.MetaGroup()}
	for i := range state.Blueprint().Shards.Count() {
		groups = append(groups, cluster.ShardGroup(shard.ID(i)))
	}
	var wg sync.WaitGroup
	for _, group := range groups {
		c, leads := s.control.Configuration(group)
		heir := slices.IndexFunc(c.Members, func(m cluster.Member) bool {
			return m.ID != c.Leader && !m.Learner && m.Active && m.CaughtUp
		})
		if !leads || heir < 0 {
			continue
		}
		step := cluster.Step{Kind: cluster.StepTransfer, Replica: c.Members[heir].ID}
		wg.Go(func() {
			if err := s.control.Change(ctx, group, step); err != nil {
				s.report(fmt.Sprintf("hand over %s", group), err)
			}
		})
	}
	wg.Wait()
}

// setSettled notes the epoch that a group led here has reached; 0 forgets it.
func (s *Steward) setSettled(group cluster.Group, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch == 0 {
		delete(s.mu.settled, group)
		return
	}
	s.mu.settled[group] = epoch
}

func roleOf(state *cluster.State, id cluster.NodeID) cluster.Role {
	n, _ := state.Node(id)
	return n.Role()
}
