package multiraft

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestSoloLeadsAtOnceAndAnswers(t *testing.T) {
	c := newCluster(t, Limits{}, 7)
	m := c.members[7]
	if s := m.core.Status(); !s.Solo || s.Leader != 7 {
		t.Fatalf("status %+v after start, want a settled solo leader", s)
	}
	c.step(m, Propose{Ticket: 1, Command: []byte("a")}, Propose{Ticket: 2, Command: []byte("b")}, Read{Ticket: 9})
	c.wantDone(m, 1, nil, "did a")
	c.wantDone(m, 2, nil, "did b")
	c.wantApplied(m, "a", "b")
	if r, ok := m.reads[9]; !ok || r.Err != nil {
		t.Fatalf("read %+v, %v; want an index", r, ok)
	}
}

func TestSoloRestartsWithEverything(t *testing.T) {
	c := newCluster(t, Limits{}, 1)
	m := c.members[1]
	for i := range 10 {
		c.step(m, Propose{Ticket: Ticket(i), Command: fmt.Append(nil, i)})
		if i == 4 {
			c.flush(m)
		}
	}
	if got := m.log.mu.groups[testGroup].state.Truncated.Index; got != m.durable.Index {
		t.Fatalf("truncated to %d, want %d", got, m.durable.Index)
	}
	c.start(m)
	c.wantApplied(m, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	c.step(m, Propose{Ticket: 1, Command: []byte("more")})
	c.wantDone(m, 1, nil, "did more")
}

func TestReadOfSoloWaitsForOwnTerm(t *testing.T) {
	c := newCluster(t, Limits{}, 1)
	m := c.members[1]
	c.step(m, Propose{Ticket: 1, Command: []byte("acknowledged")})
	m.log.mu.groups[testGroup].state.HardState.Commit = new(uint64(1)) // commit indexes are not synced
	m.holdAppends = true
	c.start(m)
	c.step(m, Read{Ticket: 2})
	if r, ok := m.reads[2]; ok {
		t.Fatalf("read answered %+v before the leader knew what was committed", r)
	}
	c.release(m)
	c.wantApplied(m, "acknowledged")
	if r, ok := m.reads[2]; !ok || r.Err != nil || r.Index < 3 {
		t.Fatalf("read %+v, %v; want one that sees the write", r, ok)
	}
}

func TestNothingIsAnsweredBeforeItIsDurable(t *testing.T) {
	c := newCluster(t, Limits{}, 1)
	m := c.members[1]
	m.holdAppends = true
	c.step(m, Propose{Ticket: 1, Command: []byte("a")})
	if len(m.done) != 0 || len(m.applied) != 0 {
		t.Fatalf("done %v, applied %v before the write", m.done, m.applied)
	}
	c.release(m)
	c.wantDone(m, 1, nil, "did a")
}

func TestBatchesGrowWhileWritesAreUnderWay(t *testing.T) {
	c := newCluster(t, Limits{EntriesInFlightMax: 2, EntryCommandsMax: 50}, 1)
	m := c.members[1]
	m.holdAppends = true
	for i := range 100 {
		c.step(m, Propose{Ticket: Ticket(i), Command: []byte{byte(i)}})
	}
	if got := len(m.heldAppends); got != 2 {
		t.Fatalf("%d writes under way, want 2", got)
	}
	last := m.log.mu.groups[testGroup].state.Last
	c.release(m)
	// Two alone, then 98 in entries of at most 50.
	if got := m.log.mu.groups[testGroup].state.Last - last; got != 4 {
		t.Fatalf("100 proposals took %d entries, want 4", got)
	}
	for i := range 100 {
		if m.applied[i] != string([]byte{byte(i)}) {
			t.Fatalf("command %d is out of order", i)
		}
	}
}

func TestProposalQueueIsBounded(t *testing.T) {
	c := newCluster(t, Limits{EntriesInFlightMax: 1, ProposalsWaitingMax: 3, CommandBytesMax: 10}, 1)
	m := c.members[1]
	m.holdAppends = true
	for i := range 5 {
		c.step(m, Propose{Ticket: Ticket(i), Command: []byte("x")})
	}
	c.wantDone(m, 4, errQueueFull, "")
	if errQueueFull.RetryAfter() == 0 || errQueueFull.Kind() != fault.Exhausted {
		t.Fatalf("%v has no advice when to retry", errQueueFull)
	}
	c.step(m, Propose{Ticket: 5, Command: make([]byte, 11)})
	if err := m.done[5].Err; !errors.Is(err, errCommandTooLarge) {
		t.Fatalf("err=%v, want command_too_large", err)
	}
	c.release(m)
	for i := range 4 {
		c.wantDone(m, Ticket(i), nil, "did x")
	}
}

func TestWaitingProposalIsGivenUpAtItsDeadline(t *testing.T) {
	c := newCluster(t, Limits{EntriesInFlightMax: 1}, 1)
	m := c.members[1]
	m.holdAppends = true
	c.step(m, Propose{Ticket: 1, Command: []byte("a"), Deadline: c.now + TickInterval})
	c.step(m, Propose{Ticket: 2, Command: []byte("b"), Deadline: c.now + TickInterval})
	c.pass(1)
	c.wantDone(m, 2, outbound.ErrNotProposed, "")
	if _, ok := m.done[1]; ok {
		t.Fatal("a command that is in the log was given up")
	}
	c.release(m)
	c.wantApplied(m, "a")
}

func TestThreeReplicateAndFollowersRead(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	l := c.leader()
	c.step(l, Propose{Ticket: 1, Command: []byte("a")})
	c.settle()
	c.wantDone(l, 1, nil, "did a")
	for _, f := range c.others(l) {
		c.step(f, Read{Ticket: 5})
		c.settle()
		if r, ok := f.reads[5]; !ok || r.Err != nil {
			t.Fatalf("read at follower %d: %+v, %v", f.id, r, ok)
		}
		c.wantApplied(f, "a") // the read waited for it
		c.step(f, Propose{Ticket: 6, Command: []byte("no")})
		c.wantDone(f, 6, outbound.ErrNotProposed, "")
	}
}

func TestLostLeaderAnswersAmbiguous(t *testing.T) {
	c := newCluster(t, Limits{EntriesInFlightMax: 1}, 1, 2, 3)
	old := c.leader()
	old.cut = true
	c.step(old, Propose{Ticket: 1, Command: []byte("in the log")})
	c.step(old, Propose{Ticket: 2, Command: []byte("still waiting")}, Read{Ticket: 3})
	fresh := c.leader()
	if fresh == old {
		t.Fatal("a cut leader still leads")
	}
	c.pass(electionTicks) // the old leader notices that it hears of nobody
	c.wantDone(old, 1, outbound.ErrAmbiguous, "")
	c.wantDone(old, 2, outbound.ErrNotProposed, "")
	if r, ok := old.reads[3]; ok && r.Err == nil {
		t.Fatal("a cut leader confirmed a read")
	}
	c.step(fresh, Propose{Ticket: 4, Command: []byte("after")})
	c.settle()
	old.cut = false
	c.pass(5)
	for _, m := range c.members {
		c.wantApplied(m, "after")
	}
	c.pass(30)
	if r, ok := old.reads[3]; !ok || (r.Err == nil && r.Index < fresh.state.Index) {
		t.Fatalf("read %+v, %v; want an answer that sees what came after", r, ok)
	}
}

func TestReadWithoutLeaderIsRefused(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	l := c.leader()
	for _, m := range c.others(l) {
		m.down = true
	}
	c.pass(2 * electionTicks)
	c.step(l, Read{Ticket: 1}, Read{Ticket: 2, Deadline: c.now + TickInterval})
	c.pass(1)
	if r := l.reads[2]; fault.KindOf(r.Err) != fault.Unavailable {
		t.Fatalf("read past its deadline: %+v", r)
	}
	c.pass(int(DefaultLimits().LeaderWaitMax/TickInterval) + 1)
	if r, ok := l.reads[1]; !ok || !errors.Is(r.Err, errNoReadLeader) {
		t.Fatalf("read without a leader: %+v, %v", r, ok)
	}
}

func TestReadIsAskedAgainUnderAFreshContext(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	l := c.leader()
	f := c.others(l)[0]
	contexts := map[string]int{}
	c.drop = func(m *raftpb.Message) bool {
		if m.GetType() == raftpb.MsgReadIndex {
			contexts[string(m.GetEntries()[0].GetData())]++
			return len(contexts) < 3
		}
		return false
	}
	c.step(f, Read{Ticket: 1})
	c.pass(3 * readRetryTicks)
	if r, ok := f.reads[1]; !ok || r.Err != nil {
		t.Fatalf("read %+v, %v", r, ok)
	}
	if len(contexts) != 3 {
		t.Fatalf("%d contexts used, want 3 fresh ones: %v", len(contexts), contexts)
	}
}

func TestLaggardGetsSnapshot(t *testing.T) {
	c := newCluster(t, Limits{TrailingEntriesMax: 2, CacheBytesMax: 600}, 1, 2, 3)
	l := c.leader()
	lag := c.others(l)[0]
	lag.cut = true
	var want []string
	for i := range 20 {
		c.step(l, Propose{Ticket: Ticket(i), Command: fmt.Append(nil, i)})
		c.settle()
		want = append(want, strconv.Itoa(i))
	}
	c.pass(electionTicks + 1) // the leader learns that the laggard is silent
	c.flush(l)
	c.step(l, Propose{Ticket: 100, Command: []byte("last")})
	want = append(want, "last")
	c.settle()
	lag.cut = false
	for range 50 {
		c.pass(1)
		if lag.state.Index == l.state.Index {
			break
		}
	}
	c.wantApplied(lag, want...)
	if lag.installed != 1 {
		t.Fatalf("%d snapshots installed, want 1", lag.installed)
	}
	c.step(l, Propose{Ticket: 101, Command: []byte("on")})
	c.pass(2)
	c.wantApplied(lag, append(want, "on")...)
	c.start(lag) // and it restarts from what it installed
	c.pass(electionTicks * 2)
	c.wantApplied(lag, append(want, "on")...)
}

func TestMembersChangeOneByOne(t *testing.T) {
	c := newCluster(t, Limits{}, 1)
	l := c.members[1]
	c.step(l, Propose{Ticket: 1, Command: []byte("before")})
	c.flush(l)
	for id := uint64(2); id <= 3; id++ {
		c.add(Join(testGroup, id), id)
		c.change(l, Ticket(10*id), raftpb.ConfChangeAddLearnerNode, id)
		c.pass(5)
		c.wantApplied(c.members[id], "before")
		c.change(l, Ticket(10*id+1), raftpb.ConfChangeAddNode, id)
		c.flush(l)
	}
	if l.core.Status().Solo {
		t.Fatal("a leader of three still thinks that it is alone")
	}
	c.step(l, ChangeMembership{Ticket: 90, Changes: []*raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: new(uint64(1))},
		{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(2))},
	}})
	c.pass(5)
	if d, ok := l.done[90]; !ok || (d.Err != nil && !errors.Is(d.Err, outbound.ErrAmbiguous)) {
		t.Fatalf("joint change: %+v, %v", d, ok)
	}
	l.down = true
	c.pass(3 * electionTicks)
	if s := c.members[3].core.Status(); !s.Solo {
		t.Fatalf("member 3 is %+v, want the only voter", s)
	}
	c.step(c.members[3], Propose{Ticket: 1, Command: []byte("after")})
	c.settle()
	c.wantApplied(c.members[3], "before", "after")
	c.wantApplied(c.members[2], "before", "after")
}

