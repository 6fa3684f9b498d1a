package multiraft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Node runs the replicas of one process. Its methods are safe for concurrent use; they answer once Run
// is running.
type Node struct {
	cfg    Config
	groups []*group // ascending by shard
	byID   map[shard.ID]*group

	ready   chan *group // groups with something to do, each at most once
	toApply chan *group // groups with something to apply, each at most once
	log     logWriter
	makes   chan *group   // groups that want a snapshot made, each at most once
	fetches chan fetchJob // snapshots to fetch, of each group at most one

	fail context.CancelCauseFunc // ends the run with an error

	tickets  atomic.Uint64
	stopping atomic.Bool
	underway atomic.Int64  // proposals not answered yet
	idle     chan struct{} // gets a value when the last one is answered while stopping
}

// groupsMax bounds the groups of one node: all shards and the meta group.
const groupsMax = shard.CountMax + 1

// ApplyError is the error of a Run that ended because a state machine broke: which shard's, and why.
type ApplyError struct {
	Shard shard.ID
	Err   error
}

// Error implements error.
func (e *ApplyError) Error() string { return fmt.Sprintf("apply to shard %s: %v", e.Shard, e.Err) }

// Unwrap returns why.
func (e *ApplyError) Unwrap() error { return e.Err }

// New recovers every replica from its log, creating those that are new in one durable write. Errors of
// kind Corrupt name a shard whose log and state do not fit together.
func New(cfg Config) (*Node, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, byID: make(map[shard.ID]*group, len(cfg.Shards)),
		ready: make(chan *group, groupsMax), toApply: make(chan *group, groupsMax),
		makes: make(chan *group, groupsMax), fetches: make(chan fetchJob, groupsMax),
		idle: make(chan struct{}, 1),
	}
	n.log.init(n)
	if err := n.createMissing(); err != nil {
		return nil, err
	}
	if err := n.recover(); err != nil {
		return nil, err
	}
	return n, nil
}

// createMissing writes the identities of all replicas that the log does not know.
func (n *Node) createMissing() error {
	var writes []LogWrite
	for _, s := range n.cfg.Shards {
		g := GroupOf(s.Shard)
		stored, err := n.cfg.Log.Load(g)
		if err != nil {
			return fmt.Errorf("load log of %s: %w", g, err)
		}
		have := stored.Identity.ReplicaID
		switch {
		case have == s.ReplicaID:
		case have != 0:
			return fault.Newf(fault.Conflict, "replica_mismatch",
				"the log of %s belongs to replica %d, not %d", g, have, s.ReplicaID)
		case s.Applied.Index > 0:
			return fault.Newf(fault.Corrupt, "log_lost",
				"the log of %s is lost: storage is at index %d, but there is no log", g, s.Applied.Index)
		case len(s.Founders) == 0:
			writes = append(writes, Join(g, s.ReplicaID))
		default:
			founding, err := Membership(s.Founders...)
			if err != nil {
				return err
			}
			writes = append(writes, Found(g, s.ReplicaID, founding))
		}
	}
	return n.write(writes, "create logs")
}

func (n *Node) write(writes []LogWrite, what string) error {
	if len(writes) == 0 {
		return nil
	}
	if err := n.cfg.Log.Write(writes); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (n *Node) recover() error {
	var writes []LogWrite
	recoveries := make([]Recovery, len(n.cfg.Shards))
	for i, s := range n.cfg.Shards {
		rec, err := Recover(n.cfg.Log, GroupOf(s.Shard), appliedPoint(s.Applied))
		if err != nil {
			return err
		}
		if !rec.Write.IsEmpty() {
			writes = append(writes, rec.Write)
		}
		recoveries[i] = rec
	}
	if err := n.write(writes, "align logs"); err != nil {
		return err
	}
	for i, s := range n.cfg.Shards {
		id := GroupOf(s.Shard)
		core, err := NewReplica(ReplicaConfig{
			Group: id, Log: n.cfg.Log, Recovery: recoveries[i], ReadNonce: n.cfg.Entropy.Uint64(),
			Limits: n.cfg.Limits, Logger: raftLogger{n.cfg.Logger.With().Stringer("group", id).Logger()},
		})
		if err != nil {
			return err
		}
		n.add(newGroup(n, s.Shard, core))
	}
	return nil
}

func (n *Node) add(g *group) {
	n.byID[g.shard] = g
	at, _ := slices.BinarySearchFunc(n.groups, g.shard, func(have *group, id shard.ID) int { return cmp.Compare(have.shard, id) })
	n.groups = slices.Insert(n.groups, at, g)
}

func appliedPoint(s outbound.AppliedState) AppliedPoint {
	return AppliedPoint{LogPoint: LogPoint{Index: s.Index, Term: s.Term}, LogTime: s.LogTime, Membership: s.Membership}
}

// Run drives the replicas until ctx ends or something breaks that only a new start can mend: then it
// returns the error (an *ApplyError where a shard's state machine broke). When ctx ends it takes no more
// proposals, waits for those under way within StopTimeout, and returns nil after its last goroutine.
// It must be called once.
func (n *Node) Run(ctx context.Context) error {
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	n.fail = cancel
	var workers sync.WaitGroup
	for range n.cfg.Workers {
		workers.Go(func() { n.stepGroups(running) })
		workers.Go(func() { n.applyGroups(running) })
	}
	workers.Go(func() { n.log.run(running) })
	workers.Go(func() { n.tickGroups(running) })
	if n.cfg.Snapshots != nil {
		workers.Go(func() { n.makeSnapshots(running) })
		workers.Go(func() { n.fetchSnapshots(running) })
	}
	for _, g := range n.groups {
		g.wake()
	}
	select {
	case <-ctx.Done():
		n.drain(running)
	case <-running.Done():
	}
	n.stopping.Store(true)
	cancel(errStopped)
	workers.Wait()
	for _, g := range n.groups {
		g.abandon()
	}
	if cause := context.Cause(running); !errors.Is(cause, errStopped) {
		return cause
	}
	return nil
}

var errStopped = errors.New("replication stopped")

// drain waits for the proposals under way.
func (n *Node) drain(running context.Context) {
	n.stopping.Store(true)
	timeout := n.cfg.Timer.After(n.cfg.StopTimeout)
	for n.underway.Load() > 0 {
		select {
		case <-n.idle:
		case <-timeout:
			return
		case <-running.Done():
			return
		}
	}
}

// tickGroups advances raft's clock. A process that was suspended catches up with a few ticks only, so
// that it hears from its leaders before it doubts them.
func (n *Node) tickGroups(ctx context.Context) {
	last := n.cfg.Clock.Monotonic()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.cfg.Timer.After(TickInterval):
		}
		passed := int((n.cfg.Clock.Monotonic() - last) / TickInterval)
		last += time.Duration(passed) * TickInterval
		for _, g := range n.groups {
			g.tick(min(passed, ticksWaitingMax))
		}
	}
}

// ticksWaitingMax bounds the ticks that a group makes up for, below an election's.
const ticksWaitingMax = electionTicks / 2
