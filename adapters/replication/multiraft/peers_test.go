package multiraft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// network joins nodes of one process; node i holds replica i+1 of every shard.
type network struct {
	t *testing.T
	sync.Mutex
	rigs []*nodeRig
	cut  map[uint64]bool
}

// setCut says whether what a replica sends and is sent is lost.
func (net *network) setCut(replica uint64, cut bool) {
	net.Lock()
	defer net.Unlock()
	net.cut[replica] = cut
}

// link is one node's way into the network.
type link struct{ net *network }

func (l link) Send(messages []Message) {
	l.net.Lock()
	defer l.net.Unlock()
	for _, m := range messages {
		to := m.Message.GetTo()
		from := m.Message.GetFrom()
		if l.net.cut[to] || l.net.cut[from] {
			l.net.rigs[from-1].node.Lost(m.Group, m.Message)
			continue
		}
		copied, ok := proto.Clone(m.Message).(*raftpb.Message)
		if !ok {
			panic("a clone of another type")
		}
		l.net.rigs[to-1].node.Receive(m.Group, copied)
	}
}

// snapshotCopies is a SnapshotStore that copies the source's state when it is fetched.
type snapshotCopies struct {
	net     *network
	here    *nodeRig
	fetched map[GroupID]fetchedCopy
	fails   int // of Fetch, before it works
}

type fetchedCopy struct {
	commands []string
	state    outbound.AppliedState
}

func (s *snapshotCopies) Make(_ context.Context, g GroupID) (Snapshot, error) {
	id, _ := g.Shard()
	a := s.here.applier
	a.Lock()
	defer a.Unlock()
	state := a.state[id]
	if state.Membership == nil {
		founding, err := Membership(1, 2, 3)
		if err != nil {
			return Snapshot{}, err
		}
		state.Membership = founding
	}
	return Snapshot{Index: state.Index, Term: state.Term, Membership: state.Membership, Manifest: fmt.Append(nil, len(a.commands[id]))}, nil
}

func (s *snapshotCopies) Fetch(_ context.Context, g GroupID, from uint64, snapshot Snapshot) error {
	if s.fails > 0 {
		s.fails--
		return errors.New("stream broke")
	}
	id, _ := g.Shard()
	var n int
	if _, err := fmt.Sscan(string(snapshot.Manifest), &n); err != nil {
		return err
	}
	source := s.net.rigs[from-1].applier
	source.Lock()
	defer source.Unlock()
	s.fetched[g] = fetchedCopy{
		commands: slices.Clone(source.commands[id][:n]),
		state: outbound.AppliedState{
			Index: snapshot.Index, Term: snapshot.Term, LogTime: source.state[id].LogTime, Membership: snapshot.Membership,
		},
	}
	return nil
}

func (s *snapshotCopies) Install(_ context.Context, g GroupID, snapshot Snapshot) (outbound.AppliedState, error) {
	id, _ := g.Shard()
	f := s.fetched[g]
	if f.state.Index != snapshot.Index {
		return outbound.AppliedState{}, fmt.Errorf("install %d, fetched %d", snapshot.Index, f.state.Index)
	}
	a := s.here.applier
	a.Lock()
	defer a.Unlock()
	a.commands[id], a.state[id] = f.commands, f.state
	return f.state, nil
}

func newNetwork(t *testing.T, shards int, limits Limits) *network {
	t.Helper()
	return foundNetwork(t, shards, limits, 1, 2, 3)
}

