package workerrpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func testStatus() []outbound.ShardStatus {
	return []outbound.ShardStatus{
		{Shard: 1, Leader: true, Serving: true, LeaderReplica: 9, Term: 3, Commit: 8, Applied: 7}, {Shard: 4, Learner: true},
	}
}

func TestStatus(t *testing.T) {
	r := newRemote(t)
	r.shards.EXPECT().Shards().Return(testStatus())
	if got, err := r.peers(t).Client(r.id).Status(t.Context()); err != nil || !cmp.Equal(got, testStatus()) {
		t.Errorf("status=%+v, %v", got, err)
	}
}

func TestReport(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	report := outbound.NodeReport{
		Node: newNode(t, "local", 1).ID(), Incarnation: 1, Address: "local:8080", Epoch: 5,
		Settled: []outbound.SettledGroup{{Group: cluster.MetaGroup(), Epoch: 2}, {Group: cluster.ShardGroup(3), Epoch: 4}},
		Damaged: []outbound.DamagedReplica{{Group: cluster.MetaGroup(), Epoch: 2}, {Group: cluster.ShardGroup(7), Epoch: 6}},
		Shards:  testStatus(), Clock: 1_700_000_000_000_000,
	}
	want := outbound.ReportReply{
		State: []byte("state"), Silent: []cluster.NodeID{newNode(t, "a", 1).ID(), newNode(t, "b", 1).ID()}, Clock: -5,
	}
	r.reports.EXPECT().Report(gomock.Any(), report).Return(want, nil)
	got, err := p.Report(t.Context(), r.id, report)
	if diff := cmp.Diff(want, got, cmp.Comparer(sameID)); err != nil || diff != "" {
		t.Errorf("%v, reply (-want +got):\n%s", err, diff)
	}
	r.reports.EXPECT().Report(gomock.Any(), report).Return(outbound.ReportReply{}, nil)
	if got, err = p.Report(t.Context(), r.id, report); err != nil || got.State != nil || got.Silent != nil {
		t.Errorf("reply=%+v, %v; want nothing new", got, err)
	}
	r.reports.EXPECT().Report(gomock.Any(), report).Return(outbound.ReportReply{}, outbound.ErrNotProposed)
	if _, err = p.Report(t.Context(), r.id, report); !errors.Is(err, outbound.ErrNotProposed) {
		t.Errorf("err=%v, want not proposed", err)
	}
	report.Incarnation = 2
	if _, err = p.Report(t.Context(), r.id, report); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("err=%v: a node reported as another", err)
	}
}

func sameID(a, b cluster.NodeID) bool { return a == b }

func TestReportsOfAnotherNode(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	want := []outbound.HeardReport{
		{Node: newNode(t, "a", 1).ID(), Age: 3 * time.Second, Shards: testStatus()},
		{Node: newNode(t, "b", 1).ID(), Age: time.Minute},
		{Node: newNode(t, "c", 1).ID(), Shards: []outbound.ShardStatus{}},
	}
	r.heard.EXPECT().Reports(gomock.Any()).Return(want, nil)
	got, err := p.ReportsAt(t.Context(), r.id)
	if diff := cmp.Diff(want, got, cmp.Comparer(sameID)); err != nil || diff != "" {
		t.Errorf("%v, reports (-want +got):\n%s", err, diff)
	}
	r.heard.EXPECT().Reports(gomock.Any()).Return(nil, outbound.ErrNotProposed)
	if _, err = p.ReportsAt(t.Context(), r.id); !errors.Is(err, outbound.ErrNotProposed) {
		t.Errorf("err=%v, want not proposed", err)
	}
}

func TestProposeMetaCarriesCommandAndOutcome(t *testing.T) {
	r := newRemote(t)
	r.meta.EXPECT().ProposeMeta(gomock.Any(), []byte("command")).Return([]byte("outcome"), nil)
	got, err := r.peers(t).ProposeMetaAt(t.Context(), r.id, []byte("command"))
	if err != nil || string(got) != "outcome" {
		t.Errorf("outcome=%q, %v", got, err)
	}
}

func TestFlushAndDigest(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	want := outbound.ReplicaDigest{Index: 12, Digest: []byte("digest")}
	r.flusher.EXPECT().Flush(gomock.Any()).Return(nil)
	r.digester.EXPECT().DigestAt(gomock.Any(), shard.ID(3), uint64(77)).Return(want, nil)
	if err := p.FlushAt(t.Context(), r.id); err != nil {
		t.Error(err)
	}
	if got, err := p.DigestAt(t.Context(), r.id, 3, 77); err != nil || !cmp.Equal(got, want) {
		t.Errorf("digest=%+v, %v", got, err)
	}
	r.flusher.EXPECT().Flush(gomock.Any()).Return(fmt.Errorf("flush: %w", fault.New(fault.DiskFull, "disk_full", "no room")))
	unknown := fault.New(fault.Unavailable, "mark_unknown", "no such mark").WithDetail("shard", 3)
	r.digester.EXPECT().DigestAt(gomock.Any(), shard.ID(3), uint64(78)).Return(outbound.ReplicaDigest{}, unknown)
	if err := p.FlushAt(t.Context(), r.id); fault.KindOf(err) != fault.DiskFull {
		t.Errorf("err=%v, want a full disk", err)
	}
	if _, err := p.DigestAt(t.Context(), r.id, 3, 78); fault.From(err).Code() != "mark_unknown" {
		t.Errorf("err=%v, want an unknown mark", err)
	}
	r.stop()
	if err := p.FlushAt(t.Context(), r.id); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("err=%v, want unavailable", err)
	}
}

