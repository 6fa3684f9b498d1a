package ingest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var errSeriesLimit = fault.New(fault.Unprocessable, "series_limit", "too many series")

// node is a recorder over real state machines, with a log that is only an index and storage that is
// only a count. What goes wrong is what its fail hook says.
type node struct {
	shards   shard.Map
	machine  *apply.StateMachine
	recorder *ingest.Recorder

	applying sync.Mutex // before mu

	mu struct {
		sync.Mutex
		logTime time.Duration
		counts  map[string]int
		clock   time.Duration // that the wall clock is ahead
		appends func(id shard.ID, keys []string) error
		deletes map[shard.ID][]outbound.Deletion
		cutoffs map[shard.ID]metric.Cutoffs
		holds   map[shard.ID]bool // shards that have series of any metric that is deleted
		replace bool              // of the latest columns
		columns func(outbound.Columns)
		// fail is asked before (applied false) and after each proposal; an error is its answer.
		fail func(ctx context.Context, id shard.ID, command []byte, applied bool) error
	}
}

func newNode(tb testing.TB, shards int) *node {
	tb.Helper()
	n := &node{}
	var err error
	if n.shards, err = shard.NewMap(shards, shard.SpreadDefault); err != nil {
		tb.Fatal(err)
	}
	n.mu.counts = map[string]int{}
	n.mu.deletes = map[shard.ID][]outbound.Deletion{}
	n.mu.cutoffs = map[shard.ID]metric.Cutoffs{}
	n.mu.holds = map[shard.ID]bool{}
	n.machine = apply.New(apply.Options{Appender: n, Remover: n, Cutter: n})
	for _, id := range n.shards.All() {
		if err := n.machine.Restore(id, outbound.AppliedState{}); err != nil {
			tb.Fatal(err)
		}
	}
	n.recorder = ingest.New(n.options())
	return n
}

func (n *node) options() ingest.Options {
	return ingest.Options{
		Shards: n.shards, Proposer: n, WriteGate: n, Clock: n, Timer: n, Entropy: n,
	}
}

func (n *node) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.UnixMicro(1_700_000_000_123_456).Add(n.mu.clock)
}

func (n *node) advanceClock(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.clock += d
}

func (n *node) onPropose(fail func(ctx context.Context, id shard.ID, command []byte, applied bool) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.fail = fail
}

func (n *node) Monotonic() time.Duration               { return 0 }
func (n *node) Uint64() uint64                         { return 1 }
func (n *node) Admit(context.Context, int) error       { return nil }
func (n *node) WantsCut(shard.ID) bool                 { return false }
func (n *node) Cut(shard.ID, outbound.AppliedState)    {}
func (n *node) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (n *node) received() metric.Timestamp { return metric.Timestamp(n.Now().UnixMicro()) }

func (n *node) Append(_ context.Context, id shard.ID, c outbound.Columns) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.appends != nil {
		if err := n.mu.appends(id, c.Keys); err != nil {
			return err
		}
	}
	n.mu.replace = c.Replace
	if n.mu.columns != nil {
		n.mu.columns(c)
	}
	for i, s := range c.Series {
		n.mu.counts[fmt.Sprint(id, c.Keys[s], c.Timestamps[i], c.Values[i])]++
	}
	return nil
}

func (n *node) Delete(_ context.Context, id shard.ID, d outbound.Deletion) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.deletes[id] = append(n.mu.deletes[id], d)
	return n.mu.holds[id], nil
}

func (n *node) Retain(_ context.Context, id shard.ID, c metric.Cutoffs) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.cutoffs[id] = c
	return nil
}

func (n *node) Propose(ctx context.Context, id shard.ID, command []byte) ([]byte, error) {
	n.mu.Lock()
	fail := n.mu.fail
	n.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, id, command, false); err != nil {
			return nil, err
		}
	}
	outcome, err := n.applyOne(ctx, id, command)
	if err == nil && fail != nil {
		err = fail(ctx, id, command, true)
	}
	if err != nil {
		return nil, err
	}
	return outcome, nil
}

func (n *node) applyOne(ctx context.Context, id shard.ID, command []byte) ([]byte, error) {
	n.applying.Lock()
	defer n.applying.Unlock()
	n.mu.Lock()
	entry := inbound.Entry{Index: n.machine.Applied(id) + 1, LogTime: n.mu.logTime, Commands: [][]byte{command}}
	n.mu.Unlock()
	outcomes, err := n.machine.Apply(ctx, id, []inbound.Entry{entry})
	if err != nil {
		return nil, err
	}
	return outcomes[0], nil
}

// wantSamples checks that exactly the observations are stored, each times over.
func (n *node) wantSamples(t *testing.T, batch []metric.Observation, times int) {
	t.Helper()
	want := map[string]int{}
	for _, o := range batch {
		s := o.At(n.received())
		want[fmt.Sprint(n.shards.Of(s.Series()), s.Series().Key(), int64(s.Timestamp()), s.Value())] += times
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, times := range want {
		if n.mu.counts[k] != times {
			t.Errorf("%s stored %d times, want %d", k, n.mu.counts[k], times)
		}
	}
	if len(n.mu.counts) != len(want) {
		t.Errorf("%d different samples stored, want %d", len(n.mu.counts), len(want))
	}
}

// observations returns count observations of 20 series, every third without a timestamp.
func observations(tb testing.TB, count int) []metric.Observation {
	tb.Helper()
	batch := make([]metric.Observation, count)
	for i := range batch {
		name, err := metric.NewName(fmt.Sprint("metric_", i%2))
		if err != nil {
			tb.Fatal(err)
		}
		tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: fmt.Sprint("h", i%20)}})
		if err != nil {
			tb.Fatal(err)
		}
		series, err := metric.NewSeries(name, tags)
		if err != nil {
			tb.Fatal(err)
		}
		if i%3 == 0 {
			batch[i], err = metric.NewObservation(series, float64(i))
		} else {
			batch[i], err = metric.NewObservationAt(series, metric.Timestamp(i)*1_000_000, float64(i))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return batch
}