// foundNetwork makes three nodes of which only the founders form the groups at first.
func foundNetwork(t *testing.T, shards int, limits Limits, founders ...uint64) *network {
	t.Helper()
	net := &network{t: t, cut: map[uint64]bool{}}
	var configs []Config
	for replica := uint64(1); replica <= 3; replica++ {
		rig, cfg := newRig(shards)
		cfg.Limits, cfg.Transport = limits, link{net}
		cfg.Snapshots = &snapshotCopies{net: net, here: rig, fetched: map[GroupID]fetchedCopy{}, fails: 1}
		for i := range cfg.Shards {
			cfg.Shards[i].ReplicaID, cfg.Shards[i].Founders = replica, nil
			if slices.Contains(founders, replica) {
				cfg.Shards[i].Founders = founders
			}
		}
		net.rigs, configs = append(net.rigs, rig), append(configs, cfg)
	}
	for i, rig := range net.rigs {
		var err error
		if rig.node, err = New(configs[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, rig := range net.rigs {
		ctx, stop := context.WithCancel(t.Context())
		rig.stop, rig.done = stop, make(chan error, 1)
		go func() { rig.done <- rig.node.Run(ctx) }()
	}
	return net
}

// propose gives a command to whoever leads, again until it is in: tests that need it once check that.
func (net *network) propose(id shard.ID, command string) {
	net.t.Helper()
	ctx, cancel := context.WithTimeout(net.t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for i, rig := range net.rigs {
			if net.cut[uint64(i+1)] {
				continue
			}
			if _, err := rig.node.Propose(ctx, id, []byte(command)); err == nil {
				return
			}
		}
		time.Sleep(TickInterval) // fake time
	}
	net.t.Fatalf("nobody took %q", command)
}

func (net *network) leader(id shard.ID) int {
	for i, rig := range net.rigs {
		if s := rig.node.Shards()[id]; s.Leader && s.Serving && !net.cut[uint64(i+1)] {
			return i
		}
	}
	net.t.Fatal("no leader")
	return 0
}

func (net *network) close() {
	net.t.Helper()
	for _, rig := range net.rigs {
		rig.stop()
	}
	for _, rig := range net.rigs {
		if err := <-rig.done; err != nil {
			net.t.Fatal(err)
		}
	}
}

func TestThreeNodesReplicateAndReadAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 2, Limits{})
		for i := range 20 {
			command := strconv.Itoa(i)
			net.propose(shard.ID(i%2), command)
			for n, rig := range net.rigs {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if err := rig.node.Fence(ctx, []shard.ID{0, 1}); err != nil {
					t.Fatalf("fence at node %d: %v", n, err)
				}
				cancel()
				if !slices.Contains(rig.applier.list(shard.ID(i%2)), command) {
					t.Fatalf("node %d does not see %s after a fence", n, command)
				}
			}
		}
		net.close()
	})
}

func TestNodesGoOnWithoutTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 1, Limits{})
		net.propose(0, "before")
		old := net.leader(0)
		net.setCut(uint64(old+1), true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := net.rigs[old].node.Propose(ctx, 0, []byte("lost")); !errors.Is(err, outbound.ErrAmbiguous) {
			t.Fatalf("proposal to a cut leader: %v, want ErrAmbiguous", err)
		}
		if err := net.rigs[old].node.Fence(ctx, []shard.ID{0}); err == nil {
			t.Fatal("a cut node confirmed a read")
		}
		net.propose(0, "after")
		net.setCut(uint64(old+1), false)
		time.Sleep(5 * time.Second) // fake time
		for n, rig := range net.rigs {
			if got := rig.applier.list(0); !slices.Equal(got, []string{"before", "after"}) {
				t.Fatalf("node %d has %q", n, got)
			}
		}
		net.close()
	})
}

func TestNodeIsBroughtUpBySnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 1, Limits{TrailingEntriesMax: 2})
		net.propose(0, "first")
		leader := net.leader(0)
		lag := (leader + 1) % 3
		net.setCut(uint64(lag+1), true)
		for i := range 20 {
			net.propose(0, strconv.Itoa(i))
		}
		time.Sleep(3 * time.Second) // fake time: the leader learns that the laggard is silent
		for i, rig := range net.rigs {
			if i != lag {
				rig.node.Durable(0, rig.node.Shards()[0].Applied)
			}
		}
		synctest.Wait()
		net.setCut(uint64(lag+1), false)
		time.Sleep(20 * time.Second) // fake time
		net.propose(0, "last")
		time.Sleep(time.Second) // fake time
		want := net.rigs[leader].applier.list(0)
		if got := net.rigs[lag].applier.list(0); !slices.Equal(got, want) || len(got) < 22 {
			t.Fatalf("laggard has %q, want %q", got, want)
		}
		if first := net.rigs[lag].log.mu.groups[GroupOf(0)].state.First(); first < 10 {
			t.Fatalf("the laggard's log starts at %d: it got no snapshot", first)
		}
		net.close()
	})
}

func TestGroupMovesToItsPlacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := foundNetwork(t, 1, Limits{}, 1)
		net.propose(0, "first")
		node := func() *Node { return net.rigs[net.leader(0)].node }
		group := cluster.ShardGroup(0)
		placement := cluster.Placement{Replicas: []cluster.Replica{{ID: 2}, {ID: 3}}}
		var kinds []cluster.StepKind
		for range 200 {
			time.Sleep(TickInterval) // fake time
			c, leads := node().Configuration(group)
			if !leads {
				continue
			}
			step := cluster.NextStep(placement, c)
			if step.Kind == cluster.StepWait {
				continue
			}
			kinds = append(kinds, step.Kind)
			if step.Kind == cluster.StepSettled {
				break
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := node().Change(ctx, group, step); err != nil && !errors.Is(err, outbound.ErrAmbiguous) {
				t.Fatalf("step %+v at %+v: %v", step, c, err)
			}
			cancel()
			time.Sleep(2 * time.Second) // fake time: a leader that left is replaced
		}
		if len(kinds) < 4 || kinds[len(kinds)-1] != cluster.StepSettled {
			t.Fatalf("steps %v do not reach the placement", kinds)
		}
		net.propose(0, "last")
		time.Sleep(time.Second) // fake time
		for _, rig := range net.rigs[1:] {
			if got := rig.applier.list(0); !slices.Equal(got, []string{"first", "last"}) {
				t.Fatalf("a member has %q", got)
			}
		}
		if got := net.rigs[0].applier.list(0); len(got) != 1 {
			t.Fatalf("the removed member has %q", got)
		}
		net.close()
	})
}

func TestLeadershipMovesAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 1, Limits{})
		net.propose(0, "x")
		from := net.leader(0)
		to := cluster.ReplicaID((from+1)%3 + 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		transfer := cluster.Step{Kind: cluster.StepTransfer, Replica: to}
		if err := net.rigs[from].node.Change(ctx, cluster.ShardGroup(0), transfer); err != nil {
			t.Fatal(err)
		}
		if err := net.rigs[from].node.Change(ctx, cluster.ShardGroup(0), transfer); !errors.Is(err, outbound.ErrNotProposed) {
			t.Fatalf("handing over twice: %v", err)
		}
		time.Sleep(time.Second) // fake time
		if got := cluster.ReplicaID(net.leader(0) + 1); got != to {
			t.Fatalf("replica %d leads, want %d", got, to)
		}
		net.close()
	})
}

func TestLostTransferIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 1, Limits{})
		net.propose(0, "x")
		from := net.leader(0)
		to := cluster.ReplicaID((from+1)%3 + 1)
		transfer := cluster.Step{Kind: cluster.StepTransfer, Replica: to}
		change := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), electionTicks*TickInterval/4)
			defer cancel()
			return net.rigs[from].node.Change(ctx, cluster.ShardGroup(0), transfer)
		}
		net.setCut(uint64(to), true)
		if err := change(); !errors.Is(err, errNotHandedOver) {
			t.Fatalf("handing over to a node that hears nothing: %v", err)
		}
		net.setCut(uint64(to), false)
		net.propose(0, "y") // at once, though raft would wait for the transfer longer
		if err := change(); err != nil {
			t.Fatalf("handing over again: %v", err)
		}
		net.close()
	})
}
