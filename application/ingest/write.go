package ingest

import (
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Write is one request on its way through a Gateway. Without a key its stages are prepare and store;
// with one they are begin (record the key at its home shard), prepare, store, finish. A deletion goes
// the way of a write without key, to every shard that its metric may be in.
type Write struct {
	// Owner is the driver's own; the gateway does not touch it.
	Owner any

	request  inbound.RecordRequest
	deletion *outbound.Deletion // instead of a request with observations
	received metric.Timestamp
	identity command.Identity
	key      command.KeyID

	stage    stage
	control  Task // the begin, then the finish
	stores   []Task
	open     int // of stores
	splitter splitter

	escaped bool // a proposal ended in doubt: its memory may still be read
	done    bool
	cause   error // why it was ended early
	reply   inbound.RecordReply
	existed bool // of a deletion: some shard had series of the metric
	err     error
}

type stage uint8

const (
	beginning stage = iota
	preparing
	storing
	finishing
)

// NewWrite returns a write of req, received now. It reads req until it is done.
func NewWrite(req inbound.RecordRequest, received metric.Timestamp) *Write {
	w := &Write{}
	w.reset(req, received)
	return w
}

// NewDeletion returns a write that forgets samples.
func NewDeletion(d outbound.Deletion) *Write {
	w := &Write{}
	w.reset(inbound.RecordRequest{}, 0)
	w.deletion = &d
	return w
}

func (w *Write) reset(req inbound.RecordRequest, received metric.Timestamp) {
	stores := w.stores
	*w = Write{
		Owner: w.Owner, request: req, received: received,
		control: Task{frame: w.control.frame}, stores: stores[:0], splitter: w.splitter,
	}
	if req.Idempotency != nil {
		w.key = command.KeyOf(req.Idempotency.Key)
	}
}

// Result returns what Record answers, once the write is done.
func (w *Write) Result() (inbound.RecordReply, error) { return w.reply, w.err }

// Existed reports, once a deletion is done without error, whether there was anything of its metric.
func (w *Write) Existed() bool { return w.existed }

// submit starts the first stage.
func (s *stepper) submit(w *Write) {
	if w.request.Idempotency == nil {
		s.prepare(w)
		return
	}
	w.control.reset(w, s.shards.OfKey(w.key.Hash()), 0)
	w.control.frame.EncodeBegin(command.BeginBody{
		Key: w.key, Digest: w.request.Idempotency.Digest, Received: w.received,
	})
	s.start(&w.control)
}

func (s *stepper) prepare(w *Write) {
	w.stage = preparing
	s.effects = append(s.effects, Effect{Kind: Prepare, Write: w})
}

func (s *stepper) prepared(w *Write) {
	if w.done || w.stage != preparing {
		return
	}
	if w.err != nil {
		s.complete(w)
		return
	}
	w.stage, w.open = storing, len(w.stores)
	for i := range w.stores {
		s.start(&w.stores[i])
	}
}

// taskOver moves a write on when one of its tasks is over.
func (s *stepper) taskOver(t *Task) {
	w := t.write
	if w.done {
		return
	}
	switch w.stage {
	case beginning:
		s.begun(w)
	case storing:
		w.open--
		if w.open == 0 {
			s.stored(w)
		}
	case finishing:
		// Every sample is stored; a retry would find that out again even were the finish not recorded.
		w.succeed(len(w.request.Observations))
		s.complete(w)
	case preparing:
	}
}

func (s *stepper) begun(w *Write) {
	if w.control.result != succeeded {
		w.err = w.beginFailure()
		s.complete(w)
		return
	}
	record := w.control.outcome.Key
	w.received = record.Received
	if record.Finished {
		w.succeed(int(record.Stored))
		s.complete(w)
		return
	}
	w.identity = command.Identity{Home: w.control.shard, Number: record.Number}
	s.prepare(w)
}

func (s *stepper) stored(w *Write) {
	for i := range w.stores {
		if w.stores[i].result != succeeded {
			w.err = w.storeFailure()
			s.complete(w)
			return
		}
		w.existed = w.existed || w.stores[i].outcome.Verdict != command.Absent
	}
	if w.request.Idempotency == nil {
		w.succeed(len(w.request.Observations))
		s.complete(w)
		return
	}
	w.stage = finishing
	w.control.reset(w, w.control.shard, 0)
	w.control.frame.EncodeFinish(command.FinishBody{
		Key: w.key, Number: w.identity.Number, Stored: uint64(len(w.request.Observations)),
	})
	s.start(&w.control)
}

func (w *Write) succeed(stored int) {
	w.reply = inbound.RecordReply{Received: w.received, Stored: stored}
}

func (s *stepper) complete(w *Write) {
	w.done = true
	s.effects = append(s.effects, Effect{Kind: Done, Write: w})
}

// end gives up what of a write is not over: what may be in a log is unknown, the rest not stored.
func (s *stepper) end(w *Write, cause error) {
	if w.done {
		return
	}
	w.cause = cause
	switch w.stage {
	case preparing:
		w.err = w.endedBefore()
		s.complete(w)
	case beginning, finishing:
		s.abandon(&w.control)
	case storing:
		for i := range w.stores {
			s.abandon(&w.stores[i])
		}
	}
}

func (s *stepper) abandon(t *Task) {
	if t.failure == nil {
		t.failure = s.lane(t).failure // what it waited for
	}
	switch {
	case t.state == over:
	case t.state == proposing || t.inDoubt:
		t.write.escaped = true
		s.finish(t, unknown)
	default:
		s.finish(t, refused)
	}
}
