package duckdb

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// parallelMin is from how many samples on several processors scan.
	parallelMin = 1 << 17
	// stepMax is how many samples are added at one time, so that what is passed on stays in the
	// processor's nearest cache, and between two looks at the context.
	stepMax = 2048
)

// decoded is what is in memory of portions, by portion and window.
type decoded struct {
	portions []portion
	samples  [][]*warm.Block[warm.Column]
	hours    [][]*warm.Block[warm.Hours] // of the same windows, or nil
}

// scan adds samples that are in memory. With overlay what the memtable has of the portions' series comes
// with them, in order.
func (r *reading) scan(ctx context.Context, in decoded, overlay bool) error {
	workers := 1
	if samplesIn(in.samples) >= parallelMin {
		workers = min(r.store.options.Threads, runtime.GOMAXPROCS(0))
	}
	if workers == 1 {
		return newScanner(r.query, r.builder, overlay).share(ctx, in, 0, 1)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	builders, failures := make([]*aggregate.Builder, workers), make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		builders[w] = r.builder.Branch()
		running.Go(func() {
			failures[w] = newScanner(r.query, builders[w], overlay).share(ctx, in, w, workers)
			if failures[w] != nil {
				cancel(failures[w])
			}
		})
	}
	running.Wait()
	if err := errors.Join(failures...); err != nil {
		return context.Cause(ctx)
	}
	for _, b := range builders {
		if err := r.builder.Absorb(b); err != nil {
			return err
		}
	}
	return nil
}

func samplesIn(blocks [][]*warm.Block[warm.Column]) (n int64) {
	for _, of := range blocks {
		for _, b := range of {
			n += b.Bytes() / 8
		}
	}
	return n
}

// scanner adds columns to a builder, on one goroutine.
type scanner struct {
	query   aggregate.Query
	builder *aggregate.Builder
	overlay bool

	recent  []memtable.Point // of the series, in memory and not added yet
	effects []memtable.Effect

	times  []int64
	values []float64
	points memtable.Points
	parts  catalogue.Parts
	stored []memtable.Point
	both   []memtable.Point
}

func newScanner(q aggregate.Query, b *aggregate.Builder, overlay bool) *scanner {
	return &scanner{query: q, builder: b, overlay: overlay, times: make([]int64, 0, stepMax), values: make([]float64, 0, stepMax)}
}

