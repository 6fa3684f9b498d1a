package multiraft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// realClock is the machine's clock, or the bubble's under synctest.
type realClock struct{ start time.Time }

func newRealClock() *realClock { return &realClock{start: time.Now()} }

func (c *realClock) Now() time.Time                         { return time.Now() }
func (c *realClock) Monotonic() time.Duration               { return time.Since(c.start) }
func (c *realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

type countingEntropy struct {
	sync.Mutex
	last uint64
}

func (e *countingEntropy) Uint64() uint64 {
	e.Lock()
	defer e.Unlock()
	e.last++
	return e.last
}

// listApplier is a state machine that lists each shard's commands.
type listApplier struct {
	sync.Mutex
	commands map[shard.ID][]string
	state    map[shard.ID]outbound.AppliedState
	fail     error
}

func newListApplier() *listApplier {
	return &listApplier{commands: map[shard.ID][]string{}, state: map[shard.ID]outbound.AppliedState{}}
}

func (l *listApplier) Apply(_ context.Context, id shard.ID, entries []inbound.Entry) ([][]byte, error) {
	l.Lock()
	defer l.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	var outcomes [][]byte
	s := l.state[id]
	for _, e := range entries {
		if s.Index > 0 && e.Index != s.Index+1 {
			return nil, fmt.Errorf("index %d after %d", e.Index, s.Index)
		}
		s.Index, s.Term, s.LogTime = e.Index, e.Term, e.LogTime
		if e.Membership != nil {
			s.Membership = e.Membership
		}
		for _, c := range e.Commands {
			l.commands[id] = append(l.commands[id], string(c))
			outcomes = append(outcomes, []byte("did "+string(c)))
		}
	}
	l.state[id] = s
	return outcomes, nil
}

func (l *listApplier) list(id shard.ID) []string {
	l.Lock()
	defer l.Unlock()
	return slices.Clone(l.commands[id])
}

// nodeRig is a node under test with all that surrounds it.
type nodeRig struct {
	log     *memLog
	applier *listApplier
	clock   *realClock
	node    *Node
	stop    context.CancelFunc
	done    chan error
}

func newRig(shards int) (*nodeRig, Config) {
	rig := &nodeRig{log: newMemLog(), applier: newListApplier(), clock: newRealClock()}
	cfg := Config{
		Log: rig.log, Applier: rig.applier, Clock: rig.clock, Timer: rig.clock, Entropy: &countingEntropy{},
		Workers: 2,
	}
	for i := range shards {
		cfg.Shards = append(cfg.Shards, ShardConfig{Shard: shard.ID(i), ReplicaID: 1, Founders: []uint64{1}})
	}
	return rig, cfg
}

func (rig *nodeRig) run(tb testing.TB, cfg Config) {
	tb.Helper()
	node, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(tb.Context())
	rig.node, rig.stop, rig.done = node, stop, make(chan error, 1)
	go func() { rig.done <- node.Run(ctx) }()
}

// serving waits until every shard takes writes.
func (rig *nodeRig) serving(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	var all []shard.ID
	for _, s := range rig.node.Shards() {
		all = append(all, s.Shard)
	}
	if err := rig.node.Fence(ctx, all); err != nil {
		tb.Fatalf("not serving: %v", err)
	}
}

func (rig *nodeRig) close(tb testing.TB) {
	tb.Helper()
	rig.stop()
	if err := <-rig.done; err != nil {
		tb.Fatalf("run ended with %v", err)
	}
}

func TestNodeAnswersEveryProposalOnce(t *testing.T) {
	rig, cfg := newRig(4)
	rig.run(t, cfg)
	rig.serving(t)
	var writers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() {
			for i := range 50 {
				command := fmt.Sprintf("%d/%d", w, i)
				outcome, err := rig.node.Propose(t.Context(), shard.ID(i%4), []byte(command))
				if err != nil || string(outcome) != "did "+command {
					t.Errorf("%s: %q, %v", command, outcome, err)
				}
			}
		})
	}
	writers.Wait()
	rig.close(t)
	seen := map[string]int{}
	for id := range shard.ID(4) {
		for _, c := range rig.applier.list(id) {
			seen[c]++
		}
	}
	if len(seen) != 32*50 || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
		t.Fatalf("%d different commands applied, want each of 1600 once", len(seen))
	}
}

