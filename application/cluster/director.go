package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ inbound.ReportTaker = (*Director)(nil)
	_ inbound.ReportGiver = (*Director)(nil)
)

const (
	// RepairAfterDefault is REPAIR_AFTER when nothing is said.
	RepairAfterDefault = 5 * time.Minute
	// directorInterval is how often the meta group's leader looks for something to do.
	directorInterval = time.Second
	// movesMax bounds the moves that are under way at once, so that repair leaves room for traffic.
	movesMax = 2
	// silentAfter is how long a node may say nothing before it counts as not answering.
	silentAfter = 3 * time.Second
	// metaProposalMax bounds one change of the cluster state.
	metaProposalMax = 5 * time.Second
)

// Director is what the meta group's leader does for all: it takes the nodes' reports, notes what has
// settled and moves replicas as the planner says. It runs on every node and acts only where that leads.
type Director struct {
	view        *View
	meta        outbound.MetaProposer
	clock       outbound.Clock
	timer       outbound.Timer
	repairAfter time.Duration
	report      Reporting
	mu          struct {
		sync.Mutex
		leading bool
		heard   map[cluster.NodeID]time.Duration // by the monotonic clock
		latest  map[cluster.NodeID]outbound.NodeReport
	}
}

// NewDirector returns a director; Run does its work.
func NewDirector(view *View, meta outbound.MetaProposer, clock outbound.Clock, timer outbound.Timer, repairAfter time.Duration, report Reporting) *Director {
	d := &Director{view: view, meta: meta, clock: clock, timer: timer, repairAfter: repairAfter, report: report}
	d.mu.heard = map[cluster.NodeID]time.Duration{}
	d.mu.latest = map[cluster.NodeID]outbound.NodeReport{}
	return d
}