// share adds one of several shares of the series.
func (s *scanner) share(ctx context.Context, in decoded, n, of int) error {
	for i := range in.portions {
		p := &in.portions[i]
		columns := cursors(in.samples[i])
		var hours []warm.Cursor[warm.Hours]
		if in.hours != nil {
			hours = cursors(in.hours[i])
		}
		for _, id := range p.ids[len(p.ids)*n/of : len(p.ids)*(n+1)/of] {
			err := s.seriesOf(ctx, p, id, len(columns), func(w int) (c *warm.Column, h *warm.Hours, err error) {
				if c, _ = columns[w].Find(id); c != nil && hours != nil {
					h, _ = hours[w].Find(id)
				}
				return c, h, nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func cursors[T warm.Content](blocks []*warm.Block[T]) []warm.Cursor[T] {
	all := make([]warm.Cursor[T], len(blocks))
	for i, b := range blocks {
		all[i] = b.Cursor()
	}
	return all
}

// seriesOf adds a series' samples in the columns that column returns for each of the portion's windows,
// nil for none, with the series' hours there if they are known.
func (s *scanner) seriesOf(
	ctx context.Context, p *portion, id catalogue.SeriesID, windows int,
	column func(w int) (*warm.Column, *warm.Hours, error),
) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.recent, s.effects = nil, nil
	if s.overlay {
		s.recent, s.effects = p.view.Points(id, &s.points)
	}
	var fold *aggregate.Fold
	for w := range windows {
		c, hours, err := column(w)
		if err != nil {
			return err
		}
		if c == nil || c.Len() == 0 {
			continue
		}
		if fold == nil {
			if fold, err = s.fold(p, id); err != nil {
				return err
			}
		}
		if err := s.window(ctx, fold, p.spans, c, hours); err != nil {
			return err
		}
	}
	if len(s.recent) == 0 {
		return nil
	}
	if fold == nil {
		var err error
		if fold, err = s.fold(p, id); err != nil {
			return err
		}
	}
	return s.addPoints(fold, s.recent)
}

func (s *scanner) fold(p *portion, id catalogue.SeriesID) (*aggregate.Fold, error) {
	return p.view.Fold(s.builder, id, &s.parts)
}

// window adds what a column has in spans.
func (s *scanner) window(ctx context.Context, fold *aggregate.Fold, spans []span, c *warm.Column, hours *warm.Hours) error {
	for _, piece := range spans {
		lo := c.From(0, piece.from)
		hi := c.From(lo, piece.to+1)
		if lo == hi {
			continue
		}
		var err error
		if hours != nil {
			err = s.addHours(ctx, fold, piece, c, lo, hi, *hours)
		} else {
			err = s.addPiece(ctx, fold, c, lo, hi)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addHours adds samples lo to hi, exclusive, of a column, hour by hour: the samples themselves only
// where the hour's partial does not tell what they add.
func (s *scanner) addHours(ctx context.Context, fold *aggregate.Fold, piece span, c *warm.Column, lo, hi int, hours warm.Hours) error {
	for i := range hours {
		h := &hours[i]
		if h.Start+hourMicros <= piece.from {
			continue
		}
		if h.Start > piece.to {
			break
		}
		next := min(hi, c.From(lo, h.Start+hourMicros))
		if uint64(next-lo) == h.Partial.Count() {
			enough, err := fold.AddBucket(metric.Timestamp(h.Start), h.Partial)
			if err != nil {
				return err
			}
			if enough {
				lo = next
				continue
			}
		}
		if err := s.addColumn(ctx, fold, c, lo, next); err != nil {
			return err
		}
		lo = next
	}
	return nil
}

// addPiece adds samples lo to hi, exclusive, of a column, and of memory what comes before and between.
func (s *scanner) addPiece(ctx context.Context, fold *aggregate.Fold, c *warm.Column, lo, hi int) error {
	before := upTo(s.recent, c.At(lo)-1)
	during := before + upTo(s.recent[before:], c.At(hi-1))
	if err := s.addPoints(fold, s.recent[:before]); err != nil {
		return err
	}
	recent, effects := s.recent[before:during], s.effects
	s.recent = s.recent[during:]
	if effects != nil {
		effects, s.effects = effects[before:during], effects[during:]
	}
	if len(recent) == 0 {
		return s.addColumn(ctx, fold, c, lo, hi)
	}
	return s.addBoth(fold, c, lo, hi, recent, effects)
}

// upTo returns how many of points, ascending, are not after at.
func upTo(points []memtable.Point, at int64) int {
	n := 0
	for n < len(points) && points[n].At <= at {
		n++
	}
	return n
}

// addColumn adds samples lo to hi, exclusive, of a column.
func (s *scanner) addColumn(ctx context.Context, fold *aggregate.Fold, c *warm.Column, lo, hi int) error {
	window, ordered := s.query.Window(), s.query.Ordered()
	for lo < hi {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		next := min(lo+stepMax, hi)
		var err error
		if ordered {
			err = fold.AddAll(c.Times(lo, next, s.times), c.Values()[lo:next])
		} else {
			at := metric.Timestamp(c.At(lo))
			if !window.IsZero() {
				next = min(next, c.From(lo, int64(window.End(window.Start(at)))))
			}
			err = fold.AddWithin(at, c.Values()[lo:next])
		}
		if err != nil {
			return err
		}
		lo = next
	}
	return nil
}

// addPoints adds samples from memory.
func (s *scanner) addPoints(fold *aggregate.Fold, points []memtable.Point) error {
	for len(points) > 0 {
		n := min(len(points), stepMax)
		times, values := s.times[:0], s.values[:0]
		for _, p := range points[:n] {
			times, values = append(times, p.At), append(values, p.Value)
		}
		if err := fold.AddAll(times, values); err != nil {
			return err
		}
		points = points[n:]
	}
	return nil
}

// addBoth adds samples of a column and of memory that lie in the same piece of time.
func (s *scanner) addBoth(fold *aggregate.Fold, c *warm.Column, lo, hi int, recent []memtable.Point, effects []memtable.Effect) error {
	s.stored = s.stored[:0]
	for i := lo; i < hi; i++ {
		s.stored = append(s.stored, memtable.Point{At: c.At(i), Value: c.Values()[i]})
	}
	s.both = memtable.Overlay(s.both, s.stored, recent, effects)
	return s.addPoints(fold, s.both)
}
