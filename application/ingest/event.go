package ingest

import "time"

// EventKind says what happened.
type EventKind uint8

// The events. Each names a Write or one of its tasks.
const (
	// Submitted: the write is new.
	Submitted EventKind = iota + 1
	// Prepared: the driver has called the write's Prepare.
	Prepared
	// Proposed: the proposal that a Propose effect asked for has ended, with Outcome or Err.
	Proposed
	// TimerFired: the time that a Wait effect asked for has passed.
	TimerFired
	// Ended: the write's deadline has passed or its caller has gone; Err says which, as a context does.
	Ended
)

// Event is what a driver tells a Gateway.
type Event struct {
	Kind    EventKind
	Write   *Write // of Submitted, Prepared and Ended
	Task    *Task  // of Proposed and TimerFired
	Outcome []byte // of Proposed; read only during Step
	Err     error  // of Proposed and Ended, as outbound.Proposer and context.Context give them
}

// EffectKind says what is to be done.
type EffectKind uint8

// The effects. A task has at most one Propose or Wait open; a write whose tasks all wait for others
// has none, until an event of another write yields one for it.
const (
	// Prepare: call the write's Prepare, then report Prepared.
	Prepare EffectKind = iota + 1
	// Propose: propose Command in the log of the task's shard, then report Proposed.
	Propose
	// Wait: report TimerFired when Wait has passed.
	Wait
	// Done: the write's Result is there and nothing of it is open, save what Ended interrupted.
	Done
)

// Effect is what a Gateway asks of the driver of Write, which may be another than the one whose
// event yielded it.
type Effect struct {
	Kind    EffectKind
	Write   *Write
	Task    *Task         // of Propose and Wait
	Command []byte        // of Propose; stays as it is while the proposal may be under way
	Wait    time.Duration // of Wait
}
