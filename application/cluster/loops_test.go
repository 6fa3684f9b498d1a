package cluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// runRounds lets a loop of n take its first round and two more, then ends it and waits for it.
func runRounds(t *testing.T, n *paperNode, run func(context.Context) error) {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n.wakeups = make(chan time.Time)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- run(ctx) }()
	n.wakeups <- time.Time{}
	n.wakeups <- time.Time{}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n.wakeups = nil
}

func TestLoopsWorkUntilTheyAreEnded(t *testing.T) {
	w := trio(t)
	n := w.nodes[control]
	n.problems = nil // of the time before there was a leader
	for name, run := range map[string]func(context.Context) error{
		"steward": n.steward.Run, "director": n.director.Run, "reporter": n.reporter.Run, "recruiter": n.recruiter.Run,
	} {
		t.Run(name, func(t *testing.T) { runRounds(t, n, run) })
	}
	if len(n.problems) > 0 {
		t.Fatalf("problems %q", n.problems)
	}
	if got, err := n.director.Reports(t.Context()); err != nil || len(got) != 3 {
		t.Fatalf("reports of %d nodes, %v, want 3", len(got), err)
	}
}

func TestTheHostTriesAgainWhatFailed(t *testing.T) {
	w := trio(t)
	n := w.nodes[worker1]
	failing := &failingHost{paperNode: n}
	host := appcluster.NewHost(n.node().ID(), n.view, failing, n, n, func(action string, err error) {
		n.problems = append(n.problems, action+": "+err.Error())
	})
	runRounds(t, n, host.Run)
	if problems := strings.Join(n.problems, "\n"); !strings.Contains(problems, "host replica of shard 3") {
		t.Fatalf("problems %q, want the failed replica named", problems)
	}
}

// failingHost cannot host anything.
type failingHost struct{ *paperNode }

func (*failingHost) Host(context.Context, cluster.Group, cluster.ReplicaID, []cluster.ReplicaID) error {
	return fault.New(fault.DiskFull, "disk_full", "no room")
}

func TestAFounderSaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	n := w.start(control, cluster.Control, worker1)
	runRounds(t, n, func(ctx context.Context) error {
		state, err := n.founder.Run(ctx)
		if state != nil || err == nil {
			t.Errorf("founded %v, error %v", state, err)
		}
		return nil
	})
	if got := n.founder.Waiting(); !strings.Contains(got, worker1+" (does not answer)") {
		t.Fatalf("waiting %q", got)
	}
	w.start(worker1, cluster.Worker)
	state, err := n.founder.Run(context.Background())
	if err != nil || len(state.Nodes()) != 2 {
		t.Fatalf("founded %v, error %v", state, err)
	}
}

func TestAMemberFarBehindInstallsASnapshot(t *testing.T) {
	w := trio(t)
	leader, behind := w.nodes[control], w.nodes[worker1]
	w.start(worker3, cluster.Worker)
	if err := leader.recruiter.Recruit(context.Background(), worker3); err != nil {
		t.Fatal(err)
	}
	changed := behind.view.Changed()
	if err := behind.meta.Install(context.Background(), leader.meta.Applied()); err != nil {
		t.Fatal(err)
	}
	<-changed
	if behind.view.Epoch() != leader.view.Epoch() || behind.saved.Index != leader.saved.Index {
		t.Fatalf("installed epoch %d index %d, want %d and %d", behind.view.Epoch(), behind.saved.Index, leader.view.Epoch(), leader.saved.Index)
	}
	if err := behind.meta.Install(context.Background(), outbound.AppliedState{Machine: []byte("junk")}); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("junk was installed: %v", err)
	}
}

