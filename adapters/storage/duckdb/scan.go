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
)

const (
	// parallelMin is from how many samples on several processors scan.
	parallelMin = 1 << 17
	// stepMax is how many samples are added at one time, so that what is passed on stays in the
	// processor's nearest cache, and between two looks at the context.
	stepMax = 2048
)

// scan adds samples that are in memory: blocks are those of each portion's windows. With overlay what the
// memtable has of the portions' series comes with them, in order.
func (r *reading) scan(ctx context.Context, portions []portion, blocks [][]*warm.Block[warm.Column], overlay bool) error {
	workers := 1
	if samplesIn(blocks) >= parallelMin {
		workers = min(r.store.options.Threads, runtime.GOMAXPROCS(0))
	}
	if workers == 1 {
		return newScanner(r.query, r.builder, overlay).share(ctx, portions, blocks, 0, 1)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	builders, failures := make([]*aggregate.Builder, workers), make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		builders[w] = aggregate.NewBuilder(r.query)
		running.Go(func() {
			failures[w] = newScanner(r.query, builders[w], overlay).share(ctx, portions, blocks, w, workers)
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
		if err := r.builder.Merge(b.Table()); err != nil {
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
	stored []memtable.Point
	both   []memtable.Point
}

func newScanner(q aggregate.Query, b *aggregate.Builder, overlay bool) *scanner {
	return &scanner{query: q, builder: b, overlay: overlay, times: make([]int64, 0, stepMax), values: make([]float64, 0, stepMax)}
}

// share adds one of several shares of the series.
func (s *scanner) share(ctx context.Context, portions []portion, blocks [][]*warm.Block[warm.Column], n, of int) error {
	for i := range portions {
		p := &portions[i]
		cursors := make([]warm.Cursor[warm.Column], len(blocks[i]))
		for w, b := range blocks[i] {
			cursors[w] = b.Cursor()
		}
		columns := make([]*warm.Column, len(cursors))
		for _, id := range p.ids[len(p.ids)*n/of : len(p.ids)*(n+1)/of] {
			for w := range cursors {
				columns[w], _ = cursors[w].Find(id)
			}
			if err := s.series(ctx, p, id, columns); err != nil {
				return err
			}
		}
	}
	return nil
}

// series adds a series' samples in its columns, one for each of the portion's windows, which may be nil.
func (s *scanner) series(ctx context.Context, p *portion, id catalogue.SeriesID, columns []*warm.Column) error {
	if !s.overlay && empty(columns) {
		return nil
	}
	return s.seriesOf(ctx, p, id, len(columns), func(w int) (*warm.Column, error) { return columns[w], nil })
}

// seriesOf is series for columns that are made when their turn comes.
func (s *scanner) seriesOf(
	ctx context.Context, p *portion, id catalogue.SeriesID, windows int, column func(w int) (*warm.Column, error),
) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.recent, s.effects = nil, nil
	if s.overlay {
		s.recent, s.effects = p.view.Points(id, &s.points)
	}
	series, _ := p.view.Series().At(id)
	fold, err := s.builder.Fold(series)
	if err != nil {
		return err
	}
	for w := range windows {
		c, err := column(w)
		if err != nil {
			return err
		}
		if c == nil || c.Len() == 0 {
			continue
		}
		for _, piece := range p.spans {
			lo := c.From(0, piece.from)
			if hi := c.From(lo, piece.to+1); lo < hi {
				if err := s.addPiece(ctx, fold, c, lo, hi); err != nil {
					return err
				}
			}
		}
	}
	return s.addPoints(fold, s.recent)
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

func empty(columns []*warm.Column) bool {
	for _, c := range columns {
		if c != nil && c.Len() > 0 {
			return false
		}
	}
	return true
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
	for lo < hi {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		next := min(lo+stepMax, hi)
		if err := fold.AddAll(c.Times(lo, next, s.times), c.Values()[lo:next]); err != nil {
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
