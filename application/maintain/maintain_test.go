package maintain_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/maintain"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Maintainer over a real state machine and a disk that remembers what was cut, all within a
// synctest bubble, so that time passes at once.
type rig struct {
	t       *testing.T
	machine *apply.StateMachine
	started time.Time
	cancel  context.CancelFunc
	ended   chan error
	flusher *outboundmock.MockStateFlusher
	*maintain.Maintainer

	mu struct {
		sync.Mutex
		wants    map[shard.ID]bool
		cuts     map[shard.ID]uint64
		durable  map[shard.ID]uint64 // as told to the truncator
		failures []error
		running  int
		most     int
	}
}

func (r *rig) Now() time.Time                         { return time.Now() }
func (r *rig) Monotonic() time.Duration               { return time.Since(r.started) }
func (r *rig) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (r *rig) WantsCut(id shard.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.wants[id]
}

func (r *rig) Cut(id shard.ID, state outbound.AppliedState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.wants[id] = false
	r.mu.cuts[id] = state.Index
}

// flush makes the newest cut durable after the given time.
func (r *rig) flush(takes time.Duration) func(context.Context, shard.ID) (uint64, error) {
	return func(ctx context.Context, id shard.ID) (uint64, error) {
		r.mu.Lock()
		cut := r.mu.cuts[id]
		r.mu.running++
		r.mu.most = max(r.mu.most, r.mu.running)
		r.mu.Unlock()
		defer func() {
			r.mu.Lock()
			r.mu.running--
			r.mu.Unlock()
		}()
		select {
		case <-time.After(takes):
			return cut, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func newRig(t *testing.T, shards int) *rig {
	t.Helper()
	return newMergingRig(t, shards, nil)
}

func newMergingRig(t *testing.T, shards int, merger outbound.RunMerger) *rig {
	t.Helper()
	ctrl := gomock.NewController(t)
	r := &rig{t: t, started: time.Now(), ended: make(chan error, 1), flusher: outboundmock.NewMockStateFlusher(ctrl)}
	r.mu.wants, r.mu.cuts, r.mu.durable = map[shard.ID]bool{}, map[shard.ID]uint64{}, map[shard.ID]uint64{}
	r.machine = apply.New(apply.Options{Appender: outboundmock.NewMockSampleAppender(ctrl), Cutter: r})
	for id := range shard.ID(shards) {
		if err := r.machine.Restore(id, outbound.AppliedState{}); err != nil {
			t.Fatal(err)
		}
	}
	truncator := outboundmock.NewMockLogTruncator(ctrl)
	truncator.EXPECT().Durable(gomock.Any(), gomock.Any()).AnyTimes().Do(func(id shard.ID, index uint64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.mu.durable[id] = index
	})
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	r.Maintainer = maintain.New(maintain.Options{
		Machine: r.machine, Flusher: r.flusher, Merger: merger, Truncator: truncator, Clock: r, Timer: r,
		Failed: func(_ shard.ID, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.mu.failures = append(r.mu.failures, err)
		},
		MergeFailed: func(_ shard.ID, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.mu.failures = append(r.mu.failures, err)
		},
	})
	go func() { r.ended <- r.Run(ctx) }()
	return r
}

// apply applies an entry and lets what follows from it settle.
func (r *rig) apply(id shard.ID, wantsCut bool) {
	r.t.Helper()
	r.mu.Lock()
	r.mu.wants[id] = wantsCut
	r.mu.Unlock()
	entry := inbound.Entry{Index: r.machine.Applied(id) + 1, Term: 1}
	if _, err := r.machine.Apply(r.t.Context(), id, []inbound.Entry{entry}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r *rig) pass(d time.Duration) {
	time.Sleep(d) // the bubble's time
	synctest.Wait()
}

func (r *rig) wantDurable(id shard.ID, want uint64) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.mu.durable[id]; got != want {
		r.t.Fatalf("shard %v durable to %d, want %d", id, got, want)
	}
}

func (r *rig) stop() error {
	r.cancel()
	return <-r.ended
}

func TestGrownShardIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(time.Second))
		r.apply(1, true)
		r.pass(time.Second)
		r.wantDurable(1, 1)
		r.wantDurable(0, 0)
		r.apply(1, true)
		r.apply(1, true) // cut while the flush of the cut before runs
		r.pass(3 * time.Second)
		r.wantDurable(1, 3)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOldShardIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(0))
		r.apply(0, false)
		r.pass(maintain.AgeMaxDefault / 2)
		r.wantDurable(0, 0)
		r.pass(maintain.AgeMaxDefault/2 + 2*time.Second)
		r.wantDurable(0, 1)
		r.pass(maintain.AgeMaxDefault + 2*time.Second) // nothing new: nothing to do
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRestoredShardIsNotFlushedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		if err := r.machine.Restore(0, outbound.AppliedState{Index: 7, Term: 1}); err != nil {
			t.Fatal(err)
		}
		flushes := 0
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
			func(context.Context, shard.ID) (uint64, error) { flushes++; return 7, nil })
		r.pass(2*maintain.AgeMaxDefault + 4*time.Second)
		if flushes != 0 {
			t.Fatalf("%d flushes, want none", flushes)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailedFlushIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		broken := errors.New("no luck")
		var at []time.Duration
		r.flusher.EXPECT().Flush(gomock.Any(), shard.ID(0)).AnyTimes().DoAndReturn(
			func(ctx context.Context, id shard.ID) (uint64, error) {
				if at = append(at, r.Monotonic()); len(at) < 4 {
					return 0, broken
				}
				return r.flush(0)(ctx, id)
			})
		r.apply(0, true)
		r.pass(10 * time.Second)
		r.wantDurable(0, 1)
		if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}; !slices.Equal(at, want) {
			t.Fatalf("flushes at %v, want %v", at, want)
		}
		if len(r.mu.failures) != 3 || !errors.Is(r.mu.failures[0], broken) {
			t.Fatalf("told of %v, want 3 failures", r.mu.failures)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCorruptShardIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		corrupt := fault.New(fault.Corrupt, "file_corrupt", "broken")
		r.flusher.EXPECT().Flush(gomock.Any(), shard.ID(0)).Return(uint64(0), corrupt) // once
		r.flusher.EXPECT().Flush(gomock.Any(), shard.ID(1)).AnyTimes().DoAndReturn(r.flush(0))
		r.apply(0, true)
		r.apply(0, true)
		r.apply(1, true)
		r.pass(5 * time.Minute)
		r.wantDurable(1, 1)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFlushesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 9)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(time.Second))
		for id := range shard.ID(9) {
			r.apply(id, true)
		}
		r.pass(10 * time.Second)
		for id := range shard.ID(9) {
			r.wantDurable(id, 1)
		}
		if r.mu.most != maintain.FlushesMaxDefault {
			t.Fatalf("%d flushes at once, want %d", r.mu.most, maintain.FlushesMaxDefault)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStopFlushesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(time.Second))
		for id := range shard.ID(5) {
			r.apply(id, id == 0)
		}
		r.apply(0, false) // while its flush runs
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.wantDurable(0, 2)
		for id := shard.ID(1); id < 5; id++ {
			r.wantDurable(id, 1)
		}
	})
}

func TestStopTellsWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		broken := errors.New("no luck")
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).Return(uint64(0), broken)
		r.apply(0, false)
		if err := r.stop(); !errors.Is(err, broken) {
			t.Fatalf("Run=%v, want %v", err, broken)
		}
	})
}

func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(time.Hour))
		for id := range shard.ID(5) {
			r.apply(id, true)
		}
		r.apply(0, true)
		began := r.Monotonic()
		err := r.stop()
		if !errors.Is(err, context.Canceled) || r.Monotonic()-began != maintain.StopTimeoutDefault {
			t.Fatalf("Run=%v after %v, want the flushes canceled after %v", err, r.Monotonic()-began, maintain.StopTimeoutDefault)
		}
	})
}

func TestFlushOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(time.Second))
		r.apply(0, true) // its flush runs
		r.apply(0, false)
		r.apply(1, false)
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.wantDurable(0, 2)
		r.wantDurable(1, 1)
		if err := r.Flush(t.Context()); err != nil { // with nothing to do
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFlushOnRequestTellsWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		corrupt := fault.New(fault.Corrupt, "file_corrupt", "broken")
		r.flusher.EXPECT().Flush(gomock.Any(), shard.ID(0)).Return(uint64(0), corrupt) // once
		r.flusher.EXPECT().Flush(gomock.Any(), shard.ID(1)).AnyTimes().DoAndReturn(r.flush(0))
		r.apply(0, false)
		r.apply(1, false)
		if err := r.Flush(t.Context()); !errors.Is(err, corrupt) {
			t.Fatalf("Flush=%v, want %v", err, corrupt)
		}
		r.wantDurable(1, 1)
		if err := r.Flush(t.Context()); err == nil {
			t.Fatal("a flush of a damaged shard is no failure")
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFlushOnRequestOutlastsFailures: what passes by itself is nobody's failure, what stays is told with its
// reason after the third time in a row, long before the time is up; the next who asks is told at once.
func TestFlushOnRequestOutlastsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		full := fault.New(fault.DiskFull, "disk_full", "the disk is full")
		failures, flushes := 2, 0
		r.flusher.EXPECT().Flush(gomock.Any(), shard.ID(0)).AnyTimes().DoAndReturn(
			func(ctx context.Context, id shard.ID) (uint64, error) {
				if flushes++; flushes <= failures {
					return 0, full
				}
				return r.flush(0)(ctx, id)
			})
		f := func(fails int, want error, took time.Duration, tried int) {
			t.Helper()
			failures, flushes = fails, 0
			began := r.Monotonic()
			if err := r.Flush(t.Context()); !errors.Is(err, want) || r.Monotonic()-began != took || flushes != tried {
				t.Fatalf("Flush=%v after %v and %d flushes, want %v after %v and %d", err, r.Monotonic()-began, flushes, want, took, tried)
			}
		}
		r.apply(0, false)
		f(2, nil, 3*time.Second, 3)
		r.wantDurable(0, 1)
		r.apply(0, false)
		f(100, full, 3*time.Second, 3)
		f(100, full, 0, 1)
		f(0, nil, 0, 1)
		r.wantDurable(0, 2)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFlushOnRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(r.flush(time.Hour))
		r.apply(0, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Flush=%v, want the end of its time", err)
		}
		const more = 100
		answers := make(chan error, more)
		for range more {
			go func() { answers <- r.Flush(t.Context()) }()
		}
		synctest.Wait()
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Fatalf("Run=%v, want canceled flushes", err)
		}
		refused := 0
		for range more {
			err := <-answers
			if err == nil {
				t.Fatal("a flush that was cut off succeeded")
			}
			if fault.KindOf(err) == fault.Exhausted {
				refused++
			}
		}
		if refused == 0 || refused == more {
			t.Errorf("%d of %d flushes were refused, want some", refused, more)
		}
		if err := r.Flush(ctx); err == nil {
			t.Fatal("a flush succeeded after the end")
		}
	})
}
