package route_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/application/route"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is a cluster of named nodes that answer as a test says; the router stands on the node "here".
type town struct {
	state *cluster.State
	here  []outbound.ShardStatus
	mu    sync.Mutex
	asked []string // node of each question, in order of arrival
	// answer decides what a node says to a question about shards.
	answer func(ctx context.Context, node string, shards []shard.ID) error
}

func newTown(t *testing.T, shards, factor int, names ...string) *town {
	t.Helper()
	m, err := shard.NewMap(shards, shards)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []cluster.Node
	for i, name := range names {
		n, err := cluster.NewNode(id(t, name), cluster.Worker, name+":1", cluster.Incarnation(i+1))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	state, err := cluster.Found(cluster.Blueprint{ClusterID: "c", Shards: m, ReplicationFactor: factor}, nodes)
	if err != nil {
		t.Fatal(err)
	}
	town := &town{state: state, answer: func(context.Context, string, []shard.ID) error { return nil }}
	for _, s := range state.ShardsOn(id(t, "here")) {
		town.here = append(town.here, outbound.ShardStatus{Shard: s, Serving: true})
	}
	return town
}

func id(t *testing.T, name string) cluster.NodeID {
	t.Helper()
	n, err := cluster.NewNodeID(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *town) router(t *testing.T) (*route.Proposer, *route.Querier) {
	t.Helper()
	m := route.NewMap(id(t, "here"), func() *cluster.State { return w.state }, w, w)
	return route.NewProposer(m, local{w}, w), route.NewQuerier(m, local{w}, w, w, w)
}

func (w *town) ask(ctx context.Context, node string, shards []shard.ID) error {
	w.mu.Lock()
	w.asked = append(w.asked, node)
	w.mu.Unlock()
	return w.answer(ctx, node, shards)
}

// table counts one sample for each shard, so that a merged answer counts the shards answered.
func (w *town) table(ctx context.Context, node string, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
	if err := w.ask(ctx, node, shards); err != nil {
		return aggregate.Table{}, err
	}
	b := aggregate.NewBuilder(q)
	g, err := b.Group(nil)
	for range shards {
		err = errors.Join(err, g.Add(0, 1))
	}
	return b.Table(), err
}

// sample answers with the time of the greatest shard asked for.
func (w *town) sample(ctx context.Context, node string, shards []shard.ID, name metric.Name) (metric.Sample, bool, error) {
	if err := w.ask(ctx, node, shards); err != nil {
		return metric.Sample{}, false, err
	}
	series, err := metric.NewSeries(name, metric.Tags{})
	if err != nil {
		return metric.Sample{}, false, err
	}
	s, err := metric.NewSample(series, metric.Timestamp(slices.Max(shards)), 1)
	return s, true, err
}

func (w *town) PartialsAt(ctx context.Context, node cluster.NodeID, r consistency.Read, q aggregate.Query) (aggregate.Table, error) {
	return w.table(ctx, node.String(), r.Shards, q)
}

func (w *town) LatestAt(ctx context.Context, node cluster.NodeID, r consistency.Read, name metric.Name, _ metric.Matchers) (metric.Sample, bool, error) {
	return w.sample(ctx, node.String(), r.Shards, name)
}

// series lists an item for each shard, so that a merged answer has the shards answered.
func (w *town) series(ctx context.Context, node string, shards []shard.ID) (items []string, err error) {
	for _, id := range shards {
		items = append(items, fmt.Sprintf("s%02d", id))
	}
	slices.Sort(items)
	return items, w.ask(ctx, node, shards)
}

func (w *town) ListSeriesAt(ctx context.Context, node cluster.NodeID, r consistency.Read, _ metric.Listing) ([]string, error) {
	return w.series(ctx, node.String(), r.Shards)
}

func (w *town) ProposeAt(ctx context.Context, node cluster.NodeID, s shard.ID, _ []byte) ([]byte, error) {
	return []byte(node.String()), w.ask(ctx, node.String(), []shard.ID{s})
}

func (w *town) Shard(s shard.ID) (outbound.ShardStatus, bool) {
	i := slices.IndexFunc(w.here, func(status outbound.ShardStatus) bool { return status.Shard == s })
	if i < 0 {
		return outbound.ShardStatus{}, false
	}
	return w.here[i], true
}

func (w *town) Now() time.Time { return time.Now() }

func (w *town) Monotonic() time.Duration { return time.Since(time.Unix(0, 0)) }

func (w *town) After(d time.Duration) <-chan time.Time { return time.After(d) }

// local is the town's node "here" as itself.
type local struct{ w *town }

func (l local) Partials(ctx context.Context, r consistency.Read, q aggregate.Query) (aggregate.Table, error) {
	return l.w.table(ctx, "here", r.Shards, q)
}

func (l local) Latest(ctx context.Context, r consistency.Read, name metric.Name, _ metric.Matchers) (metric.Sample, bool, error) {
	return l.w.sample(ctx, "here", r.Shards, name)
}

func (l local) ListSeries(ctx context.Context, r consistency.Read, _ metric.Listing) ([]string, error) {
	return l.w.series(ctx, "here", r.Shards)
}

func (l local) Propose(ctx context.Context, s shard.ID, _ []byte) ([]byte, error) {
	return []byte("here"), l.w.ask(ctx, "here", []shard.ID{s})
}

var errDown = fault.New(fault.Unavailable, "unreachable", "down")

func down(nodes ...string) func(context.Context, string, []shard.ID) error {
	return func(_ context.Context, node string, _ []shard.ID) error {
		if slices.Contains(nodes, node) {
			return errDown
		}
		return nil
	}
}

func cpuQuery(t *testing.T) aggregate.Query {
	t.Helper()
	name, err := metric.NewName("cpu")
	if err != nil {
		t.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: name})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func count(t aggregate.Table) uint64 {
	var n uint64
	for _, g := range t.Groups {
		for _, c := range g.Cells {
			n += c.Partial.Count()
		}
	}
	return n
}

func (w *town) read() consistency.Read {
	return consistency.Read{Shards: w.state.Blueprint().Shards.All()}
}

func TestALocalReplicaAnswersAlone(t *testing.T) {
	w := newTown(t, 8, 3, "here", "b", "c")
	_, q := w.router(t)
	table, err := q.Partials(t.Context(), w.read(), cpuQuery(t))
	if err != nil || count(table) != 8 || !slices.Equal(w.asked, []string{"here"}) {
		t.Fatalf("%d shards from %v, error %v; want 8 from here alone", count(table), w.asked, err)
	}
}

func TestEveryShardIsAnsweredOnceWhateverFails(t *testing.T) {
	for name, tc := range map[string]struct {
		factor, nodes int
		dead          []string
	}{
		"nobody fails":        {2, 5, nil},
		"one of two copies":   {2, 5, []string{"b"}},
		"two of three copies": {3, 6, []string{"b", "c"}},
		"the gateway's own":   {3, 4, []string{"here"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 16, tc.factor, []string{"here", "b", "c", "d", "e", "f"}[:tc.nodes]...)
			w.answer = down(tc.dead...)
			_, q := w.router(t)
			for range 3 {
				table, err := q.Partials(t.Context(), w.read(), cpuQuery(t))
				if err != nil || count(table) != 16 {
					t.Fatalf("%d shards, error %v; want 16", count(table), err)
				}
			}
			sample, ok, err := q.Latest(t.Context(), w.read(), cpuQuery(t).Metric(), metric.Matchers{})
			if err != nil || !ok || sample.Timestamp() != 15 {
				t.Fatalf("latest %v %v %v, want the sample of shard 15", sample.Timestamp(), ok, err)
			}
		})
	}
}

func TestListingsOfNodesMakeOne(t *testing.T) {
	w := newTown(t, 16, 1, "here", "b", "c")
	_, q := w.router(t)
	l, err := metric.NewListing(metric.ListingSpec{Kind: metric.ListSeries, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	items, err := q.ListSeries(t.Context(), w.read(), l)
	want := []string{"s00", "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10"}
	if err != nil || !slices.Equal(items, want) {
		t.Errorf("items=%v, %v, want one more than the limit: %v", items, err, want)
	}
}

func TestANodeThatFailedIsAskedLast(t *testing.T) {
	w := newTown(t, 4, 2, "b", "c")
	w.answer = down("b")
	_, q := w.router(t)
	for i := range 2 {
		w.asked = nil
		table, err := q.Partials(t.Context(), w.read(), cpuQuery(t))
		if err != nil || count(table) != 4 {
			t.Fatalf("%d shards, error %v", count(table), err)
		}
		if want := i == 0; slices.Contains(w.asked, "b") != want {
			t.Errorf("query %d asked %v", i, w.asked)
		}
	}
}

func TestLostShardsAreNamedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 6, 1, "here", "b", "c")
		w.answer = down("b")
		_, q := w.router(t)
		start := time.Now()
		_, err := q.Partials(t.Context(), w.read(), cpuQuery(t))
		f := fault.From(err)
		if f == nil || f.Code() != "no_replica" || len(f.Details()) != 1 {
			t.Fatalf("error %v, want no_replica with its shards", err)
		}
		lost, _ := f.Details()[0].Value.([]uint32)
		for _, s := range lost {
			if _, on := w.state.Shard(shard.ID(s)).On(id(t, "b")); !on {
				t.Errorf("shard %d is called lost, but it is not on b", s)
			}
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("gave up after %v", took)
		}
	})
}

func TestWhatNobodyHasFreshEnoughIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 2, 2, "here", "b")
		need, err := consistency.FreshWithin(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		read := w.read()
		read.Requirement = need
		fresh := time.Now().Add(time.Second)
		w.answer = func(_ context.Context, _ string, shards []shard.ID) error {
			if time.Now().Before(fresh) {
				return consistency.Stale([]uint32{uint32(shards[0])}, time.Second)
			}
			return nil
		}
		_, q := w.router(t)
		if table, err := q.Partials(t.Context(), read, cpuQuery(t)); err != nil || count(table) != 2 {
			t.Fatalf("%d shards, error %v; want both once they are fresh", count(table), err)
		}
		fresh = fresh.Add(time.Hour)
		_, err = q.Partials(t.Context(), read, cpuQuery(t))
		if f := fault.From(err); f == nil || f.Code() != "stale" || f.Kind() != fault.Timeout {
			t.Fatalf("error %v, want stale", err)
		}
	})
}

func TestAnErrorThatNoOtherNodeCanMendEndsTheRead(t *testing.T) {
	w := newTown(t, 16, 2, "here", "b", "c", "d")
	w.answer = func(context.Context, string, []shard.ID) error { return aggregate.ErrTooManyGroups }
	_, q := w.router(t)
	if _, err := q.Partials(t.Context(), w.read(), cpuQuery(t)); !errors.Is(err, aggregate.ErrTooManyGroups) {
		t.Fatalf("error %v, want too_many_groups", err)
	}
}

