package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Shape of the load beside snapshots.
const (
	movesMax       = 6
	moveSamples    = 2_000 // a flush adds to the source
	moveSamplesOwn = 7     // a round adds to the receiver, not part of any snapshot
)

// testSnapshotsBesideQueries installs one snapshot after the other, made while the source is written,
// on a store that is queried all the while: every answer is of one content, never of two.
func testSnapshotsBesideQueries(t env) {
	from, to := start(t, Options{}, 1), start(t, Options{}, 2)
	q := from.query(aggregate.QuerySpec{Metric: nameOf(t, "m")})
	var finished atomic.Bool
	g, ctx := errgroup.WithContext(from.ctx)
	made := make(chan []byte)
	g.Go(func() error {
		defer close(made)
		return makeMoves(ctx, from, made)
	})
	g.Go(func() error {
		defer finished.Store(true)
		return takeMoves(ctx, from.store, to, made)
	})
	for range loadReaders {
		g.Go(func() error {
			for !finished.Load() {
				if err := readMoves(ctx, to.store, q); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	to.crash()
	if got := to.begin(2)[0]; !equalState(got, stateAt(movesMax)) {
		t.Fatalf("state=%+v, want %+v", got, stateAt(movesMax))
	}
	to.check(rampSpec(t), ramp(t, 0, movesMax*moveSamples), 0)
}

// makeMoves writes to a store, and makes a snapshot of each flush while the next samples come.
func makeMoves(ctx context.Context, from *subject, made chan<- []byte) error {
	for i := range movesMax {
		all := ramp(from, i*moveSamples, moveSamples)
		if err := from.store.Append(ctx, 0, columnsOf(all)); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		from.store.Cut(0, stateAt(uint64(i+1)))
		if _, err := from.store.Flush(ctx, 0); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		s, err := from.store.MakeSnapshot(ctx, 0)
		if err != nil {
			return fmt.Errorf("make: %w", err)
		}
		select {
		case made <- s.Manifest:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// takeMoves fetches and installs each snapshot, and writes to the receiver between them.
func takeMoves(ctx context.Context, from Store, to *subject, made <-chan []byte) error {
	for manifest := range made {
		own := ramp(to, 0, moveSamplesOwn)
		if err := to.store.Append(ctx, 0, columnsOf(own)); err != nil {
			return fmt.Errorf("append to the receiver: %w", err)
		}
		data, err := from.OpenSnapshot(ctx, 0, manifest)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		w, err := to.store.ReceiveSnapshot(ctx, 0, manifest)
		if err != nil {
			return errors.Join(err, data.Close())
		}
		if _, err := io.Copy(w, data); err != nil {
			return errors.Join(err, data.Close(), w.Abort())
		}
		if err := errors.Join(data.Close(), w.Commit(ctx)); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if _, err := to.store.InstallSnapshot(ctx, 0, manifest); err != nil {
			return fmt.Errorf("install: %w", err)
		}
	}
	return nil
}

// readMoves asks two shards at once: the one answers with whole flushes and, at most, one round of the
// receiver's own samples; a retryable error is allowed.
func readMoves(ctx context.Context, store Store, q aggregate.Query) error {
	table, err := store.Partials(ctx, []shard.ID{0, 1}, q)
	if err != nil && fault.KindOf(err) == fault.Unavailable {
		return nil
	}
	if err != nil {
		return fmt.Errorf("partials: %w", err)
	}
	count := uint64(0)
	for _, g := range table.Groups {
		for _, c := range g.Cells {
			count += c.Partial.Count()
		}
	}
	if own := count % moveSamples; own != 0 && own != moveSamplesOwn {
		return fmt.Errorf("a query saw %d samples, want whole flushes of %d and perhaps %d", count, moveSamples, moveSamplesOwn)
	}
	return nil
}
