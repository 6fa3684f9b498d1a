package ingest

import (
	"github.com/raftmetrics/raftmetrics/application/command"
)

// lane is the gateway's end of its session with one shard.
type lane struct {
	session   uint64 // 0 while none is open
	registrar *Task  // registers a session for all, nil when nobody does
	failure   error  // of the latest attempt to register, whoever made it; nil once a session is open
	next      uint64 // sequence of the next command
	lowest    uint64 // lowest sequence that is not resolved
	resolved  [command.WindowMax / 64]uint64
	parked    []*Task // wait for a session or for room, first come first served; some may be over
}

// open starts a new session.
func (l *lane) open(session uint64) {
	l.session, l.next, l.lowest, l.registrar, l.failure = session, 1, 1, nil, nil
	clear(l.resolved[:])
}

// close gives up a session that the shard no longer knows, unless another is open already.
func (l *lane) close(session uint64) {
	if l.session == session {
		l.session = 0
	}
}

// full reports that the session's window has no room for another command.
func (l *lane) full() bool { return l.next-l.lowest >= command.WindowMax }

// take assigns the next sequence.
func (l *lane) take() (sequence, lowest uint64) {
	sequence = l.next
	l.next++
	return sequence, l.lowest
}

// resolve notes that nobody waits for the outcome of a sequence any more.
func (l *lane) resolve(session, sequence uint64) {
	if session != l.session {
		return
	}
	l.resolved[sequence%command.WindowMax/64] |= 1 << (sequence % 64)
	for l.lowest < l.next && l.resolved[l.lowest%command.WindowMax/64]&(1<<(l.lowest%64)) != 0 {
		l.resolved[l.lowest%command.WindowMax/64] &^= 1 << (l.lowest % 64)
		l.lowest++
	}
}

// pop returns the first parked task that is not over, nil when there is none.
func (l *lane) pop() *Task {
	for len(l.parked) > 0 {
		t := l.parked[0]
		l.parked[0] = nil
		l.parked = l.parked[1:]
		if t.state == parked {
			return t
		}
	}
	l.parked = nil
	return nil
}