// Run works until ctx ends.
func (d *Director) Run(ctx context.Context) error {
	for {
		if err := d.Round(ctx); err != nil && ctx.Err() == nil {
			d.report("direct the cluster", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.timer.After(directorInterval):
		}
	}
}

// Report implements inbound.ReportTaker.
func (d *Director) Report(ctx context.Context, r outbound.NodeReport) (outbound.ReportReply, error) {
	state := d.view.State()
	if state == nil || !d.meta.LeadsMeta() {
		return outbound.ReportReply{}, outbound.ErrNotProposed
	}
	node, known := state.Node(r.Node)
	if !known {
		return outbound.ReportReply{}, fault.Newf(fault.NotFound, "unknown_node", "the cluster has no node %s", r.Node)
	}
	if node.Incarnation() != r.Incarnation {
		return outbound.ReportReply{}, fault.Newf(fault.Conflict, "other_incarnation",
			"node %s is known in another incarnation: its NODE_ID is used twice, or its data directory is not the newest", r.Node)
	}
	d.mu.Lock()
	d.mu.heard[r.Node] = d.clock.Monotonic()
	d.mu.latest[r.Node] = r
	d.mu.Unlock()
	if err := d.take(ctx, state, node, r); err != nil {
		return outbound.ReportReply{}, err
	}
	return d.reply(r.Epoch)
}

// take turns what is new in a report into changes of the state.
func (d *Director) take(ctx context.Context, state *cluster.State, node cluster.Node, r outbound.NodeReport) error {
	if node.Address() != r.Address {
		moved, err := cluster.NewNode(node.ID(), node.Role(), r.Address, node.Incarnation())
		if err != nil {
			return err
		}
		if err := d.Propose(ctx, Command{Join: &moved}); err != nil {
			return err
		}
	}
	for _, s := range r.Settled {
		p := placementOf(state, s.Group)
		if p.Settled || p.Epoch != s.Epoch {
			continue
		}
		if err := d.Propose(ctx, Command{Settle: &SettleCommand{Group: s.Group, Epoch: s.Epoch}}); err != nil {
			return err
		}
	}
	return d.renew(ctx, state, r)
}

// renew has the damaged replicas of a node made anew, in place and under new ids: as voters under their
// old names they could forget what they have promised. A group's only replica stays, for whatever it
// still has is nowhere else.
func (d *Director) renew(ctx context.Context, state *cluster.State, r outbound.NodeReport) error {
	for _, damaged := range r.Damaged {
		p := placementOf(state, damaged.Group)
		if _, on := p.On(r.Node); !on || !p.Settled || p.Epoch != damaged.Epoch || len(p.Replicas) < 2 {
			continue
		}
		m := cluster.Move{Group: damaged.Group, From: r.Node, To: r.Node, Epoch: p.Epoch}
		// A conflict means that the placement has changed meanwhile; the next report tells what is left.
		if err := d.Propose(ctx, Command{Move: &m}); err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	return nil
}

func (d *Director) reply(epoch uint64) (reply outbound.ReportReply, err error) {
	state := d.view.State()
	reply.Clock, _ = d.clockOf(state)
	for _, n := range state.Nodes() {
		if d.Silent(n.ID()) {
			reply.Silent = append(reply.Silent, n.ID())
		}
	}
	if state.Epoch() > epoch {
		reply.State, err = EncodeState(state)
	}
	return reply, err
}

// Propose replicates a change and returns why it was refused, if it was.
func (d *Director) Propose(ctx context.Context, c Command) error {
	data, err := EncodeCommand(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, metaProposalMax)
	defer cancel()
	outcome, err := d.meta.ProposeMeta(ctx, data)
	if err != nil {
		return fmt.Errorf("change the cluster state: %w", err)
	}
	return DecodeOutcome(outcome)
}

// Round plans once, on the meta group's leader, and lets a node go that is drained.
func (d *Director) Round(ctx context.Context) error {
	state := d.view.State()
	if state == nil || !d.lead(state) {
		return nil
	}
	for _, n := range state.Nodes() {
		if n.Draining() && state.Holding(n.ID()) == 0 {
			id := n.ID()
			return d.Propose(ctx, Command{Remove: &id})
		}
	}
	free := movesMax - unsettled(state)
	if free <= 0 {
		return nil
	}
	for _, m := range state.Plan(cluster.Observation{Lost: d.lost}, free) {
		if err := d.Propose(ctx, Command{Move: &m}); err != nil {
			return err
		}
	}
	return nil
}

// lead reports whether this node leads the meta group. A new leader knows nothing of the nodes' lives,
// so it counts every silence from its own beginning.
func (d *Director) lead(state *cluster.State) bool {
	leads := d.meta.LeadsMeta()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Monotonic()
	if leads && !d.mu.leading {
		clear(d.mu.heard)
		clear(d.mu.latest)
	}
	d.mu.leading = leads
	for _, n := range state.Nodes() {
		if _, ok := d.mu.heard[n.ID()]; !ok {
			d.mu.heard[n.ID()] = now
		}
	}
	return leads
}

func unsettled(state *cluster.State) int {
	count := 0
	for i := range state.Blueprint().Shards.Count() {
		if !state.Shard(shard.ID(i)).Settled {
			count++
		}
	}
	return count
}

func (d *Director) lost(id cluster.NodeID) bool { return d.silence(id) > d.repairAfter }

// Silent reports that a node has not reported for a while, by the word of the meta group's leader.
func (d *Director) Silent(id cluster.NodeID) bool { return d.silence(id) > silentAfter }

func (d *Director) silence(id cluster.NodeID) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	heard, ok := d.mu.heard[id]
	if !ok {
		return 0
	}
	return d.clock.Monotonic() - heard
}

// ClusterTime returns what the cluster's clocks show, by what the nodes have reported: the median of those
// that live, once they are a majority of the members. Where this node does not lead the meta group, or has
// not heard of that many yet, ok is false. A few nodes whose clocks run ahead do not move it.
func (d *Director) ClusterTime() (now metric.Timestamp, ok bool) {
	state := d.view.State()
	if state == nil || !d.lead(state) {
		return 0, false
	}
	return d.clockOf(state)
}

func (d *Director) clockOf(state *cluster.State) (metric.Timestamp, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Monotonic()
	var clocks []metric.Timestamp
	for _, n := range state.Nodes() {
		report, heard := d.mu.latest[n.ID()]
		if age := now - d.mu.heard[n.ID()]; heard && report.Clock != 0 && age <= silentAfter {
			clocks = append(clocks, report.Clock+metric.Timestamp(age.Microseconds()))
		}
	}
	if len(clocks) <= len(state.Nodes())/2 {
		return 0, false
	}
	return metric.MedianTime(clocks), true
}

// Reports implements inbound.ReportGiver.
func (d *Director) Reports(context.Context) ([]outbound.HeardReport, error) {
	state := d.view.State()
	if state == nil || !d.lead(state) {
		return nil, outbound.ErrNotProposed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Monotonic()
	reports := make([]outbound.HeardReport, 0, len(state.Nodes()))
	for _, n := range state.Nodes() {
		reports = append(reports, outbound.HeardReport{
			Node: n.ID(), Age: now - d.mu.heard[n.ID()], Shards: d.mu.latest[n.ID()].Shards,
		})
	}
	return reports, nil
}
