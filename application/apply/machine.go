package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// errSeriesLimit is the one refusal that storage gives, see outbound.SampleAppender.
var errSeriesLimit = fault.New(fault.Unprocessable, "series_limit", "")

var errNoRemover = errors.New("nothing is there to forget samples")

// machine is one shard's state machine.
type machine struct {
	id       shard.ID
	appender outbound.SampleAppender
	remover  outbound.SampleRemover
	cutter   outbound.StateCutter
	marks    marks

	mu struct {
		sync.Mutex
		ledger  *ledger
		decoder command.Decoder
		applied outbound.AppliedState // without Machine
		cut     uint64                // index of the newest cut, or of what was restored
		broken  error                 // set once an entry was left half applied
	}
}

func newMachine(id shard.ID, o Options, state outbound.AppliedState) (*machine, error) {
	l, err := decodeLedger(state.Machine, state.LogTime, o.Limits)
	if err != nil {
		return nil, fmt.Errorf("restore shard %v: %w", id, err)
	}
	m := &machine{id: id, appender: o.Appender, remover: o.Remover, cutter: o.Cutter}
	m.marks.init(id, o.Pinner)
	m.mu.ledger, m.mu.applied, m.mu.cut = l, state, state.Index
	m.mu.applied.Machine = nil
	return m, nil
}

// apply applies entries; it reports whether it froze the shard's recent samples.
func (m *machine) apply(ctx context.Context, entries []inbound.Entry) (outcomes [][]byte, cut bool, err error) {
	count := 0
	for i := range entries {
		count += len(entries[i].Commands)
	}
	outcomes = make([][]byte, 0, count)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range entries {
		if m.mu.broken != nil {
			return nil, cut, m.mu.broken
		}
		if outcomes, err = m.entry(ctx, &entries[i], outcomes); err != nil {
			m.mu.broken = fmt.Errorf("apply entry %d of shard %v: %w", entries[i].Index, m.id, err)
			return nil, cut, m.mu.broken
		}
		if m.cutter.WantsCut(m.id) {
			m.freeze()
			cut = true
		}
	}
	return outcomes, cut, nil
}

func (m *machine) entry(ctx context.Context, e *inbound.Entry, outcomes [][]byte) ([][]byte, error) {
	if e.Index <= m.mu.applied.Index {
		return nil, fmt.Errorf("index not above %d", m.mu.applied.Index)
	}
	m.mu.ledger.advance(e.LogTime)
	m.marks.expire(m.mu.ledger.now)
	for _, data := range e.Commands {
		outcome, err := m.command(ctx, e.Index, data)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, encodeOutcome(outcome))
	}
	s := &m.mu.applied
	s.Index, s.Term, s.LogTime = e.Index, e.Term, m.mu.ledger.now
	if e.Membership != nil {
		s.Membership = slices.Clone(e.Membership)
	}
	return outcomes, nil
}

// command applies one command. Only storage can fail; whatever a command holds has a verdict.
func (m *machine) command(ctx context.Context, index uint64, data []byte) (command.Outcome, error) {
	h, body, err := command.DecodeHeader(data)
	if err != nil {
		return command.Outcome{Verdict: command.Malformed}, nil //nolint:nilerr // the outcome tells it
	}
	switch h.Kind {
	case command.Register:
		return m.mu.ledger.register(), nil
	case command.Mark:
		m.marks.set(command.DecodeMark(body), index, m.mu.ledger.now)
		return command.Outcome{Verdict: command.Applied}, nil
	case command.Retain:
		v, err := m.retain(ctx, body)
		return command.Outcome{Verdict: v}, err
	default:
	}
	w := m.mu.ledger.session(h.Session)
	if w == nil {
		return command.Outcome{Verdict: command.SessionUnknown}, nil
	}
	w.advance(h.Lowest)
	prior := w.check(h.Sequence)
	if prior == command.SequenceResolved || prior == command.SequenceAhead {
		return command.Outcome{Verdict: prior}, nil
	}
	outcome, err := m.body(ctx, h, body, prior)
	if err != nil {
		return command.Outcome{}, err
	}
	if prior == 0 && outcome.Verdict != command.Malformed {
		w.record(h.Sequence, recorded(outcome.Verdict))
	}
	return outcome, nil
}

