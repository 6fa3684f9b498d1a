package multiraft

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed of the random test")
	seedsFlag = flag.Int("seeds", 150, "how many seeds of the random test to run")
)

// TestRandomFaults runs three cores under crashes that lose what was not written, slow writes, lost and
// reordered messages, cut members, checkpoints and handovers, and then checks that what was acknowledged
// is there once, on every member, and that no read missed what was acknowledged before it began.
func TestRandomFaults(t *testing.T) {
	seeds := make([]uint64, 0, *seedsFlag)
	for s := range uint64(*seedsFlag) {
		seeds = append(seeds, s+1)
	}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	stored, answered := 0, 0
	for _, seed := range seeds {
		ok := t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			s := newStorm(t, seed)
			s.run()
			stored, answered = stored+s.stored, answered+s.answered
		})
		if !ok {
			t.Fatalf("again with: go test ./adapters/replication/multiraft -run TestRandomFaults -seed=%d", seed)
		}
	}
	t.Logf("%d commands acknowledged, %d reads answered", stored, answered)
	if stored == 0 || answered == 0 {
		t.Fatal("the storms let nothing through: the test shows nothing")
	}
}

type storm struct {
	*trio
	rng    *rand.Rand
	ids    []uint64
	ticket Ticket
	asked  []askedOf[string]
	reads  []askedOf[[]string] // with what was acknowledged before
	loss   float64

	stored, answered int // at the end: commands acknowledged, reads answered
}

// askedOf is a request to one life of a member.
type askedOf[T any] struct {
	done   map[Ticket]ProposalDone
	reads  map[Ticket]ReadReady
	readAt map[Ticket]int
	ticket Ticket
	what   T
}

func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	limits := Limits{TrailingEntriesMax: uint64(1 + rng.IntN(20)), CacheBytesMax: 1 + rng.IntN(2000), EntriesInFlightMax: 1 + rng.IntN(4), ApplyBytesMax: 1 + rng.IntN(100)}
	s := &storm{rng: rng, loss: rng.Float64() * 0.3}
	s.trio = newCluster(t, limits, 1, 2, 3)
	s.ids = []uint64{1, 2, 3}
	s.drop = func(*raftpb.Message) bool { return rng.Float64() < s.loss }
	return s
}

func (s *storm) run() {
	for range 1500 {
		s.now += TickInterval / 10
		m := s.members[s.ids[s.rng.IntN(3)]]
		switch k := s.rng.IntN(100); {
		case k < 30:
			s.deliverAny()
		case k < 45:
			s.each(func(m *member) { s.step(m, Tick{Count: 1}) })
		case k < 65:
			s.propose(s.leading(m))
		case k < 72:
			s.read(m)
		case k < 90:
			s.releaseOne(m)
		case k < 94:
			m.holdAppends = s.rng.IntN(2) > 0 || len(m.heldAppends) > 0
		case k < 95:
			if s.rng.IntN(3) == 0 {
				s.crash(m)
			}
		case k < 96:
			m.cut = !m.cut && s.rng.IntN(3) == 0
		case k < 97:
			m.checkpoint() // and the core is told later, if at all
		case k < 99:
			s.step(m, Durable{Index: m.durable.Index})
		default:
			s.step(m, TransferLeader{To: s.ids[s.rng.IntN(3)]})
		}
	}
	s.heal()
	s.check()
}

func (s *storm) each(f func(m *member)) {
	for _, id := range s.ids {
		f(s.members[id])
	}
}

// leading is mostly a member that believes it leads.
func (s *storm) leading(m *member) *member {
	if s.rng.IntN(5) > 0 {
		s.each(func(other *member) {
			if other.core.Status().Leads {
				m = other
			}
		})
	}
	return m
}

func (s *storm) propose(m *member) {
	s.ticket++
	what := fmt.Sprintf("c%d", s.ticket)
	s.asked = append(s.asked, askedOf[string]{done: m.done, ticket: s.ticket, what: what})
	s.step(m, Propose{Ticket: s.ticket, Command: []byte(what)})
}

func (s *storm) read(m *member) {
	s.ticket++
	s.reads = append(s.reads, askedOf[[]string]{reads: m.reads, readAt: m.readAt, ticket: s.ticket, what: s.acknowledged()})
	s.step(m, Read{Ticket: s.ticket})
}

// acknowledged are the commands answered so far.
func (s *storm) acknowledged() (commands []string) {
	for _, a := range s.asked {
		if d, ok := a.done[a.ticket]; ok && d.Err == nil {
			commands = append(commands, a.what)
		}
	}
	return commands
}

// deliverAny delivers some messages in any order.
func (s *storm) deliverAny() {
	for n := min(len(s.wire), 8); n > 0; n-- {
		i := s.rng.IntN(len(s.wire))
		one := s.wire[i]
		rest := slices.Delete(slices.Clone(s.wire), i, i+1)
		s.wire = [][]byte{one}
		if s.rng.IntN(10) == 0 {
			rest = append(rest, one) // it comes twice
		}
		s.deliverOne()
		s.wire = append(rest, s.wire...)
	}
}

func (s *storm) releaseOne(m *member) {
	if len(m.heldAppends) == 0 {
		return
	}
	a := m.heldAppends[0]
	m.heldAppends = m.heldAppends[1:]
	s.step(m, s.write(m, a))
}

func (s *storm) crash(m *member) {
	m.holdAppends = false
	s.start(m)
}

func (s *storm) heal() {
	s.loss = 0
	s.each(func(m *member) {
		m.cut = false
		s.release(m)
	})
	s.leader()
	s.pass(10 * electionTicks)
	l := s.leader()
	s.step(l, Propose{Ticket: 1 << 40, Command: []byte("end")})
	s.pass(snapshotRepeatTicks * 3)
	s.wantDone(l, 1<<40, nil, "did end")
}

func (s *storm) check() {
	s.t.Helper()
	first := s.members[1].applied
	seen, place := map[string]int{}, map[string]int{}
	for i, c := range first {
		seen[c]++
		place[c] = i
	}
	s.each(func(m *member) {
		if !slices.Equal(m.applied, first) {
			s.t.Fatalf("member %d differs: %s / %s", m.id, strings.Join(m.applied, " "), strings.Join(first, " "))
		}
	})
	for _, a := range s.asked {
		d, ok := a.done[a.ticket]
		switch {
		case seen[a.what] > 1:
			s.t.Fatalf("%s is there %d times", a.what, seen[a.what])
		case ok && d.Err == nil && seen[a.what] != 1:
			s.t.Fatalf("%s was acknowledged and is lost", a.what)
		case ok && d.Err == outbound.ErrNotProposed && seen[a.what] != 0: //nolint:errorlint // the core returns the sentinel itself
			s.t.Fatalf("%s was refused and is there", a.what)
		}
	}
	for _, r := range s.reads {
		if answer, ok := r.reads[r.ticket]; !ok || answer.Err != nil {
			continue
		}
		s.answered++
		for _, c := range r.what {
			if place[c] >= r.readAt[r.ticket] {
				s.t.Fatalf("a read saw %d commands and missed %s, number %d", r.readAt[r.ticket], c, place[c])
			}
		}
	}
	s.stored = len(s.acknowledged())
}
