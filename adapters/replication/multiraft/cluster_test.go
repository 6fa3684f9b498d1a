package multiraft

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

const testGroup = GroupID(1)

// member is one core of a hand-driven group, with the simplest state machine: the list of commands.
type member struct {
	id      uint64
	log     *memLog
	core    *Replica
	down    bool
	cut     bool // no message in or out
	applied []string
	state   AppliedPoint
	// durable is what a restart begins with.
	durable      AppliedPoint
	durableState []string
	heldAppends  []*Append
	holdAppends  bool
	done         map[Ticket]ProposalDone
	reads        map[Ticket]ReadReady
	readAt       map[Ticket]int // commands applied when the read was answered
	memberships  [][]byte
	installed    int
}

type trio struct {
	t       *testing.T
	limits  Limits
	members map[uint64]*member
	wire    [][]byte
	now     time.Duration
	drop    func(m *raftpb.Message) bool

	snapshots map[string]snapshotOfMember
}

type snapshotOfMember struct {
	state   AppliedPoint
	applied []string
}

func newCluster(t *testing.T, limits Limits, ids ...uint64) *trio {
	t.Helper()
	c := &trio{t: t, limits: limits, members: map[uint64]*member{}, now: time.Second, snapshots: map[string]snapshotOfMember{}}
	founding, err := Membership(ids...)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		c.add(Found(testGroup, id, founding), id)
	}
	return c
}

func (c *trio) add(create LogWrite, id uint64) *member {
	c.t.Helper()
	m := &member{id: id, log: newMemLog()}
	if err := m.log.Write([]LogWrite{create}); err != nil {
		c.t.Fatal(err)
	}
	c.members[id] = m
	c.start(m)
	return m
}

