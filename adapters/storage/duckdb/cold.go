package duckdb

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
)

// coldMax bounds the samples that one step of a question reads that is not answered from the cache, but
// for those of one series in one window of time.
const coldMax = 1 << 19

// coldStepsMax bounds the cold steps that run at one time.
const coldStepsMax = 2

// scanCold reads the samples of portions step by step and adds them, without keeping any.
func (r *reading) scanCold(ctx context.Context, portions []portion, overlay bool) error {
	counts, err := r.store.count(ctx, portions)
	if err != nil {
		return err
	}
	var step []portion
	room := int64(coldMax)
	flush := func() error {
		err := r.coldStep(ctx, step, overlay)
		step, room = nil, coldMax
		return err
	}
	for i := range portions {
		p := &portions[i]
		first := 0
		for k := range p.ids {
			n := counts[i][k]
			if n > room && (k > first || len(step) > 0) {
				if k > first {
					step = append(step, p.of(p.ids[first:k]))
				}
				if err := flush(); err != nil {
					return err
				}
				first = k
			}
			if n <= coldMax {
				room -= n
				continue
			}
			if err := r.coldSeries(ctx, p.of(p.ids[k:k+1]), overlay); err != nil {
				return err
			}
			first = k + 1
		}
		if first < len(p.ids) {
			step = append(step, p.of(p.ids[first:]))
		}
	}
	return flush()
}

// of returns the portion with fewer series.
func (p *portion) of(ids []catalogue.SeriesID) portion {
	some := *p
	some.ids = ids
	return some
}

// streams reports whether samples of the file can be added as they come.
func (r *reading) streams(overlay bool) bool { return !overlay && !r.query.Ordered() }

// coldStep reads some series whole.
func (r *reading) coldStep(ctx context.Context, portions []portion, overlay bool) error {
	if len(portions) == 0 {
		return nil
	}
	release, err := r.store.awaitCold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if r.streams(overlay) {
		return r.store.run(ctx, portions, newStreaming(r, portions))
	}
	load, err := r.store.loadSamples(ctx, portions)
	if err != nil {
		return err
	}
	blocks := make([][]*warm.Block[warm.Column], len(portions))
	for i := range portions {
		blocks[i] = load.blocks(i, portions[i].windows())
	}
	return r.scan(ctx, decoded{portions: portions, samples: blocks}, overlay)
}

// coldSeries reads one long series, window by window.
func (r *reading) coldSeries(ctx context.Context, p portion, overlay bool) error {
	release, err := r.store.awaitCold(ctx)
	if err != nil {
		return err
	}
	defer release()
	windows := p.windows()
	if r.streams(overlay) {
		for _, w := range windows {
			part := []portion{p.inWindow(w)}
			if err := r.store.run(ctx, part, newStreaming(r, part)); err != nil {
				return err
			}
		}
		return nil
	}
	s := newScanner(r.query, r.builder, overlay)
	return s.seriesOf(ctx, &p, p.ids[0], len(windows), func(w int) (*warm.Column, *warm.Hours, error) {
		part := p.inWindow(windows[w])
		load, err := r.store.loadSamples(ctx, []portion{part})
		if err != nil {
			return nil, nil, err
		}
		cursor := load.blocks(0, windows[w:w+1])[0].Cursor()
		column, _ := cursor.Find(p.ids[0])
		return column, nil, nil
	})
}

// inWindow returns the portion with only those of its spans' pieces that lie in a window that they touch.
func (p *portion) inWindow(w window) portion {
	part := *p
	part.spans = nil
	for _, piece := range p.spans {
		if inside, ok := piece.inside(w.span()); ok {
			part.spans = append(part.spans, inside)
		}
	}
	return part
}

// awaitCold waits for the turn of a cold step: few run at one time, for each holds what it reads.
func (s *Store) awaitCold(ctx context.Context) (release func(), err error) {
	select {
	case s.cold <- struct{}{}:
		return func() { <-s.cold }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
