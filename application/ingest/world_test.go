package ingest_test

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// world drives gateways and state machines from one heap of events in virtual time. Proposals may
// be refused, lost, answered late or not at all, and applied long after their proposer was told that
// nobody knows. What happens is drawn by rapid, which shrinks a failure to the shortest history.
type world struct {
	t       *rapid.T
	shards  shard.Map
	gateway *ingest.Gateway
	machine *apply.StateMachine
	now     time.Duration
	skew    time.Duration // of log time
	order   int
	events  timeline
	faults  bool
	counts  map[float64]int // by value, which is unique to its sample
	done    map[*ingest.Write]bool
}

type happening struct {
	at    time.Duration
	order int
	do    func()
}

type timeline []happening

func (l *timeline) Len() int { return len(*l) }
func (l *timeline) Less(i, j int) bool {
	a, b := (*l)[i], (*l)[j]
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) < 0
}
func (l *timeline) Swap(i, j int) { (*l)[i], (*l)[j] = (*l)[j], (*l)[i] }
func (l *timeline) Push(x any) {
	h, _ := x.(happening)
	*l = append(*l, h)
}

func (l *timeline) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// worldLimits let sessions and keys expire within a history.
var worldLimits = apply.Limits{
	SessionIdleMax: 20 * time.Second, SessionUnusedMax: 10 * time.Second,
	KeyAgeMax: time.Hour, IdentityAgeMax: 2 * time.Hour,
}

func newWorld(t *rapid.T, shards int) *world {
	w := &world{t: t, counts: map[float64]int{}, done: map[*ingest.Write]bool{}}
	var err error
	if w.shards, err = shard.NewMap(shards, shards); err != nil {
		t.Fatal(err)
	}
	w.gateway = ingest.NewGateway(w.shards, w)
	w.machine = apply.New(apply.Options{Appender: w, Cutter: w, Limits: worldLimits})
	for _, id := range w.shards.All() {
		if err := w.machine.Restore(id, outbound.AppliedState{}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) Uint64() uint64                      { return rapid.Uint64().Draw(w.t, "entropy") }
func (w *world) WantsCut(shard.ID) bool              { return false }
func (w *world) Cut(shard.ID, outbound.AppliedState) {}

func (w *world) Append(_ context.Context, _ shard.ID, c outbound.Columns) error {
	for _, v := range c.Values {
		w.counts[v]++
	}
	return nil
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.events, happening{at: w.now + d, order: w.order, do: do})
}

func (w *world) step(ev ingest.Event) {
	for _, e := range w.gateway.Step(ev, nil) {
		switch e.Kind {
		case ingest.Prepare:
			e.Write.Prepare(w.shards, nil)
			w.after(0, func() { w.step(ingest.Event{Kind: ingest.Prepared, Write: e.Write}) })
		case ingest.Propose:
			w.propose(e)
		case ingest.Wait:
			w.after(e.Wait, func() { w.step(ingest.Event{Kind: ingest.TimerFired, Task: e.Task}) })
		case ingest.Done:
			if w.done[e.Write] {
				w.t.Fatalf("a write was done twice")
			}
			w.done[e.Write] = true
		}
	}
}

// propose decides a proposal's fate.
func (w *world) propose(e ingest.Effect) {
	answer := func(d time.Duration, outcome []byte, err error) {
		w.after(d, func() {
			w.step(ingest.Event{Kind: ingest.Proposed, Task: e.Task, Outcome: outcome, Err: err})
		})
	}
	fate, delay := 0, time.Millisecond
	if w.faults {
		fate = rapid.IntRange(0, 7).Draw(w.t, "fate")
		delay = time.Duration(rapid.IntRange(1, 3000).Draw(w.t, "delay")) * time.Millisecond
	}
	data := slices.Clone(e.Command)
	switch fate {
	case 1:
		answer(delay, nil, fmt.Errorf("propose: %w", outbound.ErrNotProposed))
	case 2:
		answer(delay, nil, fmt.Errorf("propose: %w", outbound.ErrAmbiguous))
	case 3, 4: // the answer is lost; the command may be applied before or after that is known
		answer(delay, nil, outbound.ErrAmbiguous)
		late := time.Duration(rapid.IntRange(1, 9000).Draw(w.t, "late")) * time.Millisecond
		w.after(late, func() { w.apply(e.Task.Shard(), data) })
	case 5:
		answer(delay, nil, fault.New(fault.Exhausted, "proposal_queue_full", "full"))
	default:
		w.after(delay, func() { answer(time.Millisecond, w.apply(e.Task.Shard(), data), nil) })
	}
}

func (w *world) apply(id shard.ID, data []byte) []byte {
	if w.faults && rapid.IntRange(0, 9).Draw(w.t, "skew") == 0 {
		w.skew += worldLimits.SessionIdleMax // sessions expire under retries, too
	}
	entry := inbound.Entry{Index: w.machine.Applied(id) + 1, LogTime: w.now + w.skew, Commands: [][]byte{data}}
	outcomes, err := w.machine.Apply(context.Background(), id, []inbound.Entry{entry})
	if err != nil {
		w.t.Fatal(err)
	}
	return outcomes[0]
}

// run lets everything happen until nothing is left to.
func (w *world) run() {
	for w.events.Len() > 0 {
		h, _ := heap.Pop(&w.events).(happening)
		w.now = h.at
		h.do()
	}
}

// submit begins a write with a deadline.
func (w *world) submit(req inbound.RecordRequest) *ingest.Write {
	write := ingest.NewWrite(req, 1)
	w.after(4*time.Second, func() {
		w.step(ingest.Event{Kind: ingest.Ended, Write: write, Err: context.DeadlineExceeded})
	})
	w.step(ingest.Event{Kind: ingest.Submitted, Write: write})
	return write
}

// draw returns observations whose values nobody else has.
func (w *world) draw(next *float64) []metric.Observation {
	batch := make([]metric.Observation, rapid.IntRange(1, 6).Draw(w.t, "samples"))
	for i := range batch {
		name, _ := metric.NewName("m")
		tags, _ := metric.NewTags([]metric.Tag{{Key: "n", Value: strconv.Itoa(rapid.IntRange(0, 9).Draw(w.t, "series"))}})
		series, _ := metric.NewSeries(name, tags)
		batch[i], _ = metric.NewObservation(series, *next)
		*next++
	}
	return batch
}

// stored returns how often the batch's samples are stored: the fewest, the most, and in all.
func (w *world) stored(batch []metric.Observation) (fewest, most, total int) {
	fewest = math.MaxInt
	for _, o := range batch {
		n := w.counts[o.At(1).Value()]
		fewest, most, total = min(fewest, n), max(most, n), total+n
	}
	return fewest, most, total
}

// TestAnyWritesAreExact runs many writes through one lossy world. In the end each sample of an
// acknowledged write is stored once, none of a write that stored nothing, and none twice.
func TestAnyWritesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(1, 3).Draw(t, "shards"))
		w.faults = true
		type sent struct {
			write *ingest.Write
			batch []metric.Observation
		}
		var all []sent
		var next float64
		for range rapid.IntRange(1, 12).Draw(t, "writes") {
			batch := w.draw(&next)
			w.after(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "when"))*time.Millisecond, func() {
				all = append(all, sent{w.submit(inbound.RecordRequest{Observations: batch}), batch})
			})
		}
		w.run()
		for _, s := range all {
			if !w.done[s.write] {
				t.Fatal("a write is not done")
			}
			reply, err := s.write.Result()
			fewest, most, total := w.stored(s.batch)
			stored, notStored, unknown := details(err)
			switch {
			case most > 1:
				t.Fatalf("a sample is stored %d times (%v)", most, err)
			case err == nil && (fewest != 1 || reply.Stored != len(s.batch)):
				t.Fatalf("acknowledged %+v, stored %d of %d", reply, total, len(s.batch))
			case err != nil && stored+notStored+unknown == 0 && total != 0:
				t.Fatalf("refused as nothing stored (%v), but %d are", err, total)
			case err != nil && (total < stored || total > stored+unknown):
				t.Fatalf("%v, but %d are stored", err, total)
			case err != nil && stored+unknown > 0 && stored+notStored+unknown != len(s.batch):
				t.Fatalf("%v does not count every sample", err)
			}
		}
	})
}

