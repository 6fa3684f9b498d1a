package ingest

import (
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Gateway decides what a node does to get writes into the shards' logs, each exactly once: it keeps
// a session with each shard, retries what failed under the session's protection, and takes keyed
// writes through their stages. It is a step function: no clock, no goroutine, no lock, no I/O. A
// driver feeds it events, one at a time, and does what the effects say.
type Gateway struct {
	shards  shard.Map
	entropy outbound.Entropy
	lanes   []lane
}

// NewGateway returns a gateway without sessions; entropy spreads its pauses.
func NewGateway(shards shard.Map, entropy outbound.Entropy) *Gateway {
	return &Gateway{shards: shards, entropy: entropy, lanes: make([]lane, shards.Count())}
}

var registerCommand = command.EncodeRegister()

// Step takes ev and appends to effects what is to be done now. An event about what is over already
// has no effect.
func (g *Gateway) Step(ev Event, effects []Effect) []Effect {
	s := stepper{Gateway: g, effects: effects}
	switch ev.Kind {
	case Submitted:
		s.submit(ev.Write)
	case Prepared:
		s.prepared(ev.Write)
	case Proposed:
		s.proposed(ev.Task, ev.Outcome, ev.Err)
	case TimerFired:
		if ev.Task.state == waiting {
			s.resume(ev.Task)
		}
	case Ended:
		s.end(ev.Write, ev.Err)
	}
	return s.effects
}

// stepper is one Step under way.
type stepper struct {
	*Gateway
	effects []Effect
}

func (s *stepper) lane(t *Task) *lane { return &s.lanes[t.shard] }

func (s *stepper) propose(t *Task, state taskState, data []byte) {
	t.state = state
	s.effects = append(s.effects, Effect{Kind: Propose, Write: t.write, Task: t, Command: data})
}

func (s *stepper) pause(t *Task) {
	t.state = waiting
	t.attempts++
	s.effects = append(s.effects, Effect{
		Kind: Wait, Write: t.write, Task: t, Wait: backoff(t.attempts, s.entropy.Uint64()),
	})
}

// start brings a task that stands in no session on its way.
func (s *stepper) start(t *Task) {
	l := s.lane(t)
	switch {
	case l.session == 0 && l.registrar == nil:
		l.registrar = t
		s.propose(t, registering, registerCommand)
	case l.session == 0 || l.full():
		t.state = parked
		l.parked = append(l.parked, t)
	default:
		s.attach(t)
	}
}

// attach gives a task its place in the session and proposes it.
func (s *stepper) attach(t *Task) {
	l := s.lane(t)
	sequence, lowest := l.take()
	t.session, t.sequence = l.session, sequence
	t.command = t.frame.Seal(command.Header{Session: l.session, Sequence: sequence, Lowest: lowest})
	s.propose(t, proposing, t.command)
}

// unpark starts what can start after a lane has changed.
func (s *stepper) unpark(l *lane) {
	for (l.session == 0 && l.registrar == nil) || (l.session != 0 && !l.full()) {
		t := l.pop()
		if t == nil {
			return
		}
		s.start(t)
	}
}

// resume goes on after a pause.
func (s *stepper) resume(t *Task) {
	switch {
	case t.session != 0:
		s.propose(t, proposing, t.command)
	case s.lane(t).registrar == t:
		s.propose(t, registering, registerCommand)
	default:
		s.start(t)
	}
}

func (s *stepper) proposed(t *Task, data []byte, err error) {
	if t.state != registering && t.state != proposing {
		return
	}
	var outcome command.Outcome
	if err == nil {
		outcome, err = command.DecodeOutcome(data)
	}
	switch {
	case err != nil:
		s.failed(t, err)
	case t.state == registering:
		s.registered(t, outcome)
	default:
		s.answered(t, outcome)
	}
}

// failed deals with a proposal that ended without outcome.
func (s *stepper) failed(t *Task, err error) {
	fate := fateOf(err)
	t.failure = err
	if t.state == registering {
		s.lane(t).failure = err
	}
	switch {
	case fate == fateRefused && t.inDoubt:
		s.finish(t, unknown)
	case fate == fateRefused:
		s.finish(t, refused)
	default:
		t.inDoubt = t.inDoubt || fate == fateInDoubt && t.state == proposing
		t.write.escaped = t.write.escaped || fate == fateInDoubt
		s.pause(t)
	}
}

func (s *stepper) registered(t *Task, o command.Outcome) {
	l := s.lane(t)
	switch o.Verdict {
	case command.Registered:
		l.open(o.Session)
		s.attach(t)
		s.unpark(l)
	case command.SessionsFull:
		t.failure, l.failure = o.Verdict.Fault(), o.Verdict.Fault()
		s.pause(t)
	default:
		t.failure, l.failure = o.Verdict.Fault(), o.Verdict.Fault()
		s.finish(t, refused)
	}
}

// answered deals with the outcome of a task's command.
func (s *stepper) answered(t *Task, o command.Outcome) {
	if o.Verdict == command.SessionUnknown {
		s.expired(t)
		return
	}
	t.outcome = o
	switch refusal := o.Verdict.Fault(); {
	case refusal == nil:
		s.finish(t, succeeded)
	case o.Verdict == command.SequenceResolved || o.Verdict == command.SequenceAhead:
		// The window forgot a sequence that this gateway has not resolved: it cannot tell any more.
		t.failure = refusal
		s.finish(t, unknown)
	default:
		t.failure = refusal
		s.finish(t, refused)
	}
}

// expired deals with a session that the shard no longer knows. A command that may have been applied
// in it must not move to another, where nothing would tell the repetition.
func (s *stepper) expired(t *Task) {
	l := s.lane(t)
	l.close(t.session)
	t.failure = command.SessionUnknown.Fault()
	if t.inDoubt {
		s.finish(t, unknown)
		return
	}
	t.session, t.sequence, t.command = 0, 0, nil
	if t.attempts > 0 {
		s.pause(t)
		return
	}
	t.attempts++
	s.start(t)
}

// finish ends a task and lets others have its place.
func (s *stepper) finish(t *Task, result taskResult) {
	t.state, t.result = over, result
	l := s.lane(t)
	if t.session != 0 {
		l.resolve(t.session, t.sequence)
	}
	if l.registrar == t {
		l.registrar = nil
	}
	s.unpark(l)
	s.taskOver(t)
}
