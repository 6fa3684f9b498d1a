package workerrpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestProposeCarriesCommandAndOutcome(t *testing.T) {
	r := newRemote(t)
	command := bytes.Repeat([]byte("command"), 1<<20)
	r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(7), command).DoAndReturn(
		func(ctx context.Context, _ shard.ID, _ []byte) ([]byte, error) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Minute {
				return nil, errors.New("the deadline did not travel")
			}
			return []byte("outcome"), nil
		})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := r.peers(t).ProposeAt(ctx, r.id, 7, command)
	if err != nil || string(got) != "outcome" {
		t.Fatalf("outcome=%q, %v", got, err)
	}
}

// proposals are the two ways to propose at r, with the mock's expectation of one.
func (r *remote) proposals() map[string]struct {
	propose func(context.Context, *workerrpc.Peers) ([]byte, error)
	answer  func(func(context.Context) ([]byte, error))
} {
	type way = struct {
		propose func(context.Context, *workerrpc.Peers) ([]byte, error)
		answer  func(func(context.Context) ([]byte, error))
	}
	return map[string]way{
		"shard": {
			func(ctx context.Context, p *workerrpc.Peers) ([]byte, error) {
				return p.ProposeAt(ctx, r.id, 1, []byte("x"))
			},
			func(answer func(context.Context) ([]byte, error)) {
				r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(1), []byte("x")).DoAndReturn(
					func(ctx context.Context, _ shard.ID, _ []byte) ([]byte, error) { return answer(ctx) })
			},
		},
		"meta": {
			func(ctx context.Context, p *workerrpc.Peers) ([]byte, error) {
				return p.ProposeMetaAt(ctx, r.id, []byte("x"))
			},
			func(answer func(context.Context) ([]byte, error)) {
				r.meta.EXPECT().ProposeMeta(gomock.Any(), []byte("x")).DoAndReturn(
					func(ctx context.Context, _ []byte) ([]byte, error) { return answer(ctx) })
			},
		},
	}
}

func TestProposeErrors(t *testing.T) {
	refused := fault.New(fault.Exhausted, "proposals_waiting", "too many; try again").WithRetryAfter(time.Second).WithDetail("limit", 4096)
	for _, c := range []struct {
		name                   string
		err                    error
		notProposed, ambiguous bool
		code                   string
	}{
		{"not proposed", fmt.Errorf("wrapped: %w", outbound.ErrNotProposed), true, false, "no_leader"},
		{"ambiguous", fmt.Errorf("wrapped: %w", outbound.ErrAmbiguous), false, true, "outcome_unknown"},
		{"refused", refused, false, false, "proposals_waiting"},
		{"defect", errors.New("something broke"), false, true, "outcome_unknown"},
		{"broken replica", fault.New(fault.Corrupt, "bad_file", "damaged"), false, true, "outcome_unknown"},
		{"other code, same sentinel", fault.New(fault.Unavailable, "busy", "later").WithCause(outbound.ErrNotProposed), true, false, "busy"},
	} {
		r := newRemote(t)
		p := r.peers(t)
		for name, way := range r.proposals() {
			way.answer(func(context.Context) ([]byte, error) { return nil, c.err })
			_, err := way.propose(t.Context(), p)
			if got := errors.Is(err, outbound.ErrNotProposed); got != c.notProposed {
				t.Errorf("%s, %s: not proposed=%v, want %v: %v", name, c.name, got, c.notProposed, err)
			}
			if got := errors.Is(err, outbound.ErrAmbiguous); got != c.ambiguous {
				t.Errorf("%s, %s: ambiguous=%v, want %v: %v", name, c.name, got, c.ambiguous, err)
			}
			if got := fault.From(err).Code(); got != c.code {
				t.Errorf("%s, %s: code=%q, want %q", name, c.name, got, c.code)
			}
		}
	}
}

