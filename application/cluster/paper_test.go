package cluster_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// world is a cluster on paper: real use cases of every node over a pretended network, consensus and
// clock. A turn lets every living node take one round of each of its loops.
type world struct {
	t      *testing.T
	now    time.Duration
	order  []string
	nodes  map[string]*paperNode
	groups map[cluster.Group]*paperGroup
	log    []inbound.Entry // the meta group's
}

// paperGroup is a Raft group's true configuration.
type paperGroup struct {
	members []cluster.Member
	leader  cluster.ReplicaID
}

type paperNode struct {
	w           *world
	name        string
	role        cluster.Role
	incarnation cluster.Incarnation
	hosts       []string
	alive       bool
	deaf        bool          // it hears no refusals
	skew        time.Duration // by which its clock runs ahead

	// what is on its disk
	clusterID string
	founding  []byte
	saved     outbound.AppliedState
	stored    []byte // the newest state that it acted upon
	replicas  map[cluster.Group]cluster.ReplicaID
	damaged   map[cluster.Group]cluster.ReplicaID // which of them cannot be used

	founder   *appcluster.Founder
	view      *appcluster.View
	meta      *appcluster.MetaMachine
	host      *appcluster.Host
	steward   *appcluster.Steward
	director  *appcluster.Director
	reporter  *appcluster.Reporter
	recruiter *appcluster.Recruiter
	observer  *appcluster.Observer
	admin     *appcluster.Admin
	retention *appcluster.RetentionAdmin
	aware     *appcluster.Awareness
	problems  []string
	refusals  []string       // what it was told of why it is not taken in
	wakeups   chan time.Time // what After returns
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, nodes: map[string]*paperNode{}, groups: map[cluster.Group]*paperGroup{}}
}

func (w *world) start(name string, role cluster.Role, hosts ...string) *paperNode {
	w.t.Helper()
	n := &paperNode{w: w, name: name, role: role, hosts: hosts, alive: true, replicas: map[cluster.Group]cluster.ReplicaID{}}
	n.incarnation = cluster.Incarnation(len(w.order) + 1)
	w.nodes[name] = n
	w.order = append(w.order, name)
	n.waitForCluster()
	return n
}

// wipe ends a node and starts it with an empty disk.
func (w *world) wipe(name string) *paperNode {
	old := w.nodes[name]
	n := &paperNode{w: w, name: name, role: old.role, hosts: old.hosts, alive: true, replicas: map[cluster.Group]cluster.ReplicaID{}}
	n.incarnation = old.incarnation + 1000
	w.nodes[name] = n
	n.waitForCluster()
	return n
}

func (n *paperNode) node() cluster.Node {
	id, _, _ := strings.Cut(n.name, ":")
	node, err := cluster.NewNode(mustID(n.w.t, id), n.role, n.name, n.incarnation)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return node
}

func (n *paperNode) waitForCluster() {
	if n.role != cluster.Control {
		return
	}
	m, err := shard.NewMap(8, 8)
	if err != nil {
		n.w.t.Fatal(err)
	}
	plan := cluster.Blueprint{ClusterID: "cluster-of-" + n.name, Shards: m, ReplicationFactor: 3}
	n.founder = appcluster.NewFounder(n.node(), n.hosts, plan, n, n, n)
}

// begin starts the loops of a member.
func (n *paperNode) begin(founding []byte, state *cluster.State) {
	t := n.w.t
	n.clusterID, n.founding, n.founder = state.Blueprint().ClusterID, founding, nil
	n.view = appcluster.NewView(state)
	if n.saved.Machine == nil {
		n.saved.Machine = founding
	}
	var err error
	if n.meta, err = appcluster.NewMetaMachine(n.saved, n.view, n, n); err != nil {
		t.Fatal(err)
	}
	report := func(action string, err error) { n.problems = append(n.problems, action+": "+err.Error()) }
	self := appcluster.Identity{Node: n.node().ID(), Incarnation: n.incarnation, Address: n.name}
	n.host = appcluster.NewHost(self.Node, n.view, n, n, n, report)
	n.steward = appcluster.NewSteward(n.view, n, n, report)
	n.director = appcluster.NewDirector(n.view, n, n, n, appcluster.RepairAfterDefault, report)
	n.reporter = appcluster.NewReporter(appcluster.ReporterConfig{
		Self: self, View: n.view, Local: n.director, Peers: n, Shards: n, Settled: n.steward.Settled, Damaged: n.damagedGroups,
		Clock: n, Timer: n, Report: report,
	})
	n.recruiter = appcluster.NewRecruiter(appcluster.RecruiterConfig{
		Hosts: n.hosts, View: n.view, Founding: founding, Director: n.director, Contact: n, Clock: n, Timer: n, Report: report,
	})
	route := appcluster.NewMetaRoute(appcluster.MetaRouteConfig{
		Self: self.Node, View: n.view, Meta: n, Reports: n.director, Peers: n, Timer: n,
	})
	n.observer = appcluster.NewObserver(route, n)
	n.retention = appcluster.NewRetentionAdmin(route)
	n.admin = appcluster.NewAdmin(route, n.recruiter, appcluster.RepairAfterDefault)
	n.aware = appcluster.NewAwareness(self.Node, n.view, n.reporter)
}

