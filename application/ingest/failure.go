package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// retryAfter is the advice that goes with an unavailable shard: about an election.
const retryAfter = time.Second

// Faults of writes that ran out of time or room.
var (
	// ErrTimeout is what a write gets whose deadline passed.
	ErrTimeout = fault.New(fault.Unavailable, "write_timeout",
		"the write's deadline passed before the shard's replicas answered; try again").WithRetryAfter(retryAfter)
	// ErrTooManyWrites is what a write beyond RecorderOptions.WritesMax gets.
	ErrTooManyWrites = fault.New(fault.Exhausted, "writes_in_flight",
		"as many writes are under way as this node takes at once; try again").WithRetryAfter(retryAfter)
	errNoLeader = fault.New(fault.Unavailable, "no_leader",
		"a shard has had no leader that takes writes; try again").WithRetryAfter(retryAfter)
	errCanceled = fault.New(fault.Canceled, "canceled", "the caller gave the write up")
	errUnknown  = fault.New(fault.Unavailable, "outcome_unknown",
		"the write's outcome was not seen").WithRetryAfter(retryAfter)
)

// endedBefore is the error of a write that was ended before any of it was proposed.
func (w *Write) endedBefore() error {
	if errors.Is(w.cause, context.Canceled) {
		return errCanceled.WithCause(w.cause)
	}
	return ErrTimeout.WithCause(w.cause)
}

// beginFailure is the error of a write whose key was not recorded: it stored nothing.
func (w *Write) beginFailure() error {
	return withShards(w.why(&w.control), []uint32{uint32(w.control.shard)})
}

// withShards names the shards that could not be reached; other reasons are not about shards.
func withShards(why *fault.Error, shards []uint32) *fault.Error {
	if why.Kind() != fault.Unavailable {
		return why
	}
	return why.WithDetail("shards", shards)
}

// storeFailure is the error of a write of which not every shard has confirmed its part.
func (w *Write) storeFailure() error {
	var stored, notStored, unknownSamples int
	var worst *Task
	var shards []uint32
	for i := range w.stores {
		t := &w.stores[i]
		switch t.result {
		case succeeded:
			stored += t.samples
			continue
		case unknown:
			unknownSamples += t.samples
		case refused, pending:
			notStored += t.samples
		}
		shards = append(shards, uint32(t.shard))
		if worst == nil || w.severity(t) > w.severity(worst) {
			worst = t
		}
	}
	slices.Sort(shards)
	why := w.why(worst)
	if w.deletion != nil {
		return w.deletionFailure(why, shards)
	}
	if stored == 0 && unknownSamples == 0 {
		return withShards(why, shards)
	}
	message := fmt.Sprintf("%s; %d of %d samples are stored, %d are not, %d may be: %s", why.Message(),
		stored, len(w.request.Observations), notStored, unknownSamples, w.advice())
	err := fault.Wrap(why, why.Kind(), why.Code(), message).WithRetryAfter(why.RetryAfter()).
		WithDetail("stored", stored).WithDetail("not_stored", notStored).WithDetail("unknown", unknownSamples)
	return withShards(err, shards)
}

// deletionFailure is the error of a deletion that not every shard has confirmed.
func (w *Write) deletionFailure(why *fault.Error, shards []uint32) error {
	message := fmt.Sprintf("%s; of the %d shards that the metric may be in %d have not confirmed the deletion: delete again",
		why.Message(), len(w.stores), len(shards))
	return withShards(fault.Wrap(why, why.Kind(), why.Code(), message).WithRetryAfter(why.RetryAfter()), shards)
}

func (w *Write) advice() string {
	if w.request.Idempotency != nil {
		return "send the same request with the same Idempotency-Key to complete it, nothing is counted twice"
	}
	return "sending it again may count samples twice; an Idempotency-Key makes that safe"
}

// severity orders failures: a client has to know of doubt first, then of what a retry can mend.
func (w *Write) severity(t *Task) int {
	switch {
	case t.result == unknown:
		return 2
	case w.why(t).Kind() == fault.Unavailable:
		return 1
	}
	return 0
}

// why returns the reason that a task failed for.
func (w *Write) why(t *Task) *fault.Error {
	ended := w.cause != nil
	switch {
	case ended && errors.Is(w.cause, context.Canceled):
		return errCanceled.WithCause(t.failure)
	case t.result == unknown && ended:
		return ErrTimeout.WithCause(t.failure)
	case t.result == unknown:
		return errUnknown.WithCause(t.failure)
	case errors.Is(t.failure, outbound.ErrNotProposed):
		return errNoLeader.WithCause(t.failure)
	case t.failure == nil || errors.Is(t.failure, command.SessionUnknown.Fault()) || errors.Is(t.failure, outbound.ErrAmbiguous):
		return ErrTimeout.WithCause(t.failure)
	}
	return fault.From(t.failure)
}
