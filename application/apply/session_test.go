package apply_test

import (
	"errors"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestSessionsOfOneEntryDiffer(t *testing.T) {
	r := newRig(t, apply.Limits{})
	got := r.apply(command.EncodeRegister(), command.EncodeRegister())
	if got[0].Session == got[1].Session || got[0].Session == 0 {
		t.Fatalf("sessions %+v", got)
	}
}

func TestRepeatedCommandAppliesOnce(t *testing.T) {
	r := newRig(t, apply.Limits{})
	s := r.register()
	first, second := write(at(s, 1, 1), none, 1, "a"), write(at(s, 2, 1), none, 2, "a")
	r.verdict(second, command.Applied)
	r.verdict(first, command.Applied) // out of order is in order: nothing says which was meant first
	r.verdict(second, command.Duplicate)
	got := r.apply(first, first, second)
	for _, o := range got {
		if o.Verdict != command.Duplicate {
			t.Fatalf("verdicts %+v, want duplicates", got)
		}
	}
	r.wantSamples("a 7 2", "a 7 1")
}

func TestWindow(t *testing.T) {
	r := newRig(t, apply.Limits{})
	s := r.register()
	r.verdict(write(at(s, command.WindowMax+1, 1), none, 1, "a"), command.SequenceAhead)
	r.verdict(write(at(s, command.WindowMax, 1), none, 1, "a"), command.Applied)
	r.verdict(write(at(s, command.WindowMax+1, 2), none, 2, "a"), command.Applied) // takes 1's place
	r.verdict(write(at(s, command.WindowMax, 2), none, 1, "a"), command.Duplicate)
	r.verdict(write(at(s, 1, 1), none, 3, "a"), command.SequenceResolved)
	far := uint64(10 * command.WindowMax)
	r.verdict(write(at(s, far, far), none, 4, "a"), command.Applied)
	r.verdict(write(at(s, far+1, far), none, 5, "a"), command.Applied)
	r.verdict(write(at(s, far-1, far-1), none, 6, "a"), command.SequenceResolved)
	r.verdict(write(at(s, far+1, far), none, 5, "a"), command.Duplicate)
	r.wantSamples("a 7 1", "a 7 2", "a 7 4", "a 7 5")
}

func TestUnknownSessionIsRefused(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.verdict(write(at(1, 1, 1), none, 1, "a"), command.SessionUnknown)
	if s := r.register(); s != 1 {
		t.Fatalf("session %d, want 1", s)
	}
	r.verdict(write(at(2, 1, 1), none, 1, "a"), command.SessionUnknown)
	r.wantSamples()
}

func TestIdleSessionExpires(t *testing.T) {
	r := newRig(t, apply.Limits{})
	used, busy, unused := r.register(), r.register(), r.register()
	r.verdict(write(at(used, 1, 1), none, 1, "a"), command.Applied)
	r.verdict(write(at(busy, 1, 1), none, 2, "a"), command.Applied)
	r.now = apply.SessionUnusedMaxDefault
	r.verdict(write(at(unused, 1, 1), none, 3, "a"), command.SessionUnknown)
	r.now = apply.SessionIdleMaxDefault - 1
	r.verdict(write(at(busy, 2, 2), none, 4, "a"), command.Applied)
	r.verdict(write(at(used, 1, 1), none, 1, "a"), command.Duplicate) // and is kept by that
	r.now += apply.SessionIdleMaxDefault - 1
	r.verdict(write(at(busy, 3, 3), none, 5, "a"), command.Applied)
	r.now++
	r.verdict(write(at(used, 2, 2), none, 6, "a"), command.SessionUnknown)
	r.verdict(write(at(busy, 4, 4), none, 7, "a"), command.Applied)
	r.wantSamples("a 7 1", "a 7 2", "a 7 4", "a 7 5", "a 7 7")
}

func TestLogTimeNeverGoesBack(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.now = time.Hour
	s := r.register()
	r.now = time.Minute
	r.verdict(write(at(s, 1, 1), none, 1, "a"), command.Applied)
	if got := r.state().LogTime; got != time.Hour {
		t.Fatalf("log time %v, want %v", got, time.Hour)
	}
}

func TestSessionsAreCapped(t *testing.T) {
	r := newRig(t, apply.Limits{SessionsMax: 2})
	first := r.register()
	r.verdict(write(at(first, 1, 1), none, 1, "a"), command.Applied)
	r.register()
	r.verdict(command.EncodeRegister(), command.SessionsFull)
	r.now = apply.SessionUnusedMaxDefault
	r.register()
	r.verdict(command.EncodeRegister(), command.SessionsFull)
	r.verdict(write(at(first, 1, 1), none, 1, "a"), command.Duplicate) // nobody was driven out
}

func TestMalformedCommands(t *testing.T) {
	r := newRig(t, apply.Limits{})
	s := r.register()
	r.verdict(nil, command.Malformed)
	r.verdict([]byte{9, 9, 9}, command.Malformed)
	for i, whole := range [][]byte{
		write(at(s, 1, 1), none, 1, "a"), begin(at(s, 1, 1), "k", 1), finish(at(s, 1, 1), "k", 1, 1),
	} {
		if got := r.apply(whole[:len(whole)-1])[0].Verdict; got != command.Malformed {
			t.Fatalf("command %d: verdict %d", i, got)
		}
	}
	r.verdict(write(at(s, 1, 1), none, 1, "a"), command.Applied) // the place is still free
	r.wantSamples("a 7 1")
}

func TestSeriesLimitIsAnOutcome(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.seriesMax = 1
	s := r.register()
	both := r.apply(write(at(s, 1, 1), none, 1, "a", "b"), write(at(s, 2, 1), none, 2, "a"))
	if both[0].Verdict != command.SeriesLimit || both[1].Verdict != command.Applied {
		t.Fatalf("verdicts %+v", both)
	}
	r.seriesMax = 0
	r.verdict(write(at(s, 1, 1), none, 1, "a", "b"), command.SeriesLimit) // as it was told first
	r.wantSamples("a 7 2")
}

func TestBrokenStorageStopsTheShard(t *testing.T) {
	r := newRig(t, apply.Limits{})
	s := r.register()
	broken := fault.New(fault.Corrupt, "file_corrupt", "broken")
	r.broken = broken
	entry := inbound.Entry{Index: 2, Commands: [][]byte{write(at(s, 1, 1), none, 1, "a")}}
	if _, err := r.machine.Apply(t.Context(), 0, []inbound.Entry{entry}); !errors.Is(err, broken) {
		t.Fatalf("Apply=%v, want %v", err, broken)
	}
	r.broken = nil
	if _, err := r.machine.Apply(t.Context(), 0, []inbound.Entry{entry}); !errors.Is(err, broken) {
		t.Fatalf("Apply after a failure=%v, want %v", err, broken)
	}
	if r.machine.Cut(0) {
		t.Fatal("a broken shard was cut")
	}
	if _, err := r.machine.State(0); !errors.Is(err, broken) {
		t.Fatalf("State=%v, want %v", err, broken)
	}
}

func TestIndexMustRise(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.register()
	if _, err := r.machine.Apply(t.Context(), 0, []inbound.Entry{{Index: 1}}); err == nil {
		t.Fatal("an applied entry was taken again")
	}
}

func TestUnknownShard(t *testing.T) {
	r := newRig(t, apply.Limits{})
	if _, err := r.machine.Apply(t.Context(), 3, nil); err == nil {
		t.Error("Apply took an unknown shard")
	}
	if _, err := r.machine.State(3); err == nil {
		t.Error("State took an unknown shard")
	}
	if r.machine.Cut(3) || r.machine.Applied(3) != 0 {
		t.Error("an unknown shard has something")
	}
	if got := r.machine.Shards(); len(got) != 1 || got[0] != 0 {
		t.Errorf("shards %v, want 0", got)
	}
}

func TestCuts(t *testing.T) {
	r := newRig(t, apply.Limits{})
	if r.machine.Cut(0) {
		t.Fatal("an empty shard was cut")
	}
	r.entry(inbound.Entry{Index: 4, Term: 2, LogTime: 5, Membership: []byte("voters")})
	if !r.machine.Cut(0) || r.machine.Cut(0) || r.cuts != 1 {
		t.Fatalf("%d cuts, want 1", r.cuts)
	}
	want := outbound.AppliedState{Index: 4, Term: 2, LogTime: 5, Membership: []byte("voters")}
	if r.cut.Index != want.Index || r.cut.Term != want.Term || r.cut.LogTime != want.LogTime ||
		string(r.cut.Membership) != string(want.Membership) {
		t.Fatalf("cut %+v, want %+v", r.cut, want)
	}
	// A cut that storage wants comes behind the very entry that made it want it.
	r.wants = true
	if _, err := r.machine.Apply(t.Context(), 0, []inbound.Entry{{Index: 5}, {Index: 6}, {Index: 9}}); err != nil {
		t.Fatal(err)
	}
	if r.cuts != 2 || r.cut.Index != 5 || string(r.cut.Membership) != "voters" {
		t.Fatalf("%d cuts, the newest at %d, want 2, at 5", r.cuts, r.cut.Index)
	}
	<-r.machine.CutReady()
	if got := r.machine.TakeCut(); len(got) != 1 || got[0] != 0 {
		t.Fatalf("cut shards %v, want 0", got)
	}
	if got := r.machine.TakeCut(); len(got) != 0 {
		t.Fatalf("cut shards %v, want none", got)
	}
	r.open()
	if got := r.machine.Applied(0); got != 5 {
		t.Fatalf("restored at %d, want 5", got)
	}
}