func TestProposeToNobodyIsNotProposed(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	r.stop()
	for range 3 { // the second and third fail at once, without an attempt of their own
		for name, way := range r.proposals() {
			if _, err := way.propose(t.Context(), p); !errors.Is(err, outbound.ErrNotProposed) || errors.Is(err, outbound.ErrAmbiguous) {
				t.Errorf("%s: err=%v, want not proposed", name, err)
			}
		}
	}
	if _, err := p.ProposeAt(t.Context(), newNode(t, "unknown", 1).ID(), 1, nil); !errors.Is(err, outbound.ErrNotProposed) {
		t.Errorf("err=%v, want not proposed", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.ProposeAt(ended, r.id, 1, nil); !errors.Is(err, outbound.ErrNotProposed) {
		t.Errorf("err=%v, want not proposed", err)
	}
}

func TestProposeCutOffIsAmbiguous(t *testing.T) {
	for _, how := range []string{"killed", "deadline"} {
		for _, name := range []string{"shard", "meta"} {
			t.Run(how+" "+name, func(t *testing.T) {
				r := newRemote(t)
				way := r.proposals()[name]
				arrived := make(chan struct{})
				way.answer(func(ctx context.Context) ([]byte, error) {
					close(arrived)
					<-ctx.Done()
					return nil, ctx.Err()
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var work sync.WaitGroup
				defer work.Wait()
				work.Go(func() {
					<-arrived
					if how == "killed" {
						r.stop()
					} else {
						cancel()
					}
				})
				_, err := way.propose(ctx, r.peers(t))
				if !errors.Is(err, outbound.ErrAmbiguous) || errors.Is(err, outbound.ErrNotProposed) {
					t.Errorf("err=%v, want ambiguous", err)
				}
			})
		}
	}
}

func TestClientConnectsAgain(t *testing.T) {
	r := newRemote(t)
	r.proposer.EXPECT().Propose(gomock.Any(), gomock.Any(), gomock.Any()).Return([]byte("ok"), nil).AnyTimes()
	p := r.peers(t)
	for range 3 {
		if _, err := p.ProposeAt(t.Context(), r.id, 1, nil); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.start(t)
		// The first call after the restart may still meet the broken connection.
		_, err := p.ProposeAt(t.Context(), r.id, 1, nil)
		if err != nil && !errors.Is(err, outbound.ErrAmbiguous) && !errors.Is(err, outbound.ErrNotProposed) {
			t.Fatal(err)
		}
	}
}

func TestManyCallsShareOneConnection(t *testing.T) {
	r := newRemote(t)
	r.proposer.EXPECT().Propose(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
		func(_ context.Context, id shard.ID, _ []byte) ([]byte, error) { return []byte(id.String()), nil }).AnyTimes()
	p := r.peers(t)
	var work sync.WaitGroup
	for i := range 2 * workerrpc.CallsMax {
		work.Go(func() {
			for range 5 {
				got, err := p.ProposeAt(t.Context(), r.id, shard.ID(i), nil)
				if err != nil || string(got) != strconv.Itoa(i) {
					t.Errorf("outcome=%q, %v; want %d", got, err, i)
				}
			}
		})
	}
	work.Wait()
}

func testQuery(tb testing.TB, groupBy ...string) aggregate.Query {
	tb.Helper()
	name, err := metric.NewName("cpu")
	if err != nil {
		tb.Fatal(err)
	}
	window, err := aggregate.ParseWindow("1h")
	if err != nil {
		tb.Fatal(err)
	}
	matchers, err := metric.NewMatchers([]metric.Tag{{Key: "zone", Value: "ö"}})
	if err != nil {
		tb.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: name, Matchers: matchers, Window: window, GroupBy: groupBy})
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func TestPartials(t *testing.T) {
	r := newRemote(t)
	q := testQuery(t, "host")
	b := aggregate.NewBuilder(q)
	b.MarkKnown()
	for _, host := range []string{"", "a", "b"} {
		g, err := b.Group([]string{host})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range []float64{0.1, math.Copysign(0, -1), 1e308, 1e308} {
			if err := g.Add(metric.Timestamp(i*3_600_000_000-7_200_000_000), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := b.Table()
	fresh, err := consistency.FreshWithin(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p := r.peers(t)
	for _, requirement := range []consistency.Requirement{{}, consistency.Of(consistency.None), fresh} {
		read := consistency.Read{Shards: []shard.ID{3, 1}, Requirement: requirement}
		r.querier.EXPECT().Partials(gomock.Any(), read, gomock.Any()).DoAndReturn(
			func(_ context.Context, _ consistency.Read, got aggregate.Query) (aggregate.Table, error) {
				if got.Metric() != q.Metric() || got.Range() != q.Range() || got.Window().Width() != q.Window().Width() ||
					!cmp.Equal(got.GroupBy(), q.GroupBy()) || !cmp.Equal(got.Matchers().List(), q.Matchers().List()) {
					t.Errorf("query=%+v, want %+v", got, q)
				}
				return want, nil
			})
		got, err := p.PartialsAt(t.Context(), r.id, read, q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(aggregate.Partial{})); diff != "" {
			t.Errorf("table (-want +got):\n%s", diff)
		}
	}
}

func TestReadErrors(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	read := consistency.Read{Shards: []shard.ID{3}}
	failed := fault.New(fault.Unavailable, "no_leader", "shards 3 have no leader").WithDetail("shards", []uint32{3}).
		WithDetail("limit", 12).WithDetail("why", "x").WithRetryAfter(time.Second)
	r.querier.EXPECT().Partials(gomock.Any(), gomock.Any(), gomock.Any()).Return(aggregate.Table{}, fmt.Errorf("read: %w", failed))
	_, err := p.PartialsAt(t.Context(), r.id, read, testQuery(t))
	f := fault.From(err)
	if f.Kind() != fault.Unavailable || f.Code() != "no_leader" || f.Message() != failed.Message() || f.RetryAfter() != time.Second {
		t.Errorf("fault=%v", f)
	}
	want := []fault.Detail{{Name: "shards", Value: json.RawMessage("[3]")}, {Name: "limit", Value: 12}, {Name: "why", Value: "x"}}
	if diff := cmp.Diff(want, f.Details()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	// A query's own limits are told as such.
	r.querier.EXPECT().Partials(gomock.Any(), gomock.Any(), gomock.Any()).Return(aggregate.Table{}, aggregate.ErrTooManyGroups.WithDetail("limit", 1))
	if _, err = p.PartialsAt(t.Context(), r.id, read, testQuery(t)); !errors.Is(err, aggregate.ErrTooManyGroups) {
		t.Errorf("err=%v, want too many groups", err)
	}
	// A request without shards is refused before the querier is asked.
	if _, err = p.PartialsAt(t.Context(), r.id, consistency.Read{}, testQuery(t)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("err=%v, want invalid", err)
	}
	r.querier.EXPECT().Latest(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
		func(ctx context.Context, _ consistency.Read, _ metric.Name, _ metric.Matchers) (metric.Sample, bool, error) {
			<-ctx.Done()
			return metric.Sample{}, false, ctx.Err()
		})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err = p.LatestAt(ctx, r.id, read, testQuery(t).Metric(), metric.Matchers{}); fault.KindOf(err) != fault.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err=%v, want a timeout whose cause is the deadline", err)
	}
	r.stop()
	if _, err = p.PartialsAt(t.Context(), r.id, read, testQuery(t)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("err=%v, want unavailable", err)
	}
}

func TestPanicIsOneCallsError(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	r.querier.EXPECT().Partials(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
		func(context.Context, consistency.Read, aggregate.Query) (aggregate.Table, error) { panic("a defect") })
	if _, err := p.PartialsAt(t.Context(), r.id, consistency.Read{Shards: []shard.ID{1}}, testQuery(t)); fault.KindOf(err) != fault.Internal {
		t.Errorf("err=%v, want internal", err)
	}
}

func TestLatest(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	q := testQuery(t)
	series, err := metric.ParseSeriesKey(`cpu{host="a"}`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := metric.NewSample(series, -5, 75.5)
	if err != nil {
		t.Fatal(err)
	}
	read := consistency.Read{Shards: []shard.ID{1}, Requirement: consistency.Of(consistency.None)}
	r.querier.EXPECT().Latest(gomock.Any(), read, q.Metric(), q.Matchers()).Return(want, true, nil)
	got, found, err := p.LatestAt(t.Context(), r.id, read, q.Metric(), q.Matchers())
	if err != nil || !found || got.Series().Key() != series.Key() || got.Timestamp() != -5 || got.Value() != 75.5 {
		t.Errorf("sample=%v %v, %v", got, found, err)
	}
	r.querier.EXPECT().Latest(gomock.Any(), read, q.Metric(), q.Matchers()).Return(metric.Sample{}, false, nil)
	if _, found, err = p.LatestAt(t.Context(), r.id, read, q.Metric(), q.Matchers()); err != nil || found {
		t.Errorf("found=%v, %v", found, err)
	}
}

// instant answers at once.
type instant struct{}

func (instant) Propose(context.Context, shard.ID, []byte) ([]byte, error) {
	return []byte("outcome"), nil
}

func BenchmarkProposal(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) {
			r := newRemote(b)
			r.stop()
			r.plain = instant{}
			r.start(b)
			p := r.peers(b)
			command := make([]byte, 100)
			if _, err := p.ProposeAt(b.Context(), r.id, 1, command); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/2)) // times the processors of this machine
			if callers == 1 {
				for b.Loop() {
					if _, err := p.ProposeAt(b.Context(), r.id, 1, command); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.ProposeAt(b.Context(), r.id, 1, command); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
