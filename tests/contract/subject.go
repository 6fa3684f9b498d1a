package contract

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// caseMax bounds a case: a call into a store that hangs is a failure.
const caseMax = 5 * time.Minute

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// subject is a node with a running store, whose failures end the test.
type subject struct {
	failer
	ctx   context.Context
	node  Node
	store Store
}

// start returns a subject with shards 0 to shards-1 open; the test's end stops it.
func start(t env, o Options, shards int) *subject {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), caseMax)
	t.Cleanup(cancel)
	s := &subject{failer: t, ctx: ctx, node: t.factory(t.T, o)}
	s.begin(shards)
	t.Cleanup(func() {
		if s.store != nil {
			s.stop()
		}
	})
	return s
}

// begin starts the node's store and opens shards; it returns their states.
func (s *subject) begin(shards int) []outbound.AppliedState {
	s.Helper()
	store, err := s.node.Start()
	if err != nil {
		s.Fatalf("Start: %v", err)
	}
	s.store = store
	states := make([]outbound.AppliedState, shards)
	for i := range states {
		if states[i], err = store.Open(s.ctx, shard.ID(i)); err != nil {
			s.Fatalf("Open(%d): %v", i, err)
		}
	}
	return states
}

func (s *subject) stop() {
	s.Helper()
	s.store = nil
	if err := s.node.Stop(); err != nil {
		s.Fatalf("Stop: %v", err)
	}
}

func (s *subject) crash() {
	s.Helper()
	s.store = nil
	if err := s.node.Crash(); err != nil {
		s.Fatalf("Crash: %v", err)
	}
}

func (s *subject) append(id shard.ID, samples ...sample) {
	s.Helper()
	if err := s.store.Append(s.ctx, id, columnsOf(samples)); err != nil {
		s.Fatalf("Append(%d): %v", id, err)
	}
}

// replace appends samples that replace others.
func (s *subject) replace(id shard.ID, samples ...sample) {
	s.Helper()
	c := columnsOf(samples)
	c.Replace = true
	if err := s.store.Append(s.ctx, id, c); err != nil {
		s.Fatalf("Append(%d): %v", id, err)
	}
}

// delete deletes; the metric must have existed as want says.
func (s *subject) delete(id shard.ID, d outbound.Deletion, want bool) {
	s.Helper()
	existed, err := s.store.Delete(s.ctx, id, d)
	if err != nil || existed != want {
		s.Fatalf("Delete(%d, %v)=%v, %v, want %v", id, d, existed, err, want)
	}
}

func (s *subject) retain(id shard.ID, c metric.Cutoffs) {
	s.Helper()
	if err := s.store.Retain(s.ctx, id, c); err != nil {
		s.Fatalf("Retain(%d, %v): %v", id, c, err)
	}
}

// merge merges until there is no more to do.
func (s *subject) merge(id shard.ID, all bool) {
	s.Helper()
	for more, steps := true, 0; more; steps++ {
		var err error
		if more, err = s.store.Merge(s.ctx, id, all); err != nil || steps == mergeStepsMax {
			s.Fatalf("Merge(%d): step %d: %v", id, steps, err)
		}
	}
}

// mergeStepsMax bounds how often a shard may have more to merge.
const mergeStepsMax = 10_000

// checkList compares a listing with the reference over samples.
func (s *subject) checkList(spec metric.ListingSpec, samples []sample, shards ...shard.ID) {
	s.Helper()
	l, err := metric.NewListing(spec)
	if err != nil {
		s.Fatalf("NewListing: %v", err)
	}
	got, err := s.store.ListSeries(s.ctx, shards, l)
	if want := list(l, samples); err != nil || !slices.Equal(got, want) {
		s.Fatalf("ListSeries(%v)=%q, %v, want %q", l, got, err, want)
	}
}

// checkContent compares the digest of a shard with that of samples.
func (s *subject) checkContent(id shard.ID, samples []sample) {
	s.Helper()
	sum, err := s.store.PinContent(id)
	if err != nil {
		s.Fatalf("PinContent(%d): %v", id, err)
	}
	got, err := sum(s.ctx)
	if want := digestOf(samples); err != nil || !bytes.Equal(got, want[:]) {
		s.Fatalf("the digest of shard %d is %x, %v, want %x", id, got, err, want)
	}
}

func (s *subject) cut(id shard.ID, index uint64) outbound.AppliedState {
	state := stateAt(index)
	s.store.Cut(id, state)
	return state
}

func (s *subject) flush(id shard.ID, want uint64) {
	s.Helper()
	got, err := s.store.Flush(s.ctx, id)
	if err != nil || got != want {
		s.Fatalf("Flush(%d)=%d, %v, want %d", id, got, err, want)
	}
}

func (s *subject) partials(q aggregate.Query, shards ...shard.ID) aggregate.Table {
	s.Helper()
	table, err := s.store.Partials(s.ctx, shards, q)
	if err != nil {
		s.Fatalf("Partials: %v", err)
	}
	return table
}

// check compares the answer to spec over shards with the reference over samples.
func (s *subject) check(spec aggregate.QuerySpec, samples []sample, shards ...shard.ID) {
	s.Helper()
	q := s.query(spec)
	compare(s, q, s.partials(q, shards...), samples)
}

// checkLatest compares the newest sample of a metric with the reference over samples.
func (s *subject) checkLatest(name metric.Name, matchers metric.Matchers, samples []sample, shards ...shard.ID) {
	s.Helper()
	got, ok, err := s.store.Latest(s.ctx, shards, name, matchers)
	if err != nil {
		s.Fatalf("Latest: %v", err)
	}
	want, wantOK := latestOf(samples, name, matchers)
	if ok != wantOK {
		s.Fatalf("Latest(%s)=%v, want %v", name, ok, wantOK)
	}
	if ok && (got.Series().Key() != want.series.Key() || int64(got.Timestamp()) != want.at || got.Value() != want.value) {
		s.Fatalf("Latest(%s)=%s %d %v, want %s %d %v", name, got.Series().Key(), got.Timestamp(), got.Value(),
			want.series.Key(), want.at, want.value)
	}
}

func (s *subject) query(spec aggregate.QuerySpec) aggregate.Query {
	s.Helper()
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		s.Fatalf("NewQuery: %v", err)
	}
	return q
}

// stateAt returns an applied state whose every part tells index.
func stateAt(index uint64) outbound.AppliedState {
	return outbound.AppliedState{
		Index: index, Term: index/7 + 1, LogTime: time.Duration(index) * time.Second,
		Membership: []byte{1, byte(index)}, Machine: bytes.Repeat([]byte{byte(index), 0}, 100),
	}
}

func equalState(a, b outbound.AppliedState) bool {
	return a.Index == b.Index && a.Term == b.Term && a.LogTime == b.LogTime &&
		bytes.Equal(a.Membership, b.Membership) && bytes.Equal(a.Machine, b.Machine)
}
