package multiraft

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

const (
	// readAttemptsMax bounds the confirmations under way; reads that come meanwhile share the next.
	readAttemptsMax = 4
	// readRetryTicks is how long a confirmation may take before it is asked for anew.
	readRetryTicks = 5
)

var (
	errNoReadLeader = fault.New(fault.Unavailable, "no_leader",
		"the shard has no leader that confirms reads now; try again")
	errReadsFull = fault.New(fault.Exhausted, "read_queue_full",
		"too many reads wait for this shard; try again later").WithRetryAfter(time.Second)
)

// reads are the reads on their way: waiting to be asked for, asked for (Raft thesis section 6.4), and
// confirmed at an index that is not applied yet.
type reads struct {
	nonce    uint64
	attempts uint64 // asked so far: no context is ever used twice
	count    int    // reads in all three stages
	waiting  []waitingRead
	asked    []readAttempt
	indexed  []readAttempt
}

type waitingRead struct {
	ticket   Ticket
	deadline time.Duration
}

type readAttempt struct {
	id    uint64
	age   int    // ticks since it was asked
	index uint64 // once confirmed
	reads []waitingRead
}

func (r *Replica) read(e Read, out *Effects) {
	q := &r.reads
	if q.count >= r.limits.ReadsWaitingMax {
		out.Reads = append(out.Reads, ReadReady{Ticket: e.Ticket, Err: errReadsFull})
		return
	}
	q.count++
	q.waiting = append(q.waiting, waitingRead{ticket: e.Ticket, deadline: e.Deadline})
}

// requestReads asks once for all reads that wait, under a context that was never used: the late answer
// to an older question must not confirm a newer read.
func (r *Replica) requestReads() {
	q := &r.reads
	if len(q.waiting) == 0 || len(q.asked) >= readAttemptsMax || r.leader == raft.None {
		return
	}
	if r.role == raft.StateLeader && !r.settled {
		return // it may not know yet all that was committed before its term
	}
	q.attempts++
	q.asked = append(q.asked, readAttempt{id: q.attempts, reads: q.waiting})
	q.waiting = nil
	context := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), q.nonce)
	r.node.ReadIndex(binary.LittleEndian.AppendUint64(context, q.attempts))
}

// readConfirmed notes the index that a confirmation gave.
func (r *Replica) readConfirmed(s raft.ReadState, out *Effects) {
	q := &r.reads
	if len(s.RequestCtx) != 16 || binary.LittleEndian.Uint64(s.RequestCtx) != q.nonce {
		return
	}
	id := binary.LittleEndian.Uint64(s.RequestCtx[8:])
	for i, a := range q.asked {
		if a.id != id {
			continue
		}
		q.asked = append(q.asked[:i], q.asked[i+1:]...)
		a.index = s.Index
		if a.index <= r.applied {
			r.answerRead(a, out)
		} else {
			q.indexed = append(q.indexed, a)
		}
		return
	}
}

// answerReads answers the reads whose index is applied now.
func (r *Replica) answerReads(out *Effects) {
	q := &r.reads
	kept := q.indexed[:0]
	for _, a := range q.indexed {
		if a.index <= r.applied {
			r.answerRead(a, out)
		} else {
			kept = append(kept, a)
		}
	}
	clear(q.indexed[len(kept):])
	q.indexed = kept
}

func (r *Replica) answerRead(a readAttempt, out *Effects) {
	r.reads.count -= len(a.reads)
	for _, w := range a.reads {
		out.Reads = append(out.Reads, ReadReady{Ticket: w.ticket, Index: a.index})
	}
}

// repeatReads asks anew for what was asked of an earlier leader.
func (r *Replica) repeatReads() {
	q := &r.reads
	for _, a := range q.asked {
		q.waiting = append(q.waiting, a.reads...)
	}
	clear(q.asked)
	q.asked = q.asked[:0]
}

// reviewReads refuses reads that are late or wait for a leader in vain, and asks anew for those whose
// answer seems lost.
func (r *Replica) reviewReads(ticks int, out *Effects) {
	q := &r.reads
	if q.count == 0 {
		return
	}
	asked := q.asked[:0]
	for _, a := range q.asked {
		a.age += ticks
		if a.age >= readRetryTicks {
			q.waiting = append(q.waiting, a.reads...)
			continue
		}
		asked = append(asked, a)
	}
	clear(q.asked[len(asked):])
	q.asked = asked
	leaderless := r.leader == raft.None && r.now-r.leaderAge >= r.limits.LeaderWaitMax
	q.waiting = r.refuseLate(q.waiting, leaderless, out)
	for i := range q.asked {
		q.asked[i].reads = r.refuseLate(q.asked[i].reads, false, out)
	}
	for i := range q.indexed {
		q.indexed[i].reads = r.refuseLate(q.indexed[i].reads, false, out)
	}
}

// refuseLate answers the reads past their deadline, or all, and returns the others.
func (r *Replica) refuseLate(list []waitingRead, all bool, out *Effects) []waitingRead {
	kept := list[:0]
	for _, w := range list {
		if !all && (w.deadline == 0 || w.deadline > r.now) {
			kept = append(kept, w)
			continue
		}
		r.reads.count--
		out.Reads = append(out.Reads, ReadReady{Ticket: w.ticket, Err: errNoReadLeader})
	}
	return kept
}
