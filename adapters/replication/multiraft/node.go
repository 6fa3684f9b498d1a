package multiraft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Node runs the replicas of one process. Its methods are safe for concurrent use; they answer once Run
// is running.
type Node struct {
	cfg Config

	changing sync.Mutex // held while a replica comes or goes
	hosted   atomic.Pointer[hosted]

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

// ApplyError is the error of a Run that ended because a state machine broke: which group's, and why.
type ApplyError struct {
	Group GroupID
	Err   error
}

// Error implements error.
func (e *ApplyError) Error() string { return fmt.Sprintf("apply to %s: %v", e.Group, e.Err) }

// Unwrap returns why.
func (e *ApplyError) Unwrap() error { return e.Err }

// New recovers every replica from its log, creating those that are new in one durable write. Errors of
// kind Corrupt name a shard whose log and state do not fit together.
func New(cfg Config) (*Node, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg:   cfg,
		ready: make(chan *group, groupsMax), toApply: make(chan *group, groupsMax),
		makes: make(chan *group, groupsMax), fetches: make(chan fetchJob, groupsMax),
		idle: make(chan struct{}, 1),
	}
	n.log.init(n)
	n.hosted.Store(newHosted(nil))
	replicas := make([]replica, len(cfg.Shards))
	for i, s := range cfg.Shards {
		replicas[i] = n.ofShard(s)
	}
	if cfg.Meta != nil {
		replicas = append(replicas, ofMeta(*cfg.Meta))
	}
	if err := n.host(replicas); err != nil {
		return nil, err
	}
	return n, nil
}

// Run drives the replicas until ctx ends or something breaks that only a new start can mend: then it
// returns the error (an *ApplyError where a state machine broke). When ctx ends it takes no more
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
	select {
	case <-ctx.Done():
		n.drain(running)
	case <-running.Done():
	}
	n.stopping.Store(true)
	cancel(errStopped)
	workers.Wait()
	n.changing.Lock()
	defer n.changing.Unlock()
	for _, g := range n.hosted.Load().list {
		g.close()
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
		for _, g := range n.hosted.Load().list {
			g.tick(min(passed, ticksWaitingMax))
		}
	}
}

// ticksWaitingMax bounds the ticks that a group makes up for, below an election's.
const ticksWaitingMax = electionTicks / 2