// TestAnyKeyedWritesAreExact retries writes under their keys, also beside themselves, until they are
// acknowledged: then each sample is stored once, and every answer says the same.
func TestAnyKeyedWritesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(1, 3).Draw(t, "shards"))
		w.faults = true
		var next float64
		for n := range rapid.IntRange(1, 4).Draw(t, "keys") {
			batch := w.draw(&next)
			req := inbound.RecordRequest{
				Observations: batch,
				Idempotency:  &inbound.Idempotency{Key: fmt.Sprint("key", n), Digest: [32]byte{byte(n)}},
			}
			var replies []inbound.RecordReply
			for acknowledged := range 3 {
				for attempt := 0; len(replies) <= acknowledged; attempt++ {
					w.faults = attempt < 3
					first, twin := w.submit(req), w.submit(req)
					w.run()
					for _, write := range []*ingest.Write{first, twin} {
						if reply, err := write.Result(); err == nil {
							replies = append(replies, reply)
						} else if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Exhausted {
							t.Fatal(err)
						}
					}
				}
			}
			for _, reply := range replies {
				if reply != replies[0] || reply.Stored != len(batch) {
					t.Fatalf("replies %+v", replies)
				}
			}
			if fewest, most, _ := w.stored(batch); fewest != 1 || most != 1 {
				t.Fatalf("samples stored %d to %d times", fewest, most)
			}
		}
	})
}

// details returns the counts that an error carries.
func details(err error) (stored, notStored, unknown int) {
	if err == nil {
		return 0, 0, 0
	}
	for _, d := range fault.From(err).Details() {
		n, _ := d.Value.(int)
		switch d.Name {
		case "stored":
			stored = n
		case "not_stored":
			notStored = n
		case "unknown":
			unknown = n
		}
	}
	return stored, notStored, unknown
}