func (w *world) turn() {
	w.now += time.Second
	ctx := context.Background()
	for _, g := range w.groups {
		w.elect(g)
	}
	for _, name := range w.order {
		n := w.nodes[name]
		if !n.alive {
			continue
		}
		if n.founder != nil {
			if state, _ := n.founder.Round(ctx); state != nil {
				encoded, err := appcluster.EncodeState(state)
				if err != nil {
					w.t.Fatal(err)
				}
				n.begin(encoded, state)
			}
		}
		if n.view == nil {
			continue
		}
		n.catchUp()
		if err := n.host.Reconcile(ctx); err != nil {
			n.problems = append(n.problems, err.Error())
		}
		n.steward.Round(ctx)
		if err := n.reporter.Round(ctx); err != nil {
			n.problems = append(n.problems, err.Error())
		}
		n.recruiter.Round(ctx)
		if err := n.director.Round(ctx); err != nil {
			n.problems = append(n.problems, err.Error())
		}
	}
}

func (w *world) turns(count int) {
	for range count {
		w.turn()
	}
}

// quiet takes turns until every placement is settled and every wanted replica is hosted.
func (w *world) quiet() *cluster.State {
	w.t.Helper()
	for range 200 {
		w.turn()
		if s := w.newest(); s != nil && w.isQuiet(s) {
			w.turns(3) // leaders move to where they are preferred
			return w.newest()
		}
	}
	for _, name := range w.order {
		w.t.Logf("%s: %q", name, w.nodes[name].problems)
	}
	w.t.Fatalf("the cluster did not come to rest: %+v", w.newest())
	return nil
}

func (w *world) newest() *cluster.State {
	var newest *cluster.State
	for _, n := range w.nodes {
		if n.alive && n.view != nil && (newest == nil || n.view.Epoch() > newest.Epoch()) {
			newest = n.view.State()
		}
	}
	return newest
}

func (w *world) isQuiet(s *cluster.State) bool {
	groups := map[cluster.Group]cluster.Placement{cluster.MetaGroup(): s.Meta()}
	for i := range 8 {
		groups[cluster.ShardGroup(shard.ID(i))] = s.Shard(shard.ID(i))
	}
	for g, p := range groups {
		if !p.Settled {
			return false
		}
		for _, r := range p.Replicas {
			n := w.nodes[address(r.Node)]
			if n.alive && n.replicas[g] != r.ID {
				return false
			}
		}
	}
	return len(s.Plan(cluster.Observation{Lost: func(id cluster.NodeID) bool { return !w.nodes[address(id)].alive }}, 10)) == 0
}

// holder returns the living node that holds replica id of the group.
func (w *world) holder(group cluster.Group, id cluster.ReplicaID) *paperNode {
	for _, n := range w.nodes {
		if n.alive && n.replicas[group] == id && n.damaged[group] != id {
			return n
		}
	}
	return nil
}

// damage makes the group's replica on n one that does nothing any more.
func (n *paperNode) damage(group cluster.Group) {
	if n.damaged == nil {
		n.damaged = map[cluster.Group]cluster.ReplicaID{}
	}
	n.damaged[group] = n.replicas[group]
}

func (n *paperNode) damagedGroups() []cluster.Group {
	var groups []cluster.Group
	for group, id := range n.damaged {
		if n.replicas[group] == id {
			groups = append(groups, group)
		}
	}
	return groups
}