func (c *trio) change(l *member, ticket Ticket, kind raftpb.ConfChangeType, id uint64) {
	c.t.Helper()
	c.step(l, ChangeMembership{Ticket: ticket, Changes: []*raftpb.ConfChangeSingle{{Type: kind.Enum(), NodeId: new(id)}}})
	c.pass(3)
	c.wantDone(l, ticket, nil, "")
}

func TestUnfitMembershipChangeIsRefused(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	l := c.leader()
	c.step(l, ChangeMembership{Ticket: 1})
	if err := l.done[1].Err; !errors.Is(err, errChangeInvalid) {
		t.Fatalf("empty change: %v", err)
	}
	l.holdAppends = true
	add := []*raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(9))}}
	c.step(l, ChangeMembership{Ticket: 2, Changes: add}, ChangeMembership{Ticket: 3, Changes: add})
	c.wantDone(l, 3, errChangePending, "")
	c.release(l)
	c.pass(2)
	c.wantDone(l, 2, nil, "")
}

func TestLeadershipIsHandedOver(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	l := c.leader()
	to := c.others(l)[1]
	c.step(l, TransferLeader{To: to.id})
	c.settle()
	if s := to.core.Status(); !s.Leads {
		t.Fatalf("member %d is %+v after the handover", to.id, s)
	}
}

