package apply

import (
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// ledger is what a shard's state machine remembers besides samples: a function of its commands and
// their log times alone.
type ledger struct {
	limits      Limits
	now         time.Duration // log time
	sessionLast uint64        // newest session id given
	numberLast  uint64        // newest number given to a Begin

	unused     aging[uint64, struct{}] // sessions before their first command
	sessions   aging[uint64, *window]
	keys       aging[command.KeyID, key] // this shard is their home
	identities aging[command.Identity, struct{}]
	// forgotten is, by home shard, the greatest number of an identity that was applied and has
	// expired: at or below it an identity that is not remembered may have been applied.
	forgotten map[shard.ID]uint64
}

type key struct {
	digest   [32]byte
	number   uint64
	received metric.Timestamp
	finished bool
	stored   uint64
}

func (k key) record() command.KeyRecord {
	return command.KeyRecord{Number: k.number, Received: k.received, Finished: k.finished, Stored: k.stored}
}

func newLedger(limits Limits) *ledger {
	return &ledger{
		limits:     limits,
		unused:     newAging[uint64, struct{}](),
		sessions:   newAging[uint64, *window](),
		keys:       newAging[command.KeyID, key](),
		identities: newAging[command.Identity, struct{}](),
		forgotten:  make(map[shard.ID]uint64),
	}
}

// advance moves log time, which never goes back, and drops what has expired by then.
func (l *ledger) advance(now time.Duration) {
	l.now = max(l.now, now)
	l.unused.expire(l.now-l.limits.SessionUnusedMax, nil)
	l.sessions.expire(l.now-l.limits.SessionIdleMax, nil)
	l.keys.expire(l.now-l.limits.KeyAgeMax, nil)
	l.identities.expire(l.now-l.limits.IdentityAgeMax, func(i command.Identity) {
		l.forgotten[i.Home] = max(l.forgotten[i.Home], i.Number)
	})
}

func (l *ledger) register() command.Outcome {
	if l.unused.len()+l.sessions.len() >= l.limits.SessionsMax {
		return command.Outcome{Verdict: command.SessionsFull}
	}
	l.sessionLast++
	l.unused.add(l.sessionLast, struct{}{}, l.now)
	return command.Outcome{Verdict: command.Registered, Session: l.sessionLast}
}

// session returns the window of an open session and keeps it open, nil when there is none.
func (l *ledger) session(id uint64) *window {
	if e := l.sessions.get(id); e != nil {
		l.sessions.touch(e, l.now)
		return e.value
	}
	e := l.unused.get(id)
	if e == nil {
		return nil
	}
	l.unused.remove(e)
	return l.sessions.add(id, newWindow(), l.now).value
}

// begin records a key unless it is known. A repeated Begin only looks.
func (l *ledger) begin(b command.BeginBody, repeated bool) command.Outcome {
	e := l.keys.get(b.Key)
	switch {
	case e != nil && e.value.digest != b.Digest:
		return command.Outcome{Verdict: command.KeyReused}
	case e != nil:
		return command.Outcome{Verdict: command.KeyKnown, Key: e.value.record()}
	case repeated:
		return command.Outcome{Verdict: command.KeyExpired}
	case l.keys.len() >= l.limits.KeysMax:
		return command.Outcome{Verdict: command.KeysFull}
	}
	l.numberLast++
	e = l.keys.add(b.Key, key{digest: b.Digest, number: l.numberLast, received: b.Received}, l.now)
	return command.Outcome{Verdict: command.KeyKnown, Key: e.value.record()}
}

// finish marks a key; one that has expired meanwhile needs no mark.
func (l *ledger) finish(f command.FinishBody) {
	e := l.keys.get(f.Key)
	if e == nil || e.value.number != f.Number || e.value.finished {
		return
	}
	e.value.finished, e.value.stored = true, f.Stored
	l.keys.touch(e, l.now)
}

// check returns the verdict on a write under identity, 0 when it is to be applied.
func (l *ledger) check(i command.Identity) command.Verdict {
	switch {
	case i.IsNone():
		return 0
	case l.identities.get(i) != nil:
		return command.Duplicate
	case i.Number <= l.forgotten[i.Home]:
		return command.KeyExpired
	case l.identities.len() >= l.limits.IdentitiesMax:
		return command.KeysFull
	}
	return 0
}

// applied remembers that the write of identity was applied.
func (l *ledger) applied(i command.Identity) {
	if !i.IsNone() {
		l.identities.add(i, struct{}{}, l.now)
	}
}
