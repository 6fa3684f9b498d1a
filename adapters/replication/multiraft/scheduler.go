package multiraft

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// group is a replica with its mailbox and the queue of what it is to apply. A group with events is in
// Node.ready exactly once until a worker has stepped it, so one worker at a time steps its core (the
// scheduler of CockroachDB's store has this shape).
type group struct {
	node      *Node
	id        GroupID
	toMachine applyFunc
	core      *Replica     // of the worker that holds stepping
	settled   bool         // as last published; of that worker too
	solo      atomic.Bool  // reads are up to date without asking: see Status.Solo
	confirmed atomic.Int64 // when the newest fence that was passed began, on the node's clock; 0: never
	closed    atomic.Bool  // nobody will step the group any more; set under mu

	stepping sync.Mutex // held while a worker steps the group
	applying sync.Mutex // held while a worker applies to its state machine

	mu struct {
		sync.Mutex
		events  []Event
		spare   []Event // the last batch's memory
		ticks   int
		queued  bool
		waiters map[Ticket]*waiter
		status  Status

		configuration cluster.Configuration // while Settled, as of the last tick
		leaderChanged chan struct{}         // closed when leadership comes here or goes, and replaced
	}
	apply struct {
		sync.Mutex
		items  []applyItem
		queued bool
	}
	snapshots snapshotWork
}

func newGroup(n *Node, r replica, core *Replica) *group {
	g := &group{node: n, id: r.group, toMachine: r.apply, core: core}
	g.mu.waiters = map[Ticket]*waiter{}
	g.mu.leaderChanged = make(chan struct{})
	g.mu.status = core.Status()
	return g
}

// post gives the group an event that must not be lost.
func (g *group) post(e Event) {
	g.mu.Lock()
	g.mu.events = append(g.mu.events, e)
	g.wakeLocked()
}

// offer gives the group an event, with the waiter that its ticket stands for, unless the mailbox is full
// or the node has stopped.
func (g *group) offer(e Event, ticket Ticket, w *waiter) bool {
	g.mu.Lock()
	if g.closed.Load() || len(g.mu.events) >= g.node.cfg.MailboxEventsMax {
		g.mu.Unlock()
		return false
	}
	if w != nil {
		g.mu.waiters[ticket] = w
	}
	g.mu.events = append(g.mu.events, e)
	g.wakeLocked()
	return true
}

func (g *group) tick(count int) {
	g.mu.Lock()
	g.mu.ticks = min(g.mu.ticks+count, ticksWaitingMax)
	g.wakeLocked()
}

func (g *group) wake() {
	g.mu.Lock()
	g.wakeLocked()
}

// wakeLocked queues the group and unlocks it. The queue has room for every group, so this never blocks.
func (g *group) wakeLocked() {
	queue := !g.mu.queued && !g.closed.Load()
	g.mu.queued = g.mu.queued || queue
	g.mu.Unlock()
	if queue {
		g.node.ready <- g
	}
}

// stepGroups is a worker: it takes the group that waits longest, gives its core everything that happened
// since the last time, and passes on what the core wants done.
func (n *Node) stepGroups(ctx context.Context) {
	var out Effects
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-n.ready:
			if err := g.step(&out); err != nil {
				n.fail(err)
				return
			}
		}
	}
}

func (g *group) step(out *Effects) error {
	g.stepping.Lock()
	defer g.stepping.Unlock()
	if g.closed.Load() {
		return nil
	}
	g.mu.Lock()
	events := g.mu.events
	g.mu.events, g.mu.spare = g.mu.spare, nil
	ticked := g.mu.ticks > 0
	if ticked {
		events = append(events, Tick{Count: g.mu.ticks})
		g.mu.ticks = 0
	}
	g.mu.Unlock()

	out.Reset()
	if err := g.core.Step(g.node.cfg.Clock.Monotonic(), events, out); err != nil {
		return err
	}
	// Before any message or answer leaves: it could make another replica a voter, or its receiver look.
	g.publish(ticked || out.MembershipChanged)
	g.dispatch(out)

	clear(events)
	g.mu.Lock()
	g.mu.spare = events[:0]
	g.mu.queued = false
	if len(g.mu.events) > 0 || g.mu.ticks > 0 {
		g.wakeLocked()
		return nil
	}
	g.mu.Unlock()
	return nil
}

// publish shows others what the core knows now, the group's members only when they may have changed.
func (g *group) publish(members bool) {
	status := g.core.Status()
	g.solo.Store(status.Solo)
	var configuration cluster.Configuration
	if members = members || status.Settled != g.settled; members {
		configuration, _ = g.core.Configuration()
	}
	g.settled = status.Settled
	g.mu.Lock()
	defer g.mu.Unlock()
	if status.Leads != g.mu.status.Leads {
		close(g.mu.leaderChanged)
		g.mu.leaderChanged = make(chan struct{})
	}
	g.mu.status = status
	if members {
		g.mu.configuration = configuration
	}
}

// dispatch passes a step's effects on.
func (g *group) dispatch(out *Effects) {
	n := g.node
	if len(out.Appends) > 0 {
		n.log.add(g, out.Appends)
	}
	if len(out.Send) > 0 && n.cfg.Transport != nil {
		messages := make([]Message, len(out.Send))
		for i, m := range out.Send {
			messages[i] = Message{Group: g.id, Message: m}
		}
		n.cfg.Transport.Send(messages)
	}
	if len(out.Applies) > 0 || out.Install != nil {
		g.addApplies(out)
	}
	for _, d := range out.Done {
		g.answer(d.Ticket, answer{group: g.id, outcome: d.Outcome, err: d.Err})
	}
	for _, r := range out.Reads {
		g.answer(r.Ticket, answer{group: g.id, err: r.Err})
	}
	for _, b := range out.Batches {
		n.cfg.Observer.BatchProposed(g.id, b.Commands, b.Bytes)
	}
	if out.Leader != nil {
		n.cfg.Observer.LeaderChanged(g.id, *out.Leader)
	}
	g.moveSnapshots(out)
}

// waiter is a caller that waits for answers.
type waiter struct {
	answers chan answer // with room for all of them
}

type answer struct {
	group   GroupID
	outcome []byte
	err     error
}

// answer wakes the caller that a ticket stands for, unless it gave up.
func (g *group) answer(t Ticket, a answer) {
	g.mu.Lock()
	w := g.mu.waiters[t]
	delete(g.mu.waiters, t)
	g.mu.Unlock()
	if w != nil {
		w.answers <- a
	}
}

// known returns what the core knew when it was last stepped.
func (g *group) known() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.status
}

// forget says that nobody waits for the ticket any more.
func (g *group) forget(t Ticket) {
	g.mu.Lock()
	delete(g.mu.waiters, t)
	g.mu.Unlock()
}

// close ends the group's work here and answers everyone who still waits.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed.Store(true)
	for _, w := range g.mu.waiters {
		w.answers <- answer{group: g.id, err: errAbandoned}
	}
	clear(g.mu.waiters)
	g.solo.Store(false)
}
