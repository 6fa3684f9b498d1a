package ingest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func kindOf(data []byte) command.Kind { return command.Kind(data[1]) }

// times fails the first n proposals of a kind, before or after they were applied.
func times(n int, kind command.Kind, after bool, err error) func(context.Context, shard.ID, []byte, bool) error {
	var mu sync.Mutex
	return func(_ context.Context, _ shard.ID, data []byte, applied bool) error {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 || kindOf(data) != kind || applied != after {
			return nil
		}
		n--
		return err
	}
}

func TestRetriesAreExact(t *testing.T) {
	full := fault.New(fault.Exhausted, "proposal_queue_full", "full")
	for name, fail := range map[string]func(context.Context, shard.ID, []byte, bool) error{
		"not proposed":               times(5, command.Write, false, outbound.ErrNotProposed),
		"queue full":                 times(3, command.Write, false, full),
		"in doubt, not applied":      times(3, command.Write, false, outbound.ErrAmbiguous),
		"in doubt, applied":          times(3, command.Write, true, outbound.ErrAmbiguous),
		"register not proposed":      times(3, command.Register, false, outbound.ErrNotProposed),
		"register in doubt, applied": times(3, command.Register, true, outbound.ErrAmbiguous),
		"begin in doubt, applied":    times(3, command.Begin, true, outbound.ErrAmbiguous),
		"finish in doubt, applied":   times(3, command.Finish, true, outbound.ErrAmbiguous),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 4)
				n.onPropose(fail)
				for i, batch := 0, observations(t, 30); i < 2; i++ {
					req := inbound.RecordRequest{Observations: batch}
					if i == 1 {
						req.Idempotency = &inbound.Idempotency{Key: "k"}
					}
					if _, err := n.recorder.Record(t.Context(), req); err != nil {
						t.Fatal(err)
					}
					n.wantSamples(t, batch, i+1)
				}
			})
		})
	}
}

func TestDeadlines(t *testing.T) {
	f := func(name string, samples int, fail func(context.Context, shard.ID, []byte, bool) error, code string, want ...fault.Detail) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				n.onPropose(fail)
				began := time.Now()
				_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: observations(t, samples)})
				wantFault(t, err, fault.Unavailable, code, want...)
				if fault.From(err).RetryAfter() == 0 {
					t.Error("no advice when to try again")
				}
				if took := time.Since(began); took != ingest.TimeoutDefault {
					t.Errorf("took %v, want %v", took, ingest.TimeoutDefault)
				}
			})
		})
	}
	always := func(kind command.Kind, after bool, err error) func(context.Context, shard.ID, []byte, bool) error {
		return times(1<<30, kind, after, err)
	}
	shards := fault.Detail{Name: "shards", Value: []uint32{0}}
	unknown := fault.Detail{Name: "unknown", Value: 3}
	f("no leader for the session", 3, always(command.Register, false, outbound.ErrNotProposed), "no_leader", shards)
	f("no leader for the write", 3, always(command.Write, false, outbound.ErrNotProposed), "no_leader", shards)
	f("in doubt", 3, always(command.Write, true, outbound.ErrAmbiguous), "write_timeout", shards, unknown)
	f("session in doubt", 3, always(command.Register, true, outbound.ErrAmbiguous), "write_timeout", shards)
	f("stuck", 3, func(ctx context.Context, _ shard.ID, data []byte, _ bool) error {
		if kindOf(data) != command.Write {
			return nil
		}
		<-ctx.Done()
		return outbound.ErrAmbiguous
	}, "write_timeout", unknown)
}

func TestQueueFullUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		n.onPropose(times(1<<30, command.Write, false, fault.New(fault.Exhausted, "proposal_queue_full", "full")))
		_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: observations(t, 1)})
		wantFault(t, err, fault.Exhausted, "proposal_queue_full")
	})
}

func TestNonsenseIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		o := n.options()
		o.Proposer = proposer(func(ctx context.Context, id shard.ID, data []byte) ([]byte, error) {
			if kindOf(data) == command.Write {
				return []byte("nonsense"), nil
			}
			return n.Propose(ctx, id, data)
		})
		_, err := ingest.New(o).Record(t.Context(), inbound.RecordRequest{Observations: observations(t, 2)})
		wantFault(t, err, fault.Unavailable, "write_timeout", fault.Detail{Name: "unknown", Value: 2})
	})
}

