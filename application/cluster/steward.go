package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
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
	// handOverTry is how long one replica has to take a group over: a few round trips, and
	// less than the election timeout for which a lost wish would keep writes waiting.
	handOverTry = 300 * time.Millisecond
	// handOverLook is how long it waits before it looks again at what it leads.
	handOverLook = 50 * time.Millisecond
)

// Steward brings the groups that this node leads to their placement, step by step, and hands
// leadership to the preferred replica. Its decisions are cluster.NextStep and PreferredLeader.
type Steward struct {
	view    *View
	control outbound.GroupController
	timer   outbound.Timer
	report  Reporting
	rounds  map[cluster.Group]int // for how many rounds groups were led here and settled; only Round uses it
	handed  chan struct{}         // closed when HandOver has ended
	mu      struct {
		sync.Mutex
		settled map[cluster.Group]uint64 // groups led here and the epoch of the placement they have
	}
}

// NewSteward returns a steward; Run does its work.
func NewSteward(view *View, control outbound.GroupController, timer outbound.Timer, report Reporting) *Steward {
	s := &Steward{view: view, control: control, timer: timer, report: report, rounds: map[cluster.Group]int{}, handed: make(chan struct{})}
	s.mu.settled = map[cluster.Group]uint64{}
	return s
}

// Run works until ctx ends. After HandOver it only gives away what this node is made to lead: others do
// not know that it stops, and may just be handing their groups to it as the preferred leader.
func (s *Steward) Run(ctx context.Context) error {
	for handed := false; !handed; {
		s.Round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.handed:
			handed = true
		case <-s.timer.After(stewardInterval):
		}
	}
	// What is handed to this node at the last moment it hands on all the same, so the last look comes after
	// ctx ended, and each takes a bounded time.
	looking := context.WithoutCancel(ctx)
	for attempt, ended := 0, false; !ended; attempt++ {
		select {
		case <-ctx.Done():
			ended = true
		case <-s.timer.After(handOverLook):
		}
		s.each(func(group cluster.Group) { _ = s.pass(looking, group, attempt) }) // HandOver told what nobody can take
	}
	return nil
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
		// Granted or not, the next wish has time: a replica that cannot lead gives the group straight back.
		s.rounds[group] = 0
	default:
		s.setSettled(group, 0)
	}
	if err := s.carryOut(ctx, group, step); err != nil && ctx.Err() == nil {
		s.report(fmt.Sprintf("change configuration of %s", group), err)
	}
}

// carryOut takes a step within the time that its kind has.
func (s *Steward) carryOut(ctx context.Context, group cluster.Group, step cluster.Step) error {
	limit := stewardStepMax
	if step.Kind == cluster.StepTransfer {
		limit = handOverTry
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.control.Change(ctx, group, step)
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
// until that is done or ctx ends: what remains is taken over by election. A wish that is not granted soon is
// taken to another replica, or there again: a node that came back a moment ago may not hear it yet. It may
// be called once; what this node is made to lead later, Run gives away.
func (s *Steward) HandOver(ctx context.Context) {
	defer close(s.handed)
	s.each(func(group cluster.Group) {
		if err := s.handOver(ctx, group); err != nil {
			s.report(fmt.Sprintf("hand over %s", group), err)
		}
	})
}

// each calls do for all groups at once and waits for it.
func (s *Steward) each(do func(cluster.Group)) {
	state := s.view.State()
	if state == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { do(cluster.MetaGroup()) })
	for i := range state.Blueprint().Shards.Count() {
		wg.Go(func() { do(cluster.ShardGroup(shard.ID(i))) })
	}
	wg.Wait()
}

func (s *Steward) handOver(ctx context.Context, group cluster.Group) error {
	for attempt := 0; ; attempt++ {
		err := s.pass(ctx, group, attempt)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.timer.After(handOverLook):
		}
	}
}

// pass gives the group, if it is led here and others vote, to one that is fit to lead: attempt says which.
func (s *Steward) pass(ctx context.Context, group cluster.Group, attempt int) error {
	c, leads := s.control.Configuration(group)
	others := slices.DeleteFunc(slices.Clone(c.Members), func(m cluster.Member) bool { return m.ID == c.Leader || m.Learner })
	if !leads || len(others) == 0 {
		return nil
	}
	heirs := slices.DeleteFunc(others, func(m cluster.Member) bool { return !m.Active || !m.CaughtUp })
	if len(heirs) == 0 {
		return errNoHeir
	}
	return s.carryOut(ctx, group, cluster.Step{Kind: cluster.StepTransfer, Replica: heirs[attempt%len(heirs)].ID})
}

// errNoHeir is for a group that nobody else is fit to lead.
var errNoHeir = fault.New(fault.Unavailable, "no_heir", "no other replica is fit to lead")

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
