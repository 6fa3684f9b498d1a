package contract

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Shape of the load: forgetSeries of forgetTimes samples each are written, replaced and deleted.
const (
	forgetRounds = 60
	forgetSeries = 3
	forgetTimes  = 40
)

// testForgetConcurrency writes the same samples again and again, each time with another value, and deletes
// them now and then, while others flush, merge and query: every query must see all samples of one round,
// or none, but never some of each.
func testForgetConcurrency(t env) {
	s := start(t, Options{}, 1)
	l := &forgetLoad{subject: s, query: s.query(aggregate.QuerySpec{Metric: nameOf(t, "m")})}
	for h := range forgetSeries {
		for i := range forgetTimes {
			l.samples = append(l.samples, sample{seriesOf(t, fmt.Sprintf(`m{h="%d"}`, h)), int64(i) * 600 * second, 0})
		}
	}
	g, ctx := errgroup.WithContext(s.ctx)
	done, cuts := make(chan struct{}), make(chan struct{}, 1)
	g.Go(func() error {
		defer close(done)
		return l.write(ctx, cuts)
	})
	g.Go(func() error { return l.tidy(ctx, cuts) })
	for range loadReaders {
		g.Go(func() error { return l.read(ctx, done) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	s.cut(0, forgetRounds+1)
	s.flush(0, forgetRounds+1)
	s.crash()
	s.begin(1)
	s.check(aggregate.QuerySpec{Metric: nameOf(t, "m"), GroupBy: []string{"h"}}, l.samples, 0)
}

type forgetLoad struct {
	*subject
	query   aggregate.Query
	samples []sample
}

func (l *forgetLoad) write(ctx context.Context, cuts chan<- struct{}) error {
	defer close(cuts)
	everything := outbound.Deletion{Metric: l.query.Metric(), Range: aggregate.Everything()}
	for round := 1; round <= forgetRounds; round++ {
		for i := range l.samples {
			l.samples[i].value = float64(round)
		}
		c := columnsOf(l.samples)
		c.Replace = true
		if err := l.store.Append(ctx, 0, c); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		if round%3 == 0 {
			l.store.Cut(0, stateAt(uint64(round)))
			select {
			case cuts <- struct{}{}:
			default: // A flush is due already.
			}
		}
		if round%7 == 0 {
			if existed, err := l.store.Delete(ctx, 0, everything); err != nil || !existed {
				return fmt.Errorf("delete: existed=%v, %w", existed, err)
			}
		}
	}
	return nil
}

// tidy flushes and merges.
func (l *forgetLoad) tidy(ctx context.Context, cuts <-chan struct{}) error {
	for range cuts {
		if _, err := l.store.Flush(ctx, 0); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if _, err := l.store.Merge(ctx, 0, true); err != nil {
			return fmt.Errorf("merge: %w", err)
		}
	}
	return nil
}

func (l *forgetLoad) read(ctx context.Context, done <-chan struct{}) error {
	for last := 0.0; ; {
		table, err := l.store.Partials(ctx, []shard.ID{0}, l.query)
		if err != nil {
			return fmt.Errorf("partials: %w", err)
		}
		if table.SeriesKnown != (len(table.Groups) > 0) {
			return fmt.Errorf("known=%v of %d groups", table.SeriesKnown, len(table.Groups))
		}
		for _, g := range table.Groups {
			p := g.Cells[0].Partial
			if p.Count() != uint64(len(l.samples)) || p.Min() != p.Max() || p.Min() < last {
				return fmt.Errorf("%d samples from %v to %v after round %v, want %d of one round",
					p.Count(), p.Min(), p.Max(), last, len(l.samples))
			}
			last = p.Min()
		}
		newest, ok, err := l.store.Latest(ctx, []shard.ID{0}, l.query.Metric(), metric.Matchers{})
		if err != nil {
			return fmt.Errorf("latest: %w", err)
		}
		if ok && (newest.Timestamp() != metric.Timestamp((forgetTimes-1)*600*second) || newest.Value() < last) {
			return fmt.Errorf("the newest is %v at %d after round %v", newest.Value(), newest.Timestamp(), last)
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}