// TestFlushOutlivesItsConnection breaks connections under flushes: one more call is made, and no more.
func TestFlushOutlivesItsConnection(t *testing.T) {
	for _, c := range []struct {
		breaks, calls int
		kind          fault.Kind // of the error, Internal for none
	}{{1, 2, fault.Internal}, {5, 2, fault.Unavailable}} {
		r := newRemote(t)
		p := r.peers(t)
		conns := make(chan net.Conn, c.calls)
		client := workerrpc.NewClient(r.id, func(ctx context.Context, purpose link.Purpose) (net.Conn, error) {
			conn, err := p.Dial(ctx, r.id, purpose)
			if err == nil {
				conns <- conn
			}
			return conn, err
		})
		calls := 0
		r.flusher.EXPECT().Flush(gomock.Any()).Times(c.calls).DoAndReturn(func(ctx context.Context) error {
			conn := <-conns
			if calls++; calls <= c.breaks {
				_ = conn.Close()
				<-ctx.Done()
			}
			return nil
		})
		if err := client.Flush(t.Context()); (err != nil) != (c.kind != fault.Internal) || err != nil && fault.KindOf(err) != c.kind {
			t.Errorf("%d connections broke: %v, want kind %d", c.breaks, err, c.kind)
		}
		client.Close()
		r.stop()
	}
}

// TestLongCallsHaveTheirCallersTime looks at the deadlines that flushes and digests arrive with, and at
// how they end when the caller gives up.
func TestLongCallsHaveTheirCallersTime(t *testing.T) {
	const allowed = time.Hour
	r := newRemote(t)
	p := r.peers(t)
	arrived, ended := make(chan time.Duration, 1), make(chan error, 1)
	answer := func(ctx context.Context) error {
		left := time.Duration(0)
		if deadline, ok := ctx.Deadline(); ok {
			left = time.Until(deadline)
		}
		arrived <- left
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	r.flusher.EXPECT().Flush(gomock.Any()).DoAndReturn(answer).Times(2)
	r.digester.EXPECT().DigestAt(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
		func(ctx context.Context, _ shard.ID, _ uint64) (outbound.ReplicaDigest, error) {
			return outbound.ReplicaDigest{}, answer(ctx)
		}).Times(2)
	for name, ask := range map[string]func(context.Context) error{
		"flush": func(ctx context.Context) error { return p.FlushAt(ctx, r.id) },
		"digest": func(ctx context.Context) error {
			_, err := p.DigestAt(ctx, r.id, 1, 2)
			return err
		},
	} {
		for _, timed := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			asking, release := ctx, context.CancelFunc(func() {})
			if timed {
				asking, release = context.WithTimeout(ctx, allowed)
			}
			failed := make(chan error, 1)
			go func() { failed <- ask(asking) }()
			left := <-arrived
			if !timed && left != 0 || timed && (left <= allowed/2 || left > allowed) {
				t.Errorf("%s, timed=%v, arrived with %v", name, timed, left)
			}
			cancel()
			if err := <-failed; fault.KindOf(err) != fault.Canceled {
				t.Errorf("%s given up: %v", name, err)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s at the other node ended with %v", name, err)
			}
			release()
		}
	}
}

func TestWhatIsNotServedIsUnavailable(t *testing.T) {
	r := newRemote(t)
	r.stop()
	r.bare = true
	r.start(t)
	p := r.peers(t)
	_, errMeta := p.ProposeMetaAt(t.Context(), r.id, nil)
	if !errors.Is(errMeta, outbound.ErrNotProposed) {
		t.Errorf("propose: %v, want not proposed", errMeta)
	}
	_, errHeard := p.ReportsAt(t.Context(), r.id)
	_, errDigest := p.DigestAt(t.Context(), r.id, 1, 1)
	for name, err := range map[string]error{
		"propose": errMeta, "reports": errHeard, "digest": errDigest, "flush": p.FlushAt(t.Context(), r.id),
	} {
		if f := fault.From(err); f.Kind() != fault.Unavailable || f.Code() != "not_served" {
			t.Errorf("%s: %v, want not served", name, err)
		}
	}
}