// elect gives a group a leader while a majority of its voters is alive.
func (w *world) elect(g *paperGroup) {
	group := w.groupOf(g)
	var live []cluster.ReplicaID
	voters := 0
	for i := range g.members {
		m := &g.members[i]
		m.Active = w.holder(group, m.ID) != nil
		m.CaughtUp = m.Active
		if !m.Learner {
			voters++
			if m.Active {
				live = append(live, m.ID)
			}
		}
	}
	if len(live) <= voters/2 {
		g.leader = 0
		return
	}
	if !slices.Contains(live, g.leader) {
		g.leader = live[0]
	}
}

func (w *world) groupOf(g *paperGroup) cluster.Group {
	for group, candidate := range w.groups {
		if candidate == g {
			return group
		}
	}
	return cluster.Group{}
}

func (n *paperNode) catchUp() {
	g := n.w.groups[cluster.MetaGroup()]
	id := n.replicas[cluster.MetaGroup()]
	if g == nil || id == 0 || !slices.ContainsFunc(g.members, func(m cluster.Member) bool { return m.ID == id }) {
		return
	}
	if from := int(n.saved.Index); from < len(n.w.log) {
		if _, err := n.meta.ApplyMeta(context.Background(), n.w.log[from:]); err != nil {
			n.w.t.Fatal(err)
		}
	}
}

// ReplicaHost, GroupController, MetaProposer, MetaStore, MetaTruncator.

func (n *paperNode) Host(_ context.Context, group cluster.Group, id cluster.ReplicaID, founding []cluster.ReplicaID) error {
	n.replicas[group] = id
	if n.w.groups[group] == nil {
		g := &paperGroup{}
		for _, voter := range founding {
			g.members = append(g.members, cluster.Member{ID: voter})
		}
		n.w.groups[group] = g
	}
	return nil
}

func (n *paperNode) Destroy(_ context.Context, group cluster.Group) error {
	delete(n.replicas, group)
	if group.Meta {
		n.saved = outbound.AppliedState{Machine: n.founding}
	}
	return nil
}

func (n *paperNode) Hosted() map[cluster.Group]cluster.ReplicaID {
	return maps.Clone(n.replicas)
}

func (n *paperNode) Configuration(group cluster.Group) (cluster.Configuration, bool) {
	g := n.w.groups[group]
	if g == nil || g.leader == 0 || g.leader != n.replicas[group] {
		return cluster.Configuration{}, false
	}
	n.w.elect(g)
	return cluster.Configuration{Leader: g.leader, Members: slices.Clone(g.members)}, g.leader != 0
}

func (n *paperNode) Change(_ context.Context, group cluster.Group, step cluster.Step) error {
	g := n.w.groups[group]
	switch step.Kind {
	case cluster.StepAddLearner:
		g.members = append(g.members, cluster.Member{ID: step.Replica, Learner: true})
	case cluster.StepRemoveLearner:
		g.members = slices.DeleteFunc(g.members, func(m cluster.Member) bool { return m.ID == step.Replica })
	case cluster.StepTransfer:
		g.leader = step.Replica
	case cluster.StepSwap:
		for i := range g.members {
			g.members[i].Learner = g.members[i].Learner && !slices.Contains(step.Promote, g.members[i].ID)
		}
		g.members = slices.DeleteFunc(g.members, func(m cluster.Member) bool { return slices.Contains(step.Remove, m.ID) })
	default:
		return fmt.Errorf("step %d is not a change", step.Kind)
	}
	n.w.elect(g)
	return nil
}

func (n *paperNode) LeadsMeta() bool {
	g := n.w.groups[cluster.MetaGroup()]
	return g != nil && g.leader != 0 && g.leader == n.replicas[cluster.MetaGroup()]
}

func (n *paperNode) ProposeMeta(ctx context.Context, command []byte) ([]byte, error) {
	if !n.LeadsMeta() {
		return nil, outbound.ErrNotProposed
	}
	n.w.log = append(n.w.log, inbound.Entry{Index: uint64(len(n.w.log) + 1), Term: 1, Commands: [][]byte{command}})
	outcomes, err := n.meta.ApplyMeta(ctx, n.w.log[len(n.w.log)-1:])
	if err != nil {
		return nil, err
	}
	return outcomes[0], nil
}

