package apply_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// rig is one state machine over storage that remembers every sample in order, and the newest cut.
type rig struct {
	t       fatalfer
	machine *apply.StateMachine
	limits  apply.Limits
	now     time.Duration

	seriesMax int // of storage, 0: no limit
	broken    error
	wants     bool

	samples []string // appended, in order
	cut     outbound.AppliedState
	cutAt   int // samples in the cut
	cuts    int
}

type fatalfer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newRig(t fatalfer, limits apply.Limits) *rig {
	r := &rig{t: t, limits: limits}
	r.open()
	return r
}

// open takes the shard up at the newest cut, as a restart does: what was appended since is gone.
func (r *rig) open() {
	r.t.Helper()
	r.machine = apply.New(apply.Options{Appender: r, Cutter: r, Limits: r.limits})
	if err := r.machine.Restore(0, r.cut); err != nil {
		r.t.Fatalf("restore: %v", err)
	}
	r.samples = r.samples[:r.cutAt:r.cutAt]
}

func (r *rig) Append(_ context.Context, _ shard.ID, c outbound.Columns) error {
	if r.broken != nil {
		return r.broken
	}
	if r.seriesMax > 0 && len(c.Keys) > r.seriesMax {
		return fmt.Errorf("append: %w", fault.New(fault.Unprocessable, "series_limit", "too many"))
	}
	for i, s := range c.Series {
		r.samples = append(r.samples, fmt.Sprint(c.Keys[s], " ", c.Timestamps[i], " ", c.Values[i]))
	}
	return nil
}

func (r *rig) WantsCut(shard.ID) bool { return r.wants }

func (r *rig) Cut(_ shard.ID, state outbound.AppliedState) {
	state.Machine, state.Membership = bytes.Clone(state.Machine), bytes.Clone(state.Membership)
	r.cut, r.cutAt, r.cuts, r.wants = state, len(r.samples), r.cuts+1, false
}

// apply applies commands as one entry at the rig's log time and returns their outcomes.
func (r *rig) apply(commands ...[]byte) []command.Outcome {
	r.t.Helper()
	return r.entry(inbound.Entry{
		Index: r.machine.Applied(0) + 1, Term: 1, LogTime: r.now, Commands: commands,
	})
}

func (r *rig) entry(e inbound.Entry) []command.Outcome {
	r.t.Helper()
	raw, err := r.machine.Apply(context.Background(), 0, []inbound.Entry{e})
	if err != nil || len(raw) != len(e.Commands) {
		r.t.Fatalf("Apply=%d outcomes, %v, want %d", len(raw), err, len(e.Commands))
	}
	outcomes := make([]command.Outcome, len(raw))
	for i := range raw {
		if outcomes[i], err = command.DecodeOutcome(raw[i]); err != nil {
			r.t.Fatalf("outcome %d: %v", i, err)
		}
	}
	return outcomes
}

func (r *rig) verdict(data []byte, want command.Verdict) command.Outcome {
	r.t.Helper()
	got := r.apply(data)[0]
	if got.Verdict != want {
		r.t.Fatalf("verdict %d, want %d", got.Verdict, want)
	}
	return got
}

func (r *rig) register() uint64 {
	r.t.Helper()
	return r.verdict(command.EncodeRegister(), command.Registered).Session
}

func (r *rig) wantSamples(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.samples, want) {
		r.t.Fatalf("samples %q, want %q", r.samples, want)
	}
}

func (r *rig) state() outbound.AppliedState {
	r.t.Helper()
	s, err := r.machine.State(0)
	if err != nil {
		r.t.Fatalf("state: %v", err)
	}
	return s
}

// at is a place in a session.
func at(session, sequence, lowest uint64) command.Header {
	return command.Header{Session: session, Sequence: sequence, Lowest: lowest}
}

// write is a command that stores one sample of each key, of value v.
func write(h command.Header, identity command.Identity, v float64, keys ...string) []byte {
	c := outbound.Columns{Keys: keys}
	for i := range keys {
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, 7)
		c.Values = append(c.Values, v)
	}
	var f command.Frame
	f.EncodeWrite(identity, c)
	return f.Seal(h)
}

func begin(h command.Header, key string, digest byte) []byte {
	var f command.Frame
	f.EncodeBegin(command.BeginBody{Key: command.KeyOf(key), Digest: [32]byte{digest}, Received: 1000})
	return f.Seal(h)
}

func finish(h command.Header, key string, number, stored uint64) []byte {
	var f command.Frame
	f.EncodeFinish(command.FinishBody{Key: command.KeyOf(key), Number: number, Stored: stored})
	return f.Seal(h)
}

var none command.Identity