func TestEveryCommandKeepsItsMeaningThroughTheLog(t *testing.T) {
	w := trio(t)
	leader := w.nodes[control]
	ctx := context.Background()
	w1, stranger := mustID(t, "worker-1"), mustID(t, "nobody")
	for _, tc := range []struct {
		name    string
		command appcluster.Command
		code    string
	}{
		{"drain", appcluster.Command{Drain: &appcluster.DrainCommand{Node: w1, Draining: true}}, ""},
		{"undrain", appcluster.Command{Drain: &appcluster.DrainCommand{Node: w1}}, ""},
		{"drain a stranger", appcluster.Command{Drain: &appcluster.DrainCommand{Node: stranger}}, "unknown_node"},
		{"remove a full node", appcluster.Command{Remove: &w1}, "node_not_empty"},
		{"move on an old epoch", appcluster.Command{Move: &cluster.Move{Group: cluster.ShardGroup(1), From: w1, Epoch: 99}}, "placement_changed"},
		{"settle again", appcluster.Command{Settle: &appcluster.SettleCommand{Group: cluster.ShardGroup(1), Epoch: 1}}, ""},
		{"nothing", appcluster.Command{}, "empty_command"},
	} {
		err := leader.director.Propose(ctx, tc.command)
		if code := codeOf(err); code != tc.code {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.code)
		}
	}
	outcomes, err := leader.meta.ApplyMeta(ctx, []inbound.Entry{{Index: 1000, Term: 9, Membership: []byte{1}, Commands: [][]byte{[]byte("junk")}}})
	if err != nil || codeOf(appcluster.DecodeOutcome(outcomes[0])) != "unknown_format" {
		t.Fatalf("junk applied as %q, %v", outcomes, err)
	}
	if err := appcluster.DecodeOutcome([]byte("junk")); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("a junk outcome is %v", err)
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code()
}

