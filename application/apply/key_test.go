package apply_test

import (
	"testing"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
)

func TestKeyIsRecordedOnce(t *testing.T) {
	r := newRig(t, apply.Limits{})
	s := r.register()
	first := begin(at(s, 1, 1), "k", 1)
	want := r.verdict(first, command.KeyKnown).Key
	if want.Number != 1 || want.Received != 1000 || want.Finished {
		t.Fatalf("record %+v", want)
	}
	for _, data := range [][]byte{first, begin(at(s, 2, 1), "k", 1)} {
		if got := r.verdict(data, command.KeyKnown).Key; got != want {
			t.Fatalf("record %+v, want %+v", got, want)
		}
	}
	r.verdict(begin(at(s, 3, 1), "k", 2), command.KeyReused)
	r.verdict(begin(at(s, 3, 1), "k", 2), command.KeyReused)
	if got := r.verdict(begin(at(s, 4, 1), "other", 2), command.KeyKnown).Key; got.Number != 2 {
		t.Fatalf("number %d, want 2", got.Number)
	}
	r.verdict(finish(at(s, 5, 1), "k", 1, 12), command.Applied)
	r.verdict(finish(at(s, 5, 1), "k", 1, 12), command.Duplicate)
	r.verdict(finish(at(s, 6, 1), "k", 1, 99), command.Applied) // the first one stands
	want.Finished, want.Stored = true, 12
	if got := r.verdict(begin(at(s, 7, 1), "k", 1), command.KeyKnown).Key; got != want {
		t.Fatalf("record %+v, want %+v", got, want)
	}
}

func TestKeyLivesAnHourFromItsFinish(t *testing.T) {
	r := newRig(t, apply.Limits{SessionIdleMax: 10 * apply.SessionIdleMaxDefault})
	s := r.register()
	open, done := begin(at(s, 1, 1), "open", 1), begin(at(s, 2, 1), "done", 1)
	r.verdict(open, command.KeyKnown)
	r.verdict(done, command.KeyKnown)
	r.now = apply.KeyAgeMaxDefault - 1
	r.verdict(begin(at(s, 3, 1), "open", 1), command.KeyKnown) // does not make it live longer
	r.verdict(finish(at(s, 4, 1), "done", 2, 5), command.Applied)
	r.now++
	r.verdict(open, command.KeyExpired) // a late repetition records nothing
	if got := r.verdict(begin(at(s, 5, 1), "open", 9), command.KeyKnown).Key; got.Number != 3 {
		t.Fatalf("number %d, want a new one", got.Number)
	}
	r.now += apply.KeyAgeMaxDefault - 2
	if got := r.verdict(begin(at(s, 6, 1), "done", 1), command.KeyKnown).Key; !got.Finished {
		t.Fatalf("record %+v, want finished", got)
	}
	r.now++
	r.verdict(finish(at(s, 7, 1), "done", 2, 5), command.Applied) // too late to matter
	if got := r.verdict(begin(at(s, 8, 1), "done", 1), command.KeyKnown).Key; got.Finished || got.Number != 4 {
		t.Fatalf("record %+v, want a new one", got)
	}
}

func TestKeysAreCapped(t *testing.T) {
	r := newRig(t, apply.Limits{KeysMax: 1})
	s := r.register()
	r.verdict(begin(at(s, 1, 1), "a", 1), command.KeyKnown)
	full := begin(at(s, 2, 1), "b", 1)
	r.verdict(full, command.KeysFull)
	r.verdict(begin(at(s, 3, 1), "a", 1), command.KeyKnown)
	r.now = apply.KeyAgeMaxDefault - 1
	r.verdict(full, command.KeysFull)
	r.now++
	r.verdict(full, command.KeysFull) // what was told once stands
	r.verdict(begin(at(s, 4, 1), "b", 1), command.KeyKnown)
}

func TestIdentityAppliesOnce(t *testing.T) {
	r := newRig(t, apply.Limits{SessionIdleMax: 10 * apply.SessionIdleMaxDefault})
	s := r.register()
	five, six := command.Identity{Home: 3, Number: 5}, command.Identity{Home: 3, Number: 6}
	r.verdict(write(at(s, 1, 1), six, 6, "a"), command.Applied)
	r.verdict(write(at(s, 2, 1), six, 6, "a"), command.Duplicate)
	r.verdict(write(at(s, 2, 1), six, 6, "a"), command.Duplicate)
	r.verdict(write(at(s, 3, 1), command.Identity{Home: 4, Number: 6}, 46, "a"), command.Applied)
	r.now = apply.IdentityAgeMaxDefault - 1
	r.verdict(write(at(s, 4, 1), five, 5, "a"), command.Applied)
	r.verdict(write(at(s, 5, 1), six, 6, "a"), command.Duplicate)
	r.now++
	r.verdict(write(at(s, 6, 1), six, 6, "a"), command.KeyExpired)
	r.verdict(write(at(s, 7, 1), command.Identity{Home: 3, Number: 4}, 4, "a"), command.KeyExpired)
	r.verdict(write(at(s, 8, 1), five, 5, "a"), command.Duplicate) // below the mark, but remembered
	r.verdict(write(at(s, 9, 1), command.Identity{Home: 3, Number: 7}, 7, "a"), command.Applied)
	r.verdict(write(at(s, 10, 1), command.Identity{Home: 5, Number: 1}, 51, "a"), command.Applied)
	r.wantSamples("a 7 6", "a 7 46", "a 7 5", "a 7 7", "a 7 51")
}

func TestIdentitiesAreCapped(t *testing.T) {
	r := newRig(t, apply.Limits{IdentitiesMax: 1})
	s := r.register()
	r.verdict(write(at(s, 1, 1), command.Identity{Number: 1}, 1, "a"), command.Applied)
	r.verdict(write(at(s, 2, 1), command.Identity{Number: 2}, 2, "a"), command.KeysFull)
	r.verdict(write(at(s, 3, 1), none, 3, "a"), command.Applied)
	r.wantSamples("a 7 1", "a 7 3")
}

func TestRefusedIdentityMayApplyLater(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.seriesMax = 1
	s := r.register()
	r.verdict(write(at(s, 1, 1), command.Identity{Number: 1}, 1, "a", "b"), command.SeriesLimit)
	r.seriesMax = 2
	r.verdict(write(at(s, 2, 2), command.Identity{Number: 1}, 1, "a", "b"), command.Applied)
	r.wantSamples("a 7 1", "b 7 1")
}
