package apply_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// full returns a rig whose state has something of everything.
func full(t fatalfer) *rig {
	r := newRig(t, apply.Limits{})
	r.now = time.Second
	r.verdict(command.EncodeRegister(), command.Registered)
	r.register()
	r.verdict(write(at(1, 1, 1), command.Identity{Home: 7, Number: 300}, 1, "a"), command.Applied)
	r.verdict(write(at(2, 1, 1), command.Identity{Home: 2, Number: 9}, 1, "a"), command.Applied)
	r.now += apply.IdentityAgeMaxDefault // forgets the identities, and the sessions
	r.register()
	r.register()
	r.register()
	r.verdict(write(at(4, 3, 2), none, 1, "a"), command.Applied)
	r.seriesMax = 1
	r.verdict(write(at(4, 70, 2), none, 1, "a", "b"), command.SeriesLimit)
	r.verdict(write(at(4, 200, 2), none, 1, "a"), command.Applied)
	r.now += time.Second
	r.verdict(begin(at(3, 5000, 5000), "open", 1), command.KeyKnown)
	r.verdict(begin(at(3, 5001, 5000), "done", 2), command.KeyKnown)
	r.verdict(finish(at(3, 5002, 5000), "done", 2, 12), command.Applied)
	r.verdict(write(at(3, 5003, 5000), command.Identity{Home: 1, Number: 10}, 1, "a"), command.Applied)
	return r
}

func TestStateGolden(t *testing.T) {
	r := full(t)
	got := fmt.Sprintf("log time: %d\nstate: %s\n", r.state().LogTime, hex.EncodeToString(r.state().Machine))
	path := filepath.Join("testdata", "state.v1.txt")
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("the format changed (-want +got):\n%s", diff)
	}
}

func TestStateComesBack(t *testing.T) {
	r := full(t)
	want := r.state()
	r.machine.Cut(0)
	r.open()
	if diff := cmp.Diff(want, r.state()); diff != "" {
		t.Fatalf("restored state differs (-want +got):\n%s", diff)
	}
	r.verdict(write(at(4, 200, 2), none, 1, "a"), command.Duplicate)
	r.verdict(write(at(4, 70, 2), none, 1, "a", "b"), command.SeriesLimit)
	r.verdict(write(at(4, 201, 2), command.Identity{Home: 7, Number: 300}, 1, "a"), command.KeyExpired)
	r.verdict(write(at(4, 202, 2), command.Identity{Home: 1, Number: 10}, 1, "a"), command.Duplicate)
	r.verdict(begin(at(3, 5004, 5000), "open", 2), command.KeyReused)
	if got := r.verdict(begin(at(3, 5005, 5000), "done", 2), command.KeyKnown).Key; got.Stored != 12 || !got.Finished {
		t.Fatalf("record %+v", got)
	}
	if s := r.register(); s != 6 {
		t.Fatalf("session %d, want one never given before: 6", s)
	}
	r.verdict(write(at(5, 1, 1), none, 1, "a"), command.Applied) // was unused before the restart
}

func TestDamagedStateIsCorrupt(t *testing.T) {
	good := full(t).state()
	m := apply.New(apply.Options{})
	f := func(what string, state outbound.AppliedState) {
		t.Helper()
		if err := m.Restore(0, state); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v, want corrupt", what, err)
		}
	}
	for n := 1; n < len(good.Machine); n++ {
		s := good
		s.Machine = good.Machine[:n]
		f(fmt.Sprintf("cut to %d bytes", n), s)
	}
	s := good
	s.Machine = append(slices.Clone(good.Machine), 0)
	f("a byte more", s)
	s.Machine = slices.Clone(good.Machine)
	s.Machine[0]++
	f("another version", s)
	s = good
	s.LogTime--
	f("a log time before its entries'", s)
	f("sessions out of order", outbound.AppliedState{LogTime: 9, Machine: []byte{1, 2, 0, 2, 1, 5, 2, 4, 0, 0, 0, 0}})
	f("a session twice", outbound.AppliedState{LogTime: 9, Machine: []byte{1, 2, 0, 2, 1, 5, 1, 5, 0, 0, 0, 0}})
	f("a shard beyond all", outbound.AppliedState{LogTime: 9, Machine: []byte{1, 0, 0, 0, 0, 0, 0, 1, 0x80, 0x20, 1}})
	f("a window too large", outbound.AppliedState{LogTime: 9, Machine: []byte{1, 1, 0, 0, 1, 1, 5, 1, 65, 0, 0, 0, 0}})
}

// FuzzRestore feeds any bytes to Restore: it fails or the state encodes and comes back the same.
func FuzzRestore(f *testing.F) {
	good := full(f).state()
	f.Add(good.Machine, int64(good.LogTime))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, machine []byte, logTime int64) {
		m := apply.New(apply.Options{})
		if m.Restore(0, outbound.AppliedState{LogTime: time.Duration(logTime), Machine: machine}) != nil {
			return
		}
		first, err := m.State(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Restore(0, first); err != nil {
			t.Fatal(err)
		}
		if second, _ := m.State(0); !cmp.Equal(first, second) {
			t.Fatalf("state %+v came back as %+v", first, second)
		}
	})
}

