package duckdb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// TestCanceledFlush gives up a flush at ever later moments: what was cut stays readable and in the
// end is stored once.
func TestCanceledFlush(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 10, 1000, 1)
	if err := s.Append(t.Context(), 0, columns(5000, 100_000, 2)); err != nil {
		t.Fatal(err)
	}
	s.Cut(0, outbound.AppliedState{Index: 2})
	given := 0
	for patience := 500 * time.Microsecond; ; patience += 500 * time.Microsecond {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		durable, err := s.Flush(ctx, 0)
		cancel()
		if count, _, e := totals(t, s, 0); e != nil || count != 101_000 {
			t.Fatalf("after %v: count=%d, %v, want 101000", patience, count, e)
		}
		if err == nil && durable == 2 {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) || durable != 1 {
			t.Fatalf("Flush within %v: %d, %v", patience, durable, err)
		}
		given++
	}
	t.Logf("given up %d times", given)
	stop(t, n)
	s = start(t, n)
	if state := open(t, s, 0); state.Index != 2 {
		t.Fatalf("at %d, want 2", state.Index)
	}
	if count, _, err := totals(t, s, 0); err != nil || count != 101_000 {
		t.Fatalf("count=%d, %v, want 101000", count, err)
	}
}

// TestCanceledQuery ends a query's context while its statement runs, and asks again.
func TestCanceledQuery(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{QueriesMax: 1}))
	open(t, s, 0)
	fill(t, s, 0, 10, 200_000, 1)
	for patience := 50 * time.Microsecond; ; patience *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := s.Partials(ctx, []shard.ID{0}, everything(t))
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("within %v: %v", patience, err)
		}
	}
	if count, _, err := totals(t, s, 0); err != nil || count != 200_000 {
		t.Fatalf("count=%d, %v, want 200000", count, err)
	}
}

// TestTooManyCells asks stored samples for more than an answer may hold.
func TestTooManyCells(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{}))
	open(t, s, 0)
	fill(t, s, 0, 200, 200_000, 1)
	window, err := aggregate.ParseWindow("1ms")
	if err != nil {
		t.Fatal(err)
	}
	for _, groups := range [][]string{nil, {"host"}} {
		q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: everything(t).Metric(), Window: window, GroupBy: groups})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Partials(t.Context(), []shard.ID{0}, q)
		switch f := fault.From(err); {
		case groups == nil && !errors.Is(err, aggregate.ErrTooManyWindows):
			t.Errorf("windows: %v", err)
		case groups != nil && err != nil && f.Kind() != fault.Unprocessable:
			t.Errorf("windows of groups: %v", err)
		}
	}
}