type proposer func(ctx context.Context, id shard.ID, data []byte) ([]byte, error)

func (p proposer) Propose(ctx context.Context, id shard.ID, data []byte) ([]byte, error) {
	return p(ctx, id, data)
}

// answer is a proposer that gives every command of a kind the same verdict.
func answer(n *node, kind command.Kind, v command.Verdict) proposer {
	return func(ctx context.Context, id shard.ID, data []byte) ([]byte, error) {
		if kindOf(data) == kind {
			return command.AppendOutcome(nil, command.Outcome{Verdict: v}), nil
		}
		return n.Propose(ctx, id, data)
	}
}

func TestVerdictsBecomeErrors(t *testing.T) {
	f := func(kind command.Kind, v command.Verdict, want fault.Kind, code string, details ...fault.Detail) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, 1)
			o := n.options()
			o.Proposer = answer(n, kind, v)
			req := inbound.RecordRequest{Observations: observations(t, 2), Idempotency: &inbound.Idempotency{Key: "k"}}
			_, err := ingest.New(o).Record(t.Context(), req)
			wantFault(t, err, want, code, details...)
		})
	}
	shards := fault.Detail{Name: "shards", Value: []uint32{0}}
	f(command.Register, command.SessionsFull, fault.Exhausted, "session_window_full")
	f(command.Register, command.Malformed, fault.Internal, "malformed_command")
	f(command.Begin, command.KeysFull, fault.Exhausted, "idempotency_window_full")
	f(command.Begin, command.KeyReused, fault.Unprocessable, "idempotency_key_reused")
	f(command.Begin, command.SessionUnknown, fault.Unavailable, "write_timeout", shards)
	f(command.Write, command.KeyExpired, fault.Conflict, "idempotency_key_expired")
	f(command.Write, command.SequenceAhead, fault.Unavailable, "outcome_unknown", fault.Detail{Name: "unknown", Value: 2})
}

func TestFailedFinishIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 2)
		n.onPropose(times(1<<30, command.Finish, false, outbound.ErrNotProposed))
		batch := observations(t, 10)
		req := inbound.RecordRequest{Observations: batch, Idempotency: &inbound.Idempotency{Key: "k"}}
		for range 2 {
			if reply, err := n.recorder.Record(t.Context(), req); err != nil || reply.Stored != 10 {
				t.Fatalf("Record=%+v, %v", reply, err)
			}
		}
		n.wantSamples(t, batch, 1)
	})
}

// TestDoubtBesideOtherShards has one shard of several in doubt: the error counts each kind.
func TestDoubtBesideOtherShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 4)
		batch := observations(t, 50)
		lost, refused := n.shards.Of(batch[0].Series()), n.shards.Of(batch[5].Series())
		inDoubt, not := 0, 0
		for _, o := range batch {
			switch n.shards.Of(o.Series()) {
			case lost:
				inDoubt++
			case refused:
				not++
			}
		}
		if not == 0 || inDoubt+not == len(batch) {
			t.Fatalf("choose other series: %d in doubt, %d refused", inDoubt, not)
		}
		n.onPropose(func(_ context.Context, id shard.ID, data []byte, applied bool) error {
			switch {
			case kindOf(data) == command.Write && id == lost && applied:
				return outbound.ErrAmbiguous
			case kindOf(data) == command.Write && id == refused:
				return outbound.ErrNotProposed
			}
			return nil
		})
		_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
		wantFault(t, err, fault.Unavailable, "write_timeout",
			fault.Detail{Name: "stored", Value: len(batch) - inDoubt - not},
			fault.Detail{Name: "not_stored", Value: not}, fault.Detail{Name: "unknown", Value: inDoubt})
		if got := fmt.Sprint(fault.From(err).Details()); !strings.Contains(got, fmt.Sprint([]uint32{uint32(min(lost, refused)), uint32(max(lost, refused))})) {
			t.Fatalf("details %v do not name shards %v and %v", got, lost, refused)
		}
	})
}

func TestCallerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		n.onPropose(times(1<<30, command.Write, false, outbound.ErrNotProposed))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := n.recorder.Record(ctx, inbound.RecordRequest{Observations: observations(t, 1)})
		wantFault(t, err, fault.Canceled, "canceled")
	})
}