// small limits make expiry and caps frequent.
var small = apply.Limits{
	SessionsMax: 4, SessionIdleMax: 40, SessionUnusedMax: 20, KeysMax: 3, KeyAgeMax: 30,
	IdentitiesMax: 5, IdentityAgeMax: 60,
}

// TestAnyHistoryAppliesOnce applies random histories with repetitions, expiry and restarts at any
// point, and compares with a machine that applies the same log without a restart. A write's value
// names its command, so that a sample stored twice shows.
func TestAnyHistoryAppliesOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		restarted, steady := newRig(t, small), newRig(t, small)
		var log []inbound.Entry
		var sent [][]byte
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "entries") {
			now += time.Duration(rapid.IntRange(0, 12).Draw(t, "elapsed"))
			e := inbound.Entry{Index: uint64(len(log) + 1), Term: 1, LogTime: now}
			for range rapid.IntRange(0, 4).Draw(t, "commands") {
				c := drawCommand(t, sent)
				sent, e.Commands = append(sent, c), append(e.Commands, c)
			}
			log = append(log, e)
			want := steady.entry(e)
			restarted.wants = rapid.Bool().Draw(t, "cut")
			if diff := cmp.Diff(want, restarted.entry(e)); diff != "" {
				t.Fatalf("outcomes differ after a restart (-want +got):\n%s", diff)
			}
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				restarted.open()
				for _, again := range log[restarted.cut.Index:] {
					restarted.entry(again)
				}
			}
		}
		if diff := cmp.Diff(steady.state(), restarted.state()); diff != "" {
			t.Fatalf("states differ (-steady +restarted):\n%s", diff)
		}
		if diff := cmp.Diff(steady.samples, restarted.samples); diff != "" {
			t.Fatalf("samples differ (-steady +restarted):\n%s", diff)
		}
		seen := map[string]bool{}
		for _, s := range steady.samples {
			if seen[s] {
				t.Fatalf("%s is stored twice", s)
			}
			seen[s] = true
		}
	})
}

// drawCommand returns a new command or one that was sent before. Equal identities have equal values,
// as have equal places in a session.
func drawCommand(t *rapid.T, sent [][]byte) []byte {
	if len(sent) > 0 && rapid.Bool().Draw(t, "again") {
		return rapid.SampledFrom(sent).Draw(t, "which")
	}
	h := at(rapid.Uint64Range(1, 8).Draw(t, "session"), rapid.Uint64Range(1, 12).Draw(t, "sequence"), 1)
	h.Lowest = rapid.Uint64Range(max(h.Sequence, 6)-5, h.Sequence).Draw(t, "lowest")
	number := rapid.Uint64Range(1, 6).Draw(t, "number")
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return command.EncodeRegister()
	case 1:
		return begin(h, key, byte(rapid.IntRange(1, 2).Draw(t, "digest")))
	case 2:
		return finish(h, key, number, 5)
	case 3:
		home := shard.ID(rapid.IntRange(0, 1).Draw(t, "home"))
		return write(h, command.Identity{Home: home, Number: number}, float64(-1-100*int(home)-int(number)), "m")
	default:
		return write(h, none, float64(1000*h.Session+h.Sequence), "m")
	}
}

// TestAnyBytesHaveOneOutcome applies random and mangled commands to two machines, in entries of
// different batches: they must agree on everything.
func TestAnyBytesHaveOneOutcome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := newRig(t, small), newRig(t, small)
		var entries []inbound.Entry
		for i := range rapid.IntRange(1, 20).Draw(t, "entries") {
			e := inbound.Entry{Index: uint64(i + 1), LogTime: time.Duration(10 * i)}
			for range rapid.IntRange(0, 5).Draw(t, "commands") {
				c := slices.Clone(drawCommand(t, nil))
				if rapid.Bool().Draw(t, "mangled") {
					c[rapid.IntRange(0, len(c)-1).Draw(t, "where")] = rapid.Byte().Draw(t, "byte")
				}
				if rapid.IntRange(0, 9).Draw(t, "noise") == 0 {
					c = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
				}
				e.Commands = append(e.Commands, c)
			}
			entries = append(entries, e)
		}
		var want []string
		for _, e := range entries {
			for _, o := range one.entry(e) {
				want = append(want, fmt.Sprint(o))
			}
		}
		raw, err := other.machine.Apply(t.Context(), 0, entries)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, data := range raw {
			o, err := command.DecodeOutcome(data)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(o))
		}
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
			t.Fatalf("outcomes differ (-one +other):\n%s", diff)
		}
		if diff := cmp.Diff(one.state(), other.state()); diff != "" {
			t.Fatalf("states differ (-one +other):\n%s", diff)
		}
	})
}