func TestForeignProposalNeverEntersTheLog(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	l := c.leader()
	c.step(l, Receive{&raftpb.Message{
		Type: raftpb.MsgProp.Enum(), From: new(uint64(2)), To: new(l.id), Entries: []*raftpb.Entry{{Data: []byte("x")}},
	}})
	c.step(l, Propose{Ticket: 1, Command: []byte("a")})
	c.settle()
	c.wantApplied(l, "a")
}

func TestWrongOutcomesAreAnError(t *testing.T) {
	c := newCluster(t, Limits{}, 1)
	m := c.members[1]
	var out Effects
	if err := m.core.Step(c.now, []Event{Propose{Ticket: 1, Command: []byte("a")}}, &out); err != nil {
		t.Fatal(err)
	}
	event := c.write(m, out.Appends[0])
	out.Reset()
	if err := m.core.Step(c.now, []Event{event}, &out); err != nil {
		t.Fatal(err)
	}
	err := m.core.Step(c.now, []Event{Applied{Apply: out.Applies[0]}}, &Effects{})
	if !errors.Is(err, errOutcomes) {
		t.Fatalf("err=%v, want outcomes_mismatch", err)
	}
}

func TestVoteIsWrittenBeforeItIsGiven(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	m := c.members[1]
	m.holdAppends = true
	c.step(m, Receive{&raftpb.Message{
		Type: raftpb.MsgVote.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(5)), Index: new(uint64(9)), LogTerm: new(uint64(4)),
	}})
	if len(c.wire) != 0 || len(m.heldAppends) != 1 {
		t.Fatalf("%d messages and %d writes, want only the write", len(c.wire), len(m.heldAppends))
	}
	if h := m.heldAppends[0].Write.HardState; h.GetVote() != 2 || h.GetTerm() != 5 {
		t.Fatalf("written before the vote: %v", h)
	}
	c.release(m)
	if len(c.wire) != 1 {
		t.Fatalf("%d messages after the write, want the vote", len(c.wire))
	}
}

// TestTermIsWrittenBeforeItIsAnswered: a heartbeat's answer needs no write, so the new term waits; the
// next answer that does need one takes it along, though raft itself has nothing more to write then.
func TestTermIsWrittenBeforeItIsAnswered(t *testing.T) {
	c := newCluster(t, Limits{}, 1, 2, 3)
	m := c.members[1]
	m.holdAppends = true
	from := func(kind raftpb.MessageType) *raftpb.Message {
		return &raftpb.Message{Type: kind.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(7))}
	}
	c.step(m, Receive{from(raftpb.MsgHeartbeat)})
	if len(m.heldAppends) != 0 {
		t.Fatalf("a heartbeat caused the write %+v", m.heldAppends[0].Write)
	}
	entries := from(raftpb.MsgApp)
	entries.Index, entries.LogTerm = new(uint64(1)), new(uint64(1))
	c.step(m, Receive{entries})
	if len(m.heldAppends) != 1 || m.heldAppends[0].Write.HardState.GetTerm() != 7 {
		t.Fatalf("writes %+v, want term 7 before the answer", m.heldAppends)
	}
}