// start builds the core anew from log and durable state.
func (c *trio) start(m *member) {
	c.t.Helper()
	m.state, m.applied = m.durable, slices.Clone(m.durableState)
	m.done, m.reads, m.readAt = map[Ticket]ProposalDone{}, map[Ticket]ReadReady{}, map[Ticket]int{}
	m.heldAppends, m.down = nil, false
	rec, err := Recover(m.log, testGroup, m.durable)
	if err != nil {
		c.t.Fatal(err)
	}
	if !rec.Write.IsEmpty() {
		if err := m.log.Write([]LogWrite{rec.Write}); err != nil {
			c.t.Fatal(err)
		}
	}
	m.core, err = NewReplica(ReplicaConfig{
		Group: testGroup, Log: m.log, Recovery: rec, ReadNonce: m.id<<32 + uint64(c.now), Limits: c.limits,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.step(m)
}

// step gives events to a member and does what it wants done, until it wants nothing more.
func (c *trio) step(m *member, events ...Event) {
	c.t.Helper()
	for {
		var out Effects
		if err := m.core.Step(c.now, events, &out); err != nil {
			c.t.Fatalf("member %d: %v", m.id, err)
		}
		events = c.do(m, &out)
		if len(events) == 0 {
			return
		}
	}
}

func (c *trio) do(m *member, out *Effects) (events []Event) {
	c.t.Helper()
	for _, r := range out.Reads {
		if _, twice := m.reads[r.Ticket]; twice {
			c.t.Fatalf("read %d answered twice", r.Ticket)
		}
		m.reads[r.Ticket], m.readAt[r.Ticket] = r, len(m.applied)
	}
	for _, a := range out.Appends {
		if m.holdAppends {
			m.heldAppends = append(m.heldAppends, a)
			continue
		}
		events = append(events, c.write(m, a))
	}
	for _, a := range out.Applies {
		events = append(events, Applied{Apply: a, Outcomes: m.apply(c.t, a.Entries)})
	}
	for _, s := range out.Send {
		c.send(m, s)
	}
	for _, d := range out.Done {
		if _, twice := m.done[d.Ticket]; twice {
			c.t.Fatalf("ticket %d answered twice", d.Ticket)
		}
		m.done[d.Ticket] = d
	}
	if out.WantSnapshot {
		m.checkpoint()
		name := fmt.Sprintf("%d at %d", m.id, m.durable.Index)
		c.snapshots[name] = snapshotOfMember{state: m.durable, applied: m.durableState}
		events = append(events, SnapshotMade{Snapshot{
			Index: m.durable.Index, Term: m.durable.Term, Membership: m.durable.Membership, Manifest: []byte(name),
		}})
	}
	if out.Fetch != nil {
		events = append(events, SnapshotFetched{Message: out.Fetch.Message})
	}
	if i := out.Install; i != nil {
		from, ok := c.snapshots[string(i.Snapshot.Manifest)]
		if !ok || from.state.Index != i.Snapshot.Index {
			c.t.Fatalf("installs %q at %d", i.Snapshot.Manifest, i.Snapshot.Index)
		}
		m.state, m.applied = from.state, slices.Clone(from.applied)
		m.durable, m.durableState = m.state, slices.Clone(m.applied)
		m.installed++
		events = append(events, SnapshotInstalled{Install: i, LogTime: m.state.LogTime})
	}
	return events
}

func (c *trio) write(m *member, a *Append) Event {
	c.t.Helper()
	if !a.Write.IsEmpty() {
		if err := m.log.Write([]LogWrite{a.Write}); err != nil {
			c.t.Fatalf("member %d: %v", m.id, err)
		}
	}
	return Appended{Append: a}
}

// release completes the appends that were held back.
func (c *trio) release(m *member) {
	c.t.Helper()
	for m.holdAppends = true; len(m.heldAppends) > 0; {
		a := m.heldAppends[0]
		m.heldAppends = m.heldAppends[1:]
		c.step(m, c.write(m, a))
	}
	m.holdAppends = false
}

func (m *member) apply(t *testing.T, entries []inbound.Entry) (outcomes [][]byte) {
	t.Helper()
	for _, e := range entries {
		if e.Index != m.state.Index+1 && m.state.Index > 0 {
			t.Fatalf("member %d applies %d after %d", m.id, e.Index, m.state.Index)
		}
		if e.LogTime < m.state.LogTime {
			t.Fatalf("member %d: log time %v after %v", m.id, e.LogTime, m.state.LogTime)
		}
		m.state.Index, m.state.Term, m.state.LogTime = e.Index, e.Term, e.LogTime
		if e.Membership != nil {
			m.state.Membership = e.Membership
			m.memberships = append(m.memberships, e.Membership)
		}
		for _, command := range e.Commands {
			m.applied = append(m.applied, string(command))
			outcomes = append(outcomes, fmt.Appendf(nil, "did %s", command))
		}
	}
	return outcomes
}

// checkpoint makes a member's present state durable.
func (m *member) checkpoint() {
	m.durable, m.durableState = m.state, slices.Clone(m.applied)
	if m.durable.Membership == nil {
		m.durable.Membership = m.log.mu.groups[testGroup].state.Identity.Founding
	}
}

// flush is a checkpoint that the core is told of.
func (c *trio) flush(m *member) {
	m.checkpoint()
	c.step(m, Durable{Index: m.durable.Index})
}

func (c *trio) send(m *member, msg *raftpb.Message) {
	c.t.Helper()
	if m.cut || (c.drop != nil && c.drop(msg)) {
		return
	}
	b, err := proto.Marshal(msg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.wire = append(c.wire, b)
}

// settle delivers messages until none is under way.
func (c *trio) settle() {
	c.t.Helper()
	for n := 0; len(c.wire) > 0; n++ {
		if n > 100_000 {
			c.t.Fatal("messages never end")
		}
		c.deliverOne()
	}
}

// deliverOne delivers the message that waits longest.
func (c *trio) deliverOne() {
	c.t.Helper()
	msg := &raftpb.Message{}
	if err := proto.Unmarshal(c.wire[0], msg); err != nil {
		c.t.Fatal(err)
	}
	c.wire = c.wire[1:]
	if to := c.members[msg.GetTo()]; to != nil && !to.down && !to.cut {
		c.step(to, Receive{Message: msg})
	}
}

// pass lets n tick intervals pass, delivering messages after each.
func (c *trio) pass(n int) {
	c.t.Helper()
	for range n {
		c.now += TickInterval
		for _, id := range slices.Sorted(maps.Keys(c.members)) {
			if m := c.members[id]; !m.down {
				c.step(m, Tick{Count: 1})
			}
		}
		c.settle()
	}
}

// leader passes time until exactly one connected member is a settled leader that all others follow.
func (c *trio) leader() *member {
	c.t.Helper()
	for range 200 {
		for _, id := range slices.Sorted(maps.Keys(c.members)) {
			m := c.members[id]
			if !m.down && !m.cut && m.core.Status().Settled && c.followed(m) {
				return m
			}
		}
		c.pass(1)
	}
	c.t.Fatal("no leader")
	return nil
}

func (c *trio) followed(leader *member) bool {
	for _, m := range c.members {
		if !m.down && !m.cut && m.core.Status().Leader != leader.id {
			return false
		}
	}
	return true
}

func (c *trio) others(m *member) []*member {
	var list []*member
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if id != m.id {
			list = append(list, c.members[id])
		}
	}
	return list
}

func (c *trio) wantApplied(m *member, want ...string) {
	c.t.Helper()
	if !slices.Equal(m.applied, want) {
		c.t.Fatalf("member %d applied %q, want %q", m.id, m.applied, want)
	}
}

func (c *trio) wantDone(m *member, ticket Ticket, want error, outcome string) {
	c.t.Helper()
	d, ok := m.done[ticket]
	if !ok {
		c.t.Fatalf("ticket %d is not answered", ticket)
	}
	if !errors.Is(d.Err, want) || !bytes.Equal(d.Outcome, []byte(outcome)) {
		c.t.Fatalf("ticket %d: %q, %v; want %q, %v", ticket, d.Outcome, d.Err, outcome, want)
	}
}