func TestNodeComesBackWithItsLog(t *testing.T) {
	rig, cfg := newRig(2)
	rig.run(t, cfg)
	rig.serving(t)
	for i := range 20 {
		if _, err := rig.node.Propose(t.Context(), shard.ID(i%2), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	rig.close(t)
	want := [][]string{rig.applier.list(0), rig.applier.list(1)}
	rig.applier = newListApplier() // memory is lost, the log is not
	cfg.Applier = rig.applier
	rig.run(t, cfg)
	rig.serving(t)
	for id := range want {
		if got := rig.applier.list(shard.ID(id)); !slices.Equal(got, want[id]) {
			t.Fatalf("shard %d replayed %q, want %q", id, got, want[id])
		}
	}
	rig.close(t)
}

func TestNodeMergesWritesOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(8)
		rig.run(t, cfg)
		rig.serving(t)
		synctest.Wait()
		before := rig.log.mu.writes
		gate := make(chan struct{})
		rig.log.gate = gate
		var writers sync.WaitGroup
		for id := range shard.ID(8) {
			writers.Go(func() {
				if _, err := rig.node.Propose(t.Context(), id, []byte("x")); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // the first is being written, the others come meanwhile
		}
		close(gate)
		writers.Wait()
		if got := rig.log.mu.writes - before; got != 2 {
			t.Fatalf("8 writes to 8 shards took %d log writes, want 2", got)
		}
		rig.close(t)
	})
}

func TestNodeEndsWithTheLogsError(t *testing.T) {
	rig, cfg := newRig(2)
	rig.run(t, cfg)
	rig.serving(t)
	broken := errors.New("disk gone")
	rig.log.mu.Lock()
	rig.log.mu.fail = broken
	rig.log.mu.Unlock()
	if _, err := rig.node.Propose(t.Context(), 0, []byte("x")); !errors.Is(err, outbound.ErrAmbiguous) {
		t.Fatalf("err=%v, want ErrAmbiguous", err)
	}
	if err := <-rig.done; !errors.Is(err, broken) {
		t.Fatalf("run ended with %v, want %v", err, broken)
	}
	if _, err := rig.node.Propose(t.Context(), 0, []byte("x")); !errors.Is(err, outbound.ErrNotProposed) {
		t.Fatalf("err=%v after the end, want ErrNotProposed", err)
	}
	if err := rig.node.Fence(t.Context(), []shard.ID{0}); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("fence after the end: %v", err)
	}
	rig.stop()
}

func TestNodeNamesTheBrokenShard(t *testing.T) {
	rig, cfg := newRig(2)
	rig.run(t, cfg)
	rig.serving(t)
	broken := errors.New("file damaged")
	rig.applier.Lock()
	rig.applier.fail = broken
	rig.applier.Unlock()
	if _, err := rig.node.Propose(t.Context(), 1, []byte("x")); !errors.Is(err, outbound.ErrAmbiguous) {
		t.Fatalf("err=%v, want ErrAmbiguous", err)
	}
	var named *ApplyError
	if err := <-rig.done; !errors.As(err, &named) || named.Group != GroupOf(1) || !errors.Is(err, broken) {
		t.Fatalf("run ended with %v, want shard 1 and %v", err, broken)
	}
	rig.stop()
}

func TestNodeFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(1)
		rig.run(t, cfg)
		rig.serving(t)
		gate := make(chan struct{})
		rig.log.gate = gate
		answered := make(chan error, 1)
		go func() {
			_, err := rig.node.Propose(t.Context(), 0, []byte("x"))
			answered <- err
		}()
		synctest.Wait()
		rig.stop()
		synctest.Wait()
		if _, err := rig.node.Propose(t.Context(), 0, []byte("late")); !errors.Is(err, outbound.ErrNotProposed) {
			t.Fatalf("err=%v while stopping, want ErrNotProposed", err)
		}
		close(gate)
		if err := <-answered; err != nil {
			t.Fatalf("proposal under way: %v", err)
		}
		if err := <-rig.done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestNodeStopsThoughTheLogStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(1)
		rig.run(t, cfg)
		rig.serving(t)
		gate := make(chan struct{})
		rig.log.gate = gate
		answered := make(chan error, 1)
		go func() {
			_, err := rig.node.Propose(context.Background(), 0, []byte("x"))
			answered <- err
		}()
		synctest.Wait()
		rig.stop()
		time.Sleep(cfg.StopTimeout + 6*time.Second) // fake time
		close(gate)                                 // the write returns after the drain gave up
		if err := <-answered; !errors.Is(err, outbound.ErrAmbiguous) {
			t.Fatalf("err=%v, want ErrAmbiguous", err)
		}
		if err := <-rig.done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestProposeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(1)
		cfg.Limits.EntriesInFlightMax = 1
		rig.run(t, cfg)
		rig.serving(t)
		gate := make(chan struct{})
		rig.log.gate = gate
		errs := make([]error, 2)
		var callers sync.WaitGroup
		for i := range errs {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, errs[i] = rig.node.Propose(ctx, 0, []byte("x"))
			})
			synctest.Wait()
		}
		callers.Wait()
		if !errors.Is(errs[0], outbound.ErrAmbiguous) {
			t.Fatalf("in the log: %v, want ErrAmbiguous", errs[0])
		}
		if !errors.Is(errs[1], outbound.ErrNotProposed) {
			t.Fatalf("waiting: %v, want ErrNotProposed", errs[1])
		}
		close(gate)
		rig.close(t)
	})
}

func TestFenceAsksNobodyWhenAlone(t *testing.T) {
	rig, cfg := newRig(8)
	rig.run(t, cfg)
	rig.serving(t)
	all := make([]shard.ID, 8)
	for i := range all {
		all[i] = shard.ID(i)
	}
	if err := rig.node.Fence(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = rig.node.Fence(t.Context(), all) }); n > 0 {
		t.Fatalf("%v allocations for a fence of a lone node, want none", n)
	}
	if err := rig.node.Fence(t.Context(), []shard.ID{99}); !errors.Is(err, errNoReadLeader) {
		t.Fatalf("fence of a shard that is not here: %v", err)
	}
	if _, err := rig.node.Propose(t.Context(), 99, nil); !errors.Is(err, outbound.ErrNotProposed) {
		t.Fatalf("proposal to a shard that is not here: %v", err)
	}
	rig.close(t)
}

func TestShardsAndTruncation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, cfg := newRig(3)
		slices.Reverse(cfg.Shards)
		rig.run(t, cfg)
		rig.serving(t)
		if _, err := rig.node.Propose(t.Context(), 1, []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, s := range rig.node.Shards() {
			if s.Shard != shard.ID(i) || !s.Leader || !s.Serving || s.Applied != s.Commit || s.Applied < 2 {
				t.Fatalf("status %+v", s)
			}
		}
		applied := rig.node.Shards()[1].Applied
		rig.node.Durable(1, applied)
		synctest.Wait()
		if got := rig.log.mu.groups[GroupOf(1)].state.Truncated.Index; got != applied {
			t.Fatalf("truncated to %d, want %d", got, applied)
		}
		rig.close(t)
	})
}

func TestNewRefusesWhatDoesNotFit(t *testing.T) {
	_, cfg := newRig(1)
	cfg.Shards[0].Applied.Index = 5
	if _, err := New(cfg); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("state without a log: %v, want Corrupt", err)
	}
	cfg.Shards[0].Applied.Index = 0
	if _, err := New(cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Shards[0].ReplicaID = 2
	if _, err := New(cfg); fault.KindOf(err) != fault.Conflict {
		t.Fatalf("another replica's log: %v, want Conflict", err)
	}
	for name, spoil := range map[string]func(*Config){
		"log":      func(c *Config) { c.Log = nil },
		"negative": func(c *Config) { c.Workers = -1 }, "limits": func(c *Config) { c.Limits.CacheBytesMax = -1 },
		"twice": func(c *Config) { c.Shards = append(c.Shards, c.Shards[0]) },
	} {
		_, bad := newRig(1)
		spoil(&bad)
		if _, err := New(bad); err == nil || !strings.HasPrefix(err.Error(), "check ") {
			t.Fatalf("%s: err=%v", name, err)
		}
	}
}
