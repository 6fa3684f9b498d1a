package ingest

import (
	"errors"
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Task is one command of a write, on its way into its shard's log.
type Task struct {
	write   *Write
	shard   shard.ID
	samples int // that the command stores
	frame   command.Frame

	state    taskState
	session  uint64 // that the command stands in, 0 while it stands in none
	sequence uint64
	command  []byte // sealed, while in a session
	attempts int    // that failed

	// inDoubt is set once a proposal of the command ended without a definite answer.
	inDoubt bool
	result  taskResult
	outcome command.Outcome
	failure error // the latest
}

// Shard returns the shard in whose log the task's command belongs.
func (t *Task) Shard() shard.ID { return t.shard }

type taskState uint8

const (
	idle        taskState = iota
	parked                // in its lane's queue
	registering           // proposes the registration of a session
	proposing             // proposes its command
	waiting               // for a timer
	over
)

type taskResult uint8

const (
	pending taskResult = iota
	succeeded
	refused // certainly not applied, now or later
	unknown
)

// reset makes t a new task, which keeps its frame's memory.
func (t *Task) reset(w *Write, id shard.ID, samples int) {
	*t = Task{write: w, shard: id, samples: samples, frame: t.frame}
}

// The pause before a command is proposed again doubles from first to most, less up to a half by chance.
const (
	backoffFirst = 2 * time.Millisecond
	backoffMost  = 250 * time.Millisecond
)

func backoff(attempts int, random uint64) time.Duration {
	pause := backoffMost
	if shift := attempts - 1; shift < 8 {
		pause = min(backoffMost, backoffFirst<<max(shift, 0))
	}
	return pause - time.Duration(random%uint64(pause/2))
}

// proposalFate is what the end of a proposal without outcome means.
type proposalFate uint8

const (
	fateInDoubt proposalFate = iota // may be in the log
	fateRetry                       // is not in the log; may be later
	fateRefused                     // is not in the log and never will be
)

func fateOf(err error) proposalFate {
	if errors.Is(err, outbound.ErrAmbiguous) {
		return fateInDoubt
	}
	if errors.Is(err, outbound.ErrNotProposed) {
		return fateRetry
	}
	switch fault.KindOf(err) {
	case fault.Exhausted:
		return fateRetry
	case fault.Invalid, fault.TooLarge, fault.DiskFull, fault.Unprocessable:
		return fateRefused
	default:
		return fateInDoubt
	}
}
