package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// reportInterval is how often a node reports to the meta group's leader.
	reportInterval = time.Second
	// electionRounds are the rounds that may fail while the meta group elects a leader.
	electionRounds = 3
	// reportMax bounds one report.
	reportMax = 2 * time.Second
	// unheardMax is how many rounds may go unanswered before the node counts itself cut off.
	unheardMax = 3
)

// Identity is who this node is, once it is a member.
type Identity struct {
	Node        cluster.NodeID
	Incarnation cluster.Incarnation
	Address     string // host:port under which it asks to be reached
}

// Reporter tells the meta group's leader how this node is, and learns the newest state in return.
type Reporter struct {
	self    Identity
	view    *View
	local   inbound.ReportTaker // this node's own director, should it lead
	peers   outbound.ClusterPeers
	shards  outbound.ShardObserver
	settled func() []outbound.SettledGroup
	damaged func() []cluster.Group
	clock   outbound.Clock
	timer   outbound.Timer
	report  Reporting
	leader  cluster.NodeID // who took the last report; only Run uses it
	mu      struct {
		sync.Mutex
		silent  []cluster.NodeID // by the leader's last word
		unheard int              // rounds in a row in which no other node answered
		refusal string           // why the leader does not know this node, "" while it does
		time    metric.Timestamp // the cluster's by the leader's last word, 0: not told
		timeAt  time.Duration    // when it was told, by the monotonic clock
	}
}

// ReporterConfig names what a Reporter needs.
type ReporterConfig struct {
	Self    Identity
	View    *View
	Local   inbound.ReportTaker
	Peers   outbound.ClusterPeers
	Shards  outbound.ShardObserver
	Settled func() []outbound.SettledGroup
	// Damaged returns, at once, the groups whose replica on this node has lost data or been found
	// damaged, until another replica is hosted in its stead; nil: there never are any.
	Damaged func() []cluster.Group
	Clock   outbound.Clock
	Timer   outbound.Timer
	Report  Reporting
}

// NewReporter returns a reporter; Run does its work.
func NewReporter(c ReporterConfig) *Reporter {
	if c.Damaged == nil {
		c.Damaged = func() []cluster.Group { return nil }
	}
	return &Reporter{
		self: c.Self, view: c.View, local: c.Local, peers: c.Peers, shards: c.Shards,
		settled: c.Settled, damaged: c.Damaged, clock: c.Clock, timer: c.Timer, report: c.Report,
	}
}

// Run reports every reportInterval until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	for failed := 0; ; {
		err := r.Round(ctx)
		if failed++; err == nil {
			failed = 0
		}
		if failed > electionRounds && ctx.Err() == nil {
			r.report("report to the meta group's leader", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.timer.After(reportInterval):
		}
	}
}

// Round sends one report to whoever leads the meta group, trying its members in turn from the one
// that took the last.
func (r *Reporter) Round(ctx context.Context) error {
	state := r.view.State()
	if state == nil {
		return nil
	}
	report := outbound.NodeReport{
		Node: r.self.Node, Incarnation: r.self.Incarnation, Address: r.self.Address,
		Epoch: state.Epoch(), Settled: r.settled(), Damaged: r.damagedReplicas(state), Shards: r.shards.Shards(),
	}
	// A clock that shows what no sample may have is none to go by.
	report.Clock, _ = metric.TimestampOf(r.clock.Now())
	var errs []error
	asked, answered := false, false
	defer func() { r.heard(!asked || answered) }()
	for _, node := range r.candidates(state) {
		reply, err := r.send(ctx, node, report)
		if node != r.self.Node {
			asked, answered = true, answered || isAnswer(err)
		}
		if err != nil {
			errs = append(errs, err)
			if kind := fault.KindOf(err); kind == fault.Conflict || kind == fault.NotFound {
				r.refused(fault.From(err).Message())
				break
			}
			continue
		}
		r.leader = node
		answered = true
		return r.learn(reply)
	}
	return errors.Join(errs...)
}

// damagedReplicas names the damaged replicas by their placements. One whose placement is changing is told
// of later, for it may be on its way out already.
func (r *Reporter) damagedReplicas(state *cluster.State) []outbound.DamagedReplica {
	var list []outbound.DamagedReplica
	for _, group := range r.damaged() {
		if p := placementOf(state, group); p.Settled {
			list = append(list, outbound.DamagedReplica{Group: group, Epoch: p.Epoch})
		}
	}
	return list
}

// isAnswer reports that the other node was reached, whatever it said.
func isAnswer(err error) bool {
	return err == nil || errors.Is(err, outbound.ErrNotProposed) ||
		fault.KindOf(err) == fault.NotFound || fault.KindOf(err) == fault.Conflict
}

func (r *Reporter) refused(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.refusal = why
}

// Refusal returns why the meta group's leader does not take this node for a member, in the words of its
// last answer, or "".
func (r *Reporter) Refusal() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.refusal
}

func (r *Reporter) heard(anyone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.unheard++
	if anyone {
		r.mu.unheard = 0
	}
}

// CutOff reports that no other member of the meta group has answered for a while: what is not on this
// node cannot be reached through it.
func (r *Reporter) CutOff() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.unheard >= unheardMax
}

// Silent reports that the meta group's leader, when it last spoke, had not heard of the node for a while.
func (r *Reporter) Silent(id cluster.NodeID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.mu.silent, id)
}

// ClusterTime returns what the cluster's clocks show by the last word of the meta group's leader, wherever
// that leads; ok is false before it has told.
func (r *Reporter) ClusterTime() (now metric.Timestamp, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.time == 0 {
		return 0, false
	}
	return r.mu.time + metric.Timestamp((r.clock.Monotonic() - r.mu.timeAt).Microseconds()), true
}

func (r *Reporter) send(ctx context.Context, node cluster.NodeID, report outbound.NodeReport) (outbound.ReportReply, error) {
	ctx, cancel := context.WithTimeout(ctx, reportMax)
	defer cancel()
	if node == r.self.Node {
		return r.local.Report(ctx, report)
	}
	return r.peers.Report(ctx, node, report)
}

// candidates returns the meta group's members, the one that took the last report first.
func (r *Reporter) candidates(state *cluster.State) []cluster.NodeID {
	nodes := metaNodes(state)
	if i := slices.Index(nodes, r.leader); i > 0 {
		nodes[0], nodes[i] = nodes[i], nodes[0]
	}
	return nodes
}

// metaNodes returns the nodes that may hold a replica of the meta group.
func metaNodes(state *cluster.State) []cluster.NodeID {
	var nodes []cluster.NodeID
	for _, replica := range slices.Concat(state.Meta().Replicas, state.Meta().Departing) {
		if !slices.Contains(nodes, replica.Node) {
			nodes = append(nodes, replica.Node)
		}
	}
	return nodes
}

func (r *Reporter) learn(reply outbound.ReportReply) error {
	r.mu.Lock()
	r.mu.silent, r.mu.refusal = reply.Silent, ""
	r.mu.time, r.mu.timeAt = reply.Clock, r.clock.Monotonic()
	r.mu.Unlock()
	if reply.State == nil {
		return nil
	}
	state, err := DecodeState(reply.State)
	if err != nil {
		return err
	}
	r.view.Update(state)
	return nil
}
