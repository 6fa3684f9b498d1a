package contract

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Shape of the concurrent load.
const (
	loadBatches      = 400
	loadBatchSamples = 60
	loadCutEvery     = 25
	loadReaders      = 3
)

// testConcurrency appends batches of one sample each of some series while others flush and query:
// every query must hold whole batches, all that were acknowledged before it and none twice. A batch
// brings a new series now and then, so that half a batch would show there as well.
func testConcurrency(t env) {
	s := start(t, Options{}, 1)
	batches := make([][]sample, loadBatches)
	for b := range batches {
		for i := range loadBatchSamples {
			key := fmt.Sprintf(`m{h="%d",load="yes"}`, i+b/10)
			batches[b] = append(batches[b], sample{seriesOf(t, key), int64(b*7919%loadBatches) * second, 1})
		}
	}
	matched := aggregate.QuerySpec{Metric: nameOf(t, "m"), Matchers: matchersOf(t, metric.Tag{Key: "load", Value: "yes"})}
	l := &load{store: s.store, queries: []aggregate.Query{
		s.query(aggregate.QuerySpec{Metric: nameOf(t, "m")}), s.query(rampSpec(t)), s.query(matched),
	}}
	g, ctx := errgroup.WithContext(s.ctx)
	cuts := make(chan struct{}, 1)
	g.Go(func() error { return l.append(ctx, batches, cuts) })
	g.Go(func() error { return l.flush(ctx, cuts) })
	for range loadReaders {
		g.Go(func() error { return l.read(ctx) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var all []sample
	for _, b := range batches {
		all = append(all, b...)
	}
	s.check(rampSpec(t), all, 0)
	s.cut(0, loadBatches+1)
	s.flush(0, loadBatches+1)
	s.crash()
	s.begin(1)
	s.check(rampSpec(t), all, 0)
}

type load struct {
	store       Store
	queries     []aggregate.Query // which read all samples, each in its way
	begun, done atomic.Uint64     // samples whose append began, and is acknowledged
	finished    atomic.Bool
}

func (l *load) append(ctx context.Context, batches [][]sample, cuts chan<- struct{}) error {
	defer close(cuts)
	defer l.finished.Store(true)
	for i, b := range batches {
		l.begun.Add(uint64(len(b)))
		if err := l.store.Append(ctx, 0, columnsOf(b)); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		l.done.Add(uint64(len(b)))
		if i%loadCutEvery == 0 {
			l.store.Cut(0, stateAt(uint64(i+1)))
			select {
			case cuts <- struct{}{}:
			default: // The flusher is behind: this cut merges with the one before.
			}
		}
	}
	return nil
}

func (l *load) flush(ctx context.Context, cuts <-chan struct{}) error {
	for range cuts {
		if _, err := l.store.Flush(ctx, 0); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return nil
}

func (l *load) read(ctx context.Context) error {
	for round := 0; !l.finished.Load(); round++ {
		q := l.queries[round%len(l.queries)]
		low := l.done.Load()
		table, err := l.store.Partials(ctx, []shard.ID{0}, q)
		high := l.begun.Load()
		if err != nil {
			return fmt.Errorf("partials: %w", err)
		}
		count, sum := uint64(0), 0.0
		for _, g := range table.Groups {
			for _, c := range g.Cells {
				v, err := c.Partial.Sum()
				if err != nil {
					return fmt.Errorf("sum: %w", err)
				}
				count += c.Partial.Count()
				sum += v
			}
		}
		if count < low || count > high || count%loadBatchSamples != 0 || sum != float64(count) {
			return fmt.Errorf("a query saw %d samples that sum to %v, want whole batches of %d between %d and %d",
				count, sum, loadBatchSamples, low, high)
		}
		_, ok, err := l.store.Latest(ctx, []shard.ID{0}, q.Metric(), metric.Matchers{})
		if err != nil || (low > 0 && !ok) {
			return fmt.Errorf("latest: found %v after %d samples: %w", ok, low, err)
		}
	}
	return nil
}