// TestWaitingForARegistrationTellsWhy has a write wait for the session that another cannot open.
func TestWaitingForARegistrationTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		n.onPropose(times(1<<30, command.Register, false, outbound.ErrNotProposed))
		batch := observations(t, 1)
		failures := make(chan error, 3)
		for range cap(failures) {
			go func() {
				_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
				failures <- err
			}()
		}
		for range cap(failures) {
			wantFault(t, <-failures, fault.Unavailable, "no_leader", fault.Detail{Name: "shards", Value: []uint32{0}})
		}
	})
}

// TestRegistrationIsHandedOver has the write that registers the session for all give up.
func TestRegistrationIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		registering := 0
		n.onPropose(func(ctx context.Context, _ shard.ID, data []byte, applied bool) error {
			if kindOf(data) != command.Register || applied {
				return nil
			}
			if registering++; registering == 1 {
				<-ctx.Done()
				return outbound.ErrAmbiguous
			}
			return nil
		})
		batch := observations(t, 1)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		failure := make(chan error, 1)
		go func() {
			_, err := n.recorder.Record(short, inbound.RecordRequest{Observations: batch})
			failure <- err
		}()
		synctest.Wait()
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				if _, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch}); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		wantFault(t, <-failure, fault.Unavailable, "write_timeout", fault.Detail{Name: "shards", Value: []uint32{0}})
		n.wantSamples(t, batch, 3)
		if registering != 2 {
			t.Fatalf("%d registrations, want 2", registering)
		}
	})
}

// TestWindowBoundsASession stalls the first command of a session: the others fill the window, the
// rest waits until there is room, or gives up at its deadline without having been proposed.
func TestWindowBoundsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		stalled := make(chan struct{})
		writes := 0
		n.onPropose(func(_ context.Context, _ shard.ID, data []byte, applied bool) error {
			if kindOf(data) != command.Write || applied {
				return nil
			}
			n.mu.Lock()
			writes++
			first := writes == 1
			n.mu.Unlock()
			if first {
				<-stalled
			}
			return nil
		})
		batch := observations(t, 1)
		record := func(ctx context.Context) error {
			_, err := n.recorder.Record(ctx, inbound.RecordRequest{Observations: batch})
			return err
		}
		var writers sync.WaitGroup
		writers.Go(func() {
			if err := record(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range command.WindowMax - 1 {
			if err := record(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantFault(t, record(short), fault.Unavailable, "write_timeout", fault.Detail{Name: "shards", Value: []uint32{0}})
		writers.Go(func() {
			if err := record(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(stalled)
		writers.Wait()
		n.wantSamples(t, batch, command.WindowMax+1)
	})
}

func TestWritesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		o := n.options()
		o.WritesMax = 1
		r := ingest.New(o)
		stalled := make(chan struct{})
		n.onPropose(func(context.Context, shard.ID, []byte, bool) error { <-stalled; return nil })
		req := inbound.RecordRequest{Observations: observations(t, 1)}
		var writers sync.WaitGroup
		writers.Go(func() {
			if _, err := r.Record(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		_, err := r.Record(t.Context(), req)
		wantFault(t, err, fault.Exhausted, "writes_in_flight", fault.Detail{Name: "limit", Value: 1})
		close(stalled)
		writers.Wait()
		if _, err := r.Record(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEndedBeforePreparedStoresNothing(t *testing.T) {
	w := ingest.NewWrite(inbound.RecordRequest{Observations: observations(t, 1)}, 1)
	shards, err := shard.NewMap(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	g := ingest.NewGateway(shards, stub{})
	effects := g.Step(ingest.Event{Kind: ingest.Submitted, Write: w}, nil)
	if len(effects) != 1 || effects[0].Kind != ingest.Prepare {
		t.Fatalf("effects %+v", effects)
	}
	w.Prepare(shards, nil)
	effects = g.Step(ingest.Event{Kind: ingest.Ended, Write: w, Err: context.Canceled}, nil)
	if len(effects) != 1 || effects[0].Kind != ingest.Done {
		t.Fatalf("effects %+v", effects)
	}
	_, err = w.Result()
	wantFault(t, err, fault.Canceled, "canceled")
	for _, late := range []ingest.EventKind{ingest.Prepared, ingest.Ended} {
		if effects := g.Step(ingest.Event{Kind: late, Write: w, Err: context.Canceled}, nil); len(effects) != 0 {
			t.Fatalf("effects after the end: %+v", effects)
		}
	}
	if !strings.Contains(err.Error(), "gave the write up") {
		t.Fatal(err)
	}
}