func (n *paperNode) SaveMeta(_ context.Context, s outbound.AppliedState) error {
	n.saved = s
	return nil
}

func (n *paperNode) SaveState(encoded []byte) error {
	n.stored = encoded
	return nil
}

func (n *paperNode) LoadMeta(context.Context) (outbound.AppliedState, error) { return n.saved, nil }

func (n *paperNode) DurableMeta(uint64) {}

// ClusterPeers, Recruiter, ShardObserver, Clock, Timer.

func (n *paperNode) Report(ctx context.Context, to cluster.NodeID, r outbound.NodeReport) (outbound.ReportReply, error) {
	peer := n.w.nodes[address(to)]
	if !peer.alive || peer.director == nil {
		return outbound.ReportReply{}, fault.New(fault.Unavailable, "unreachable", "no answer")
	}
	return peer.director.Report(ctx, r)
}

func (n *paperNode) Introduce(_ context.Context, address string) (outbound.Introduction, error) {
	peer := n.w.nodes[address]
	if peer == nil || !peer.alive {
		return outbound.Introduction{}, fault.New(fault.Unavailable, "unreachable", "does not answer")
	}
	return outbound.Introduction{Node: peer.node().ID(), Role: peer.role, Incarnation: peer.incarnation, ClusterID: peer.clusterID}, nil
}

func (n *paperNode) Adopt(_ context.Context, address string, a outbound.Adoption) error {
	peer := n.w.nodes[address]
	state, err := appcluster.DecodeState(a.State)
	if err != nil {
		return err
	}
	if peer.node().ID() != a.Node || peer.incarnation != a.Incarnation {
		return fault.New(fault.Conflict, "someone_else", "that is not me")
	}
	peer.begin(a.Founding, state)
	return nil
}

func (n *paperNode) Refuse(_ context.Context, address, reason string) error {
	peer := n.w.nodes[address]
	if peer.deaf {
		return fault.New(fault.Timeout, "timeout", "does not listen")
	}
	peer.refusals = append(peer.refusals, n.name+": "+reason)
	return nil
}

// Shards shows every replica as one that has applied what its leader committed, but learners.
func (n *paperNode) Shards() []outbound.ShardStatus {
	var list []outbound.ShardStatus
	for i := range 8 {
		group := cluster.ShardGroup(shard.ID(i))
		id, g := n.replicas[group], n.w.groups[group]
		if id == 0 || g == nil {
			continue
		}
		s := outbound.ShardStatus{
			Shard: shard.ID(i), Leader: g.leader == id, Serving: g.leader != 0, LeaderReplica: uint64(g.leader),
			Term: 1, Commit: 10, Applied: 10,
		}
		if at := slices.IndexFunc(g.members, func(m cluster.Member) bool { return m.ID == id }); at < 0 || g.members[at].Learner {
			s.Learner, s.Applied = true, 4
		}
		list = append(list, s)
	}
	return list
}

// MetaPeers. What is proposed from afar is known here at once.

func (n *paperNode) ProposeMetaAt(ctx context.Context, to cluster.NodeID, command []byte) ([]byte, error) {
	peer := n.w.nodes[address(to)]
	if !peer.alive || peer.view == nil {
		return nil, outbound.ErrNotProposed
	}
	outcome, err := peer.ProposeMeta(ctx, command)
	if err == nil {
		err = n.reporter.Round(ctx)
	}
	return outcome, err
}

func (n *paperNode) ReportsAt(ctx context.Context, to cluster.NodeID) ([]outbound.HeardReport, error) {
	peer := n.w.nodes[address(to)]
	if !peer.alive || peer.view == nil {
		return nil, fault.New(fault.Unavailable, "unreachable", "no answer")
	}
	return peer.director.Reports(ctx)
}

func (n *paperNode) Now() time.Time { return time.Unix(0, 0).Add(n.w.now + n.skew) }

func (n *paperNode) Monotonic() time.Duration { return n.w.now }

func (n *paperNode) After(time.Duration) <-chan time.Time { return n.wakeups }

func mustID(t *testing.T, text string) cluster.NodeID {
	t.Helper()
	id, err := cluster.NewNodeID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// address is where a node is on paper.
func address(id cluster.NodeID) string { return id.String() + ":1" }
