package command

import (
	"encoding/binary"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Verdict is what became of a command. The numbers are part of the formats of outcomes and of the
// state machine's stored state.
type Verdict uint8

// The verdicts. The state machine answers numbers, not texts, so that replicas of different builds
// hold equal state; Fault turns a refusal into words.
const (
	// Applied: done now.
	Applied Verdict = 1
	// Duplicate: done by an earlier proposal of the same command, or under the same identity.
	Duplicate Verdict = 2
	// Registered: the outcome's Session is open.
	Registered Verdict = 3
	// KeyKnown: the outcome's Key is on record for the Begin's key and digest.
	KeyKnown Verdict = 4
	// Absent: the Delete is done, of a metric without series.
	Absent Verdict = 5

	// Malformed refuses bytes that are not a command.
	Malformed Verdict = 16
	// SessionUnknown refuses a command of a session that expired or never was.
	SessionUnknown Verdict = 17
	// SequenceResolved refuses a sequence below the session's window: its gateway has its answer.
	SequenceResolved Verdict = 18
	// SequenceAhead refuses a sequence above the session's window.
	SequenceAhead Verdict = 19
	// SessionsFull refuses a registration while too many sessions are open.
	SessionsFull Verdict = 20
	// SeriesLimit refuses samples whose series would exceed the shard's limit.
	SeriesLimit Verdict = 21
	// KeyReused refuses a key that was begun with another digest.
	KeyReused Verdict = 22
	// KeysFull refuses a key or an identity while too many are remembered.
	KeysFull Verdict = 23
	// KeyExpired refuses a write whose identity may have been applied and forgotten.
	KeyExpired Verdict = 24
)

// fullRetryAfter is the advice where something must expire before there is room.
const fullRetryAfter = time.Minute

var refusals = map[Verdict]*fault.Error{
	Malformed:        fault.New(fault.Internal, "malformed_command", "a replica does not understand the command"),
	SessionUnknown:   fault.New(fault.Unavailable, "session_unknown", "the gateway's session with the shard has expired; try again"),
	SequenceResolved: fault.New(fault.Internal, "sequence_resolved", "the command came after its gateway had given it up"),
	SequenceAhead:    fault.New(fault.Internal, "sequence_ahead", "the command is too far ahead of its session's window"),
	SessionsFull: fault.New(fault.Exhausted, "session_window_full", "the shard has too many open sessions; try again later").
		WithRetryAfter(fullRetryAfter),
	SeriesLimit: fault.Newf(fault.Unprocessable, "series_limit",
		"the write would define more than %d series in a shard; use fewer distinct tag values", metric.SeriesPerShardMax),
	KeyReused: fault.New(fault.Unprocessable, "idempotency_key_reused",
		"the Idempotency-Key was used before with another body; use a new key for each write"),
	KeysFull: fault.New(fault.Exhausted, "idempotency_window_full",
		"too many idempotency keys were used within the last hours; try again later or without a key").
		WithRetryAfter(fullRetryAfter),
	KeyExpired: fault.New(fault.Conflict, "idempotency_key_expired",
		"the Idempotency-Key is too old to tell whether the write was applied; check what is stored before writing it under a new key"),
}

var errVerdict = fault.New(fault.Internal, "unknown_outcome", "a replica answered what this node does not understand")

// Fault returns the error that a verdict stands for, nil for success.
func (v Verdict) Fault() *fault.Error {
	switch v {
	case Applied, Duplicate, Registered, KeyKnown, Absent:
		return nil
	default:
		if err, ok := refusals[v]; ok {
			return err
		}
		return errVerdict
	}
}

// KeyRecord is what a home shard knows of an idempotency key.
type KeyRecord struct {
	Number   uint64           // of its Begin: the identity's number, from 1
	Received metric.Timestamp // of the first attempt
	Finished bool             // every shard has applied its part
	Stored   uint64           // samples, once Finished
}

// Outcome is what the state machine answers to one command.
type Outcome struct {
	Verdict Verdict
	Session uint64    // of Registered
	Key     KeyRecord // of KeyKnown
}

// outcomeVersion is the format of outcomes.
const outcomeVersion = 1

// AppendOutcome appends o's bytes to dst.
//
//	version, verdict                bytes
//	Registered: session             uvarint
//	KeyKnown: number                uvarint
//	          received              varint
//	          stored+1, 0 if open   uvarint
func AppendOutcome(dst []byte, o Outcome) []byte {
	dst = append(dst, outcomeVersion, byte(o.Verdict))
	switch o.Verdict {
	case Registered:
		dst = binary.AppendUvarint(dst, o.Session)
	case KeyKnown:
		dst = binary.AppendUvarint(dst, o.Key.Number)
		dst = binary.AppendVarint(dst, int64(o.Key.Received))
		if o.Key.Finished {
			dst = binary.AppendUvarint(dst, o.Key.Stored+1)
		} else {
			dst = append(dst, 0)
		}
	default:
	}
	return dst
}

// DecodeOutcome reads an outcome.
func DecodeOutcome(data []byte) (Outcome, error) {
	if len(data) < 2 || data[0] != outcomeVersion {
		return Outcome{}, ErrMalformed
	}
	o := Outcome{Verdict: Verdict(data[1])}
	r := reader{rest: data[2:]}
	switch o.Verdict {
	case Registered:
		o.Session = r.uvarint()
		r.bad = r.bad || o.Session == 0
	case KeyKnown:
		o.Key.Number = r.uvarint()
		o.Key.Received = metric.Timestamp(r.varint())
		if stored := r.uvarint(); stored > 0 {
			o.Key.Finished, o.Key.Stored = true, stored-1
		}
		r.bad = r.bad || o.Key.Number == 0 || !validTimestamp(int64(o.Key.Received), 1)
	default:
	}
	if r.bad || len(r.rest) != 0 {
		return Outcome{}, ErrMalformed
	}
	return o, nil
}
