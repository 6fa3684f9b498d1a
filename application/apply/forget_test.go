package apply_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func deletion(t *testing.T, name string) outbound.Deletion {
	t.Helper()
	n, err := metric.NewName(name)
	if err != nil {
		t.Fatal(err)
	}
	return outbound.Deletion{Metric: n, Range: aggregate.Everything()}
}

func remove(h command.Header, d outbound.Deletion) []byte {
	var f command.Frame
	f.EncodeDelete(d)
	return f.Seal(h)
}

// forgetting returns a rig with a mock that forgets.
func forgetting(t *testing.T) (*rig, *outboundmock.MockSampleRemover) {
	t.Helper()
	r := newRig(t, apply.Limits{})
	remover := outboundmock.NewMockSampleRemover(gomock.NewController(t))
	r.machine = apply.New(apply.Options{Appender: r, Remover: remover, Cutter: r})
	if err := r.machine.Restore(0, outbound.AppliedState{}); err != nil {
		t.Fatal(err)
	}
	return r, remover
}

// TestADeletionAppliesOnce: a deletion that was proposed again must not forget what came after the first.
func TestADeletionAppliesOnce(t *testing.T) {
	r, remover := forgetting(t)
	session := r.register()
	d, none := deletion(t, "m"), deletion(t, "none")
	remover.EXPECT().Delete(gomock.Any(), shard.ID(0), d).Return(true, nil)
	remover.EXPECT().Delete(gomock.Any(), shard.ID(0), none).Return(false, nil)
	r.verdict(remove(at(session, 1, 1), d), command.Applied)
	r.verdict(remove(at(session, 2, 1), none), command.Absent)
	r.verdict(remove(at(session, 1, 1), d), command.Duplicate)
	r.verdict(remove(at(session, 2, 1), none), command.Absent)
	r.verdict(write(at(session, 2, 1), command.Identity{}, 1, "m"), command.Malformed)

	state := r.state()
	restored := apply.New(apply.Options{Appender: r, Remover: remover, Cutter: r})
	if err := restored.Restore(0, state); err != nil {
		t.Fatal(err)
	}
	r.machine = restored
	r.verdict(remove(at(session, 2, 1), none), command.Absent)
}

func TestCutoffsApply(t *testing.T) {
	r, remover := forgetting(t)
	c := metric.Cutoffs{Default: 3600_000_000, Rules: []metric.CutoffRule{{Pattern: "a*", Before: metric.TimestampMin}}}
	remover.EXPECT().Retain(gomock.Any(), shard.ID(0), c).Return(nil).Times(2)
	r.verdict(command.EncodeRetain(c), command.Applied)
	r.verdict(command.EncodeRetain(c), command.Applied)
	cut := command.EncodeRetain(c)
	r.verdict(cut[:len(cut)-1], command.Malformed)
}

// TestWhatCannotForgetBreaks: a replica that cannot do what others did must not go on.
func TestWhatCannotForgetBreaks(t *testing.T) {
	broken := errors.New("broken")
	f := func(what string, prepare func(*outboundmock.MockSampleRemover), data []byte) {
		t.Helper()
		r, remover := forgetting(t)
		r.register()
		if prepare == nil {
			r.machine = apply.New(apply.Options{Appender: r, Cutter: r})
			if err := r.machine.Restore(0, outbound.AppliedState{}); err != nil {
				t.Fatal(err)
			}
			r.register()
		} else {
			prepare(remover)
		}
		entry := inbound.Entry{Index: r.machine.Applied(0) + 1, Commands: [][]byte{data}}
		if _, err := r.machine.Apply(context.Background(), 0, []inbound.Entry{entry}); err == nil {
			t.Errorf("%s: no error", what)
		}
		if _, err := r.machine.State(0); err == nil {
			t.Errorf("%s: the machine goes on", what)
		}
	}
	c := metric.Cutoffs{Default: 0}
	del := remove(at(1, 1, 1), deletion(t, "m"))
	f("a deletion that fails", func(m *outboundmock.MockSampleRemover) {
		m.EXPECT().Delete(gomock.Any(), gomock.Any(), gomock.Any()).Return(false, broken)
	}, del)
	f("cut-offs that fail", func(m *outboundmock.MockSampleRemover) {
		m.EXPECT().Retain(gomock.Any(), gomock.Any(), gomock.Any()).Return(broken)
	}, command.EncodeRetain(c))
	f("a deletion with nothing to do it", nil, del)
	f("cut-offs with nothing to keep them", nil, command.EncodeRetain(c))
}