func TestAReaderThatLeavesStopsTheSearch(t *testing.T) {
	w := newTown(t, 2, 1, "here", "b")
	ctx, cancel := context.WithCancel(t.Context())
	w.answer = func(context.Context, string, []shard.ID) error {
		cancel()
		return errDown
	}
	_, q := w.router(t)
	if _, err := q.Partials(ctx, w.read(), cpuQuery(t)); err == nil {
		t.Fatal("an answer for a reader that has left")
	}
}

func TestWritesGoToTheLeaderThatTheReplicaFollows(t *testing.T) {
	w := newTown(t, 1, 3, "here", "b", "c")
	on, _ := w.state.Shard(0).On(id(t, "c"))
	w.here[0].LeaderReplica = uint64(on.ID)
	p, _ := w.router(t)
	if got, err := p.Propose(t.Context(), 0, nil); err != nil || string(got) != "c" || len(w.asked) != 1 {
		t.Fatalf("%q took the write, asked %v, error %v; want c alone", got, w.asked, err)
	}
	w.here[0].Leader = true
	if got, err := p.Propose(t.Context(), 0, nil); err != nil || string(got) != "here" {
		t.Fatalf("%q took the write, error %v; want here", got, err)
	}
}

func TestWritesFindALeaderNobodyKnows(t *testing.T) {
	w := newTown(t, 4, 1, "here", "b", "c", "d")
	var foreign shard.ID
	for _, s := range w.state.Blueprint().Shards.All() {
		if _, on := w.state.Shard(s).On(id(t, "here")); !on {
			foreign = s
		}
	}
	p, _ := w.router(t)
	if got, err := p.Propose(t.Context(), foreign, nil); err != nil || string(got) != w.state.Shard(foreign).Replicas[0].Node.String() {
		t.Fatalf("%q took the write, error %v", got, err)
	}
}

func TestOnlyWhatNobodyTookIsOfferedAgain(t *testing.T) {
	w := newTown(t, 1, 3, "here", "b", "c")
	p, _ := w.router(t)
	w.answer = func(_ context.Context, node string, _ []shard.ID) error {
		if node == "c" {
			return nil
		}
		return outbound.ErrNotProposed
	}
	if got, err := p.Propose(t.Context(), 0, nil); err != nil || string(got) != "c" {
		t.Fatalf("%q took the write, error %v; want c", got, err)
	}
	w.asked = nil
	if got, err := p.Propose(t.Context(), 0, nil); err != nil || string(got) != "c" || len(w.asked) != 1 {
		t.Fatalf("%q took the second write after %v, error %v; want c at once", got, w.asked, err)
	}
	w.asked = nil
	w.answer = func(context.Context, string, []shard.ID) error { return outbound.ErrAmbiguous }
	if _, err := p.Propose(t.Context(), 0, nil); !errors.Is(err, outbound.ErrAmbiguous) || len(w.asked) != 1 {
		t.Fatalf("error %v after asking %v, want an ambiguous outcome after one", err, w.asked)
	}
	w.answer = func(context.Context, string, []shard.ID) error { return outbound.ErrNotProposed }
	if _, err := p.Propose(t.Context(), 0, nil); !errors.Is(err, outbound.ErrNotProposed) {
		t.Fatalf("error %v, want not proposed", err)
	}
}

func TestAFrozenLeaderIsNotWaitedForUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 1, 2, "b", "c")
		w.answer = func(ctx context.Context, _ string, _ []shard.ID) error {
			<-ctx.Done()
			return ctx.Err()
		}
		p, _ := w.router(t)
		start := time.Now()
		if _, err := p.Propose(t.Context(), 0, nil); !errors.Is(err, outbound.ErrAmbiguous) {
			t.Fatalf("error %v, want an unknown outcome", err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("waited %v for a frozen node", took)
		}
	})
}

func TestWhateverThisNodeHasNeedsNoOtherNode(t *testing.T) {
	w := newTown(t, 4, 3, "here", "b", "c")
	for i := range w.here {
		w.here[i].Serving = false
	}
	_, q := w.router(t)
	read := w.read()
	read.Requirement = consistency.Of(consistency.None)
	if _, err := q.Partials(t.Context(), read, cpuQuery(t)); err != nil || !slices.Equal(w.asked, []string{"here"}) {
		t.Fatalf("asked %v, error %v; want here alone", w.asked, err)
	}
}