// recorded returns what the window keeps of a verdict: that the command was applied is all that a
// repetition needs to be told.
func recorded(v command.Verdict) command.Verdict {
	if v == command.Duplicate {
		return command.Applied
	}
	return v
}

// body applies a command's body, unless prior, the verdict on an earlier proposal of the same
// command, says that this was done.
func (m *machine) body(ctx context.Context, h command.Header, body []byte, prior command.Verdict) (command.Outcome, error) {
	switch {
	case prior == command.KeyKnown && h.Kind != command.Begin, prior == command.Applied && h.Kind == command.Begin,
		prior == command.Absent && h.Kind != command.Delete:
		return command.Outcome{Verdict: command.Malformed}, nil // another command had this sequence
	case prior == command.Applied:
		return command.Outcome{Verdict: command.Duplicate}, nil
	case prior != 0 && prior != command.KeyKnown:
		return command.Outcome{Verdict: prior}, nil
	}
	switch h.Kind {
	case command.Write:
		v, err := m.write(ctx, h, body)
		return command.Outcome{Verdict: v}, err
	case command.Delete:
		v, err := m.delete(ctx, body)
		return command.Outcome{Verdict: v}, err
	case command.Begin:
		if b, err := command.DecodeBegin(body); err == nil {
			return m.mu.ledger.begin(b, prior != 0), nil
		}
	case command.Finish:
		if f, err := command.DecodeFinish(body); err == nil {
			m.mu.ledger.finish(f)
			return command.Outcome{Verdict: command.Applied}, nil
		}
	case command.Register, command.Mark, command.Retain: // stand outside sessions
	}
	return command.Outcome{Verdict: command.Malformed}, nil
}

func (m *machine) write(ctx context.Context, h command.Header, body []byte) (command.Verdict, error) {
	identity, columns, err := m.mu.decoder.Write(h, body)
	if err != nil {
		return command.Malformed, nil //nolint:nilerr // the verdict tells it
	}
	if v := m.mu.ledger.check(identity); v != 0 {
		return v, nil
	}
	err = m.appender.Append(ctx, m.id, columns)
	switch {
	case errors.Is(err, errSeriesLimit):
		return command.SeriesLimit, nil
	case err != nil:
		return 0, fmt.Errorf("append: %w", err)
	}
	m.mu.ledger.applied(identity)
	return command.Applied, nil
}

func (m *machine) delete(ctx context.Context, body []byte) (command.Verdict, error) {
	d, err := command.DecodeDelete(body)
	if err != nil {
		return command.Malformed, nil //nolint:nilerr // the verdict tells it
	}
	if m.remover == nil {
		return 0, errNoRemover
	}
	existed, err := m.remover.Delete(ctx, m.id, d)
	switch {
	case err != nil:
		return 0, fmt.Errorf("delete: %w", err)
	case !existed:
		return command.Absent, nil
	}
	return command.Applied, nil
}

func (m *machine) retain(ctx context.Context, body []byte) (command.Verdict, error) {
	cutoffs, err := command.DecodeRetain(body)
	if err != nil {
		return command.Malformed, nil //nolint:nilerr // the verdict tells it
	}
	if m.remover == nil {
		return 0, errNoRemover
	}
	if err := m.remover.Retain(ctx, m.id, cutoffs); err != nil {
		return 0, fmt.Errorf("retain: %w", err)
	}
	return command.Applied, nil
}

// freeze cuts with the state at the applied index; the caller holds the lock.
func (m *machine) freeze() {
	m.cutter.Cut(m.id, m.state())
	m.mu.cut = m.mu.applied.Index
}

func (m *machine) state() outbound.AppliedState {
	s := m.mu.applied
	s.Machine = m.mu.ledger.encode()
	return s
}

// common holds the outcomes without content, so that most commands' outcomes cost no memory.
// Nobody changes an outcome's bytes.
var common = func() (table [64][]byte) {
	for v := range table {
		table[v] = command.AppendOutcome(nil, command.Outcome{Verdict: command.Verdict(v)})
	}
	return table
}()

func encodeOutcome(o command.Outcome) []byte {
	if o.Verdict == command.Registered || o.Verdict == command.KeyKnown || int(o.Verdict) >= len(common) {
		return command.AppendOutcome(nil, o)
	}
	return common[o.Verdict]
}