func TestANodeThatMovedIsFoundAtItsNewAddress(t *testing.T) {
	w := trio(t)
	n := w.nodes[worker1]
	r := outbound.NodeReport{Node: n.node().ID(), Incarnation: n.incarnation, Address: "elsewhere:1"}
	if _, err := w.nodes[control].director.Report(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if node, _ := w.newest().Node(n.node().ID()); node.Address() != "elsewhere:1" {
		t.Fatalf("the state has %s", node.Address())
	}
	r.Address = "nowhere"
	if _, err := w.nodes[control].director.Report(context.Background(), r); fault.KindOf(err) != fault.Invalid {
		t.Fatalf("an address without a port was taken: %v", err)
	}
}

func TestClusterIDsAre128Bits(t *testing.T) {
	if got := appcluster.NewClusterID(fixedEntropy(7)); got != "00000000000000070000000000000007" {
		t.Fatalf("id %q", got)
	}
}

type fixedEntropy uint64

func (e fixedEntropy) Uint64() uint64 { return uint64(e) }

// TestAStateIsStoredBeforeItIsActedUpon moves a replica off a node whose disk cannot store the state: as
// long as that lasts, the replica stays.
func TestAStateIsStoredBeforeItIsActedUpon(t *testing.T) {
	w := trio(t)
	n := w.nodes[control]
	forgetful := &forgetfulNode{paperNode: n, err: fault.New(fault.DiskFull, "disk_full", "no room")}
	host := appcluster.NewHost(n.node().ID(), n.view, n, forgetful, n, func(string, error) {})
	state := n.view.State().Clone()
	for _, m := range []cluster.Move{{Group: cluster.ShardGroup(1), From: n.node().ID(), Epoch: 1}} {
		if err := state.Apply(m); err != nil {
			t.Fatal(err)
		}
		if err := state.Settle(m.Group, m.Epoch+1); err != nil {
			t.Fatal(err)
		}
	}
	n.view.Update(state)
	if err := host.Reconcile(t.Context()); fault.KindOf(err) != fault.DiskFull {
		t.Fatalf("Reconcile = %v, want the disk's error", err)
	}
	if _, hosted := n.replicas[cluster.ShardGroup(1)]; !hosted {
		t.Fatal("the replica was destroyed on a state that is not stored")
	}
	forgetful.err = nil
	if err := host.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, hosted := n.replicas[cluster.ShardGroup(1)]; hosted {
		t.Fatal("the replica is still there")
	}
}

// forgetfulNode cannot store states while it has an error.
type forgetfulNode struct {
	*paperNode
	err error
}

func (f *forgetfulNode) SaveState([]byte) error { return f.err }

// handsOver has a worker lead a group and hand it over, which as many wishes as losses do not bring about.
func handsOver(t *testing.T, losses int) (*deafHeirs, *paperGroup, *appcluster.Steward) {
	t.Helper()
	w := trio(t)
	n := w.nodes[worker1]
	group := cluster.ShardGroup(0)
	c := w.groups[group]
	c.leader = n.replicas[group]
	w.elect(c)
	deaf := &deafHeirs{paperNode: n, group: group, losses: losses}
	steward := appcluster.NewSteward(n.view, deaf, deaf, func(action string, err error) { t.Errorf("%s: %v", action, err) })
	steward.HandOver(t.Context())
	return deaf, c, steward
}

// TestHandOverTriesOthers has wishes get lost until each of the others was asked, and one of them again.
func TestHandOverTriesOthers(t *testing.T) {
	deaf, c, _ := handsOver(t, 2)
	if a := deaf.asked; len(a) != 3 || a[0] == a[1] || a[2] != a[0] || c.leader != a[2] {
		t.Errorf("asked %v, and %v leads; want two in turn, and the first leading", a, c.leader)
	}
}

// TestGivesAwayWhatItGetsWhileItStops has a group handed to a node that has handed it over before: whoever
// leads it does not know that the node stops.
func TestGivesAwayWhatItGetsWhileItStops(t *testing.T) {
	deaf, c, steward := handsOver(t, 0)
	if len(deaf.asked) != 1 || c.leader != deaf.asked[0] {
		t.Fatalf("asked %v, and %v leads; want one, which leads", deaf.asked, c.leader)
	}
	c.leader = deaf.replicas[deaf.group]
	deaf.losses = 2
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	deaf.heard = cancel
	if err := steward.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if a := deaf.asked; len(a) != 3 || a[1] == a[2] || c.leader != a[2] {
		t.Errorf("asked %v, and %v leads; want two more, the last of which leads", a, c.leader)
	}
}

// TestWishNotGrantedIsNotRepeatedSoon has the preferred leader not hear: each wish keeps writes waiting.
func TestWishNotGrantedIsNotRepeatedSoon(t *testing.T) {
	w := trio(t)
	group := cluster.ShardGroup(0)
	c := w.groups[group]
	preferred, ok := w.nodes[control].view.State().PreferredLeader(group.Shard, func(cluster.NodeID) bool { return true })
	if !ok {
		t.Fatal("nobody is preferred")
	}
	n := w.nodes[worker1]
	if n.replicas[group] == preferred.ID {
		n = w.nodes[worker2]
	}
	c.leader = n.replicas[group]
	w.elect(c)
	deaf := &deafHeirs{paperNode: n, group: group, losses: 1}
	told := 0
	steward := appcluster.NewSteward(n.view, deaf, deaf, func(string, error) { told++ })
	rounds := 0
	for ; rounds < 100 && c.leader != preferred.ID; rounds++ {
		steward.Round(t.Context())
	}
	if len(deaf.asked) != 2 || told != 1 || rounds != 40 {
		t.Errorf("asked %v in %d rounds and told of %d failures, want two in 40 and one", deaf.asked, rounds, told)
	}
}

// deafHeirs are replicas of a group that do not hear the first wishes.
type deafHeirs struct {
	*paperNode
	group  cluster.Group
	losses int
	asked  []cluster.ReplicaID
	heard  func() // called after a wish that was heard, if not nil
}

func (d *deafHeirs) Configuration(group cluster.Group) (cluster.Configuration, bool) {
	if group != d.group {
		return cluster.Configuration{}, false
	}
	return d.paperNode.Configuration(group)
}

func (d *deafHeirs) Change(ctx context.Context, group cluster.Group, step cluster.Step) error {
	if d.asked = append(d.asked, step.Replica); len(d.asked) <= d.losses {
		return context.DeadlineExceeded
	}
	if d.heard != nil {
		defer d.heard()
	}
	return d.paperNode.Change(ctx, group, step)
}

func (*deafHeirs) After(time.Duration) <-chan time.Time {
	passed := make(chan time.Time)
	close(passed)
	return passed
}
