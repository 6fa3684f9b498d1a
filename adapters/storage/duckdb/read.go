package duckdb

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// reading is one attempt to collect what some shards have for a question.
type reading struct {
	store   *Store
	query   aggregate.Query
	builder *aggregate.Builder
}

// add adds all that sources have, in memory and in their files.
func (r *reading) add(ctx context.Context, sources []source) error {
	var together, apart []portion
	for i := range sources {
		src := &sources[i]
		plain, single := src.portions()
		if len(single.ids) < len(src.view.Selected()) || len(single.ids) == 0 {
			if err := src.view.AddSome(ctx, r.builder, single.ids); err != nil {
				return fmt.Errorf("read shard %d: %w", src.replica.id, err)
			}
		} else if _, known := src.view.Metric(); known {
			r.builder.MarkKnown()
		}
		if len(plain.ids) > 0 {
			together = append(together, plain)
		}
		if len(single.ids) > 0 {
			apart = append(apart, single)
		}
	}
	if err := r.addTogether(ctx, together); err != nil {
		return err
	}
	return r.addSamples(ctx, apart, true)
}

// addTogether adds what files have of series whose rows just add up: rollups where they can tell, and
// samples for the rest.
func (r *reading) addTogether(ctx context.Context, portions []portion) error {
	if r.query.Detail() != 0 || !r.query.Where().IsZero() {
		return r.addSamples(ctx, portions, false)
	}
	t, width := chooseRollup(r.query, portions)
	if width == 0 {
		return r.addSamples(ctx, portions, false)
	}
	var whole, rest []portion
	for _, p := range portions {
		inner, edges := p, p
		inner.spans, edges.spans = p.extent.cut(p.spans, width)
		if len(inner.spans) > 0 {
			whole = append(whole, inner)
		}
		if len(edges.spans) > 0 {
			rest = append(rest, edges)
		}
	}
	if err := r.addRollups(ctx, t, whole); err != nil {
		return err
	}
	return r.addSamples(ctx, rest, false)
}

// chooseRollup returns the table whose buckets fit into the query's windows, and their width; 0 for none.
func chooseRollup(q aggregate.Query, portions []portion) (t table, width int64) {
	switch w := q.Window().Width(); {
	case w%hourMicros == 0:
		return hoursTable, hourMicros
	case w%minuteMicros != 0:
		return table{}, 0
	}
	for _, p := range portions {
		for _, s := range p.spans {
			if !p.extent.haveMinutes(s) {
				return table{}, 0
			}
		}
	}
	return minutesTable, minuteMicros
}

// addRollups adds buckets that lie whole in the portions' spans.
func (r *reading) addRollups(ctx context.Context, t table, portions []portion) error {
	if len(portions) == 0 {
		return nil
	}
	if t == hoursTable {
		blocks, err := r.store.hours(ctx, portions)
		if err != nil {
			return err
		}
		if blocks != nil {
			return r.scanHours(ctx, portions, blocks)
		}
	}
	return r.store.run(ctx, portions, newPlan(r.query, t, portions, r.builder))
}

// addSamples adds samples; with overlay those in memory as well, sample by sample in order.
func (r *reading) addSamples(ctx context.Context, portions []portion, overlay bool) error {
	if len(portions) == 0 {
		return nil
	}
	blocks, err := r.store.samples(ctx, portions)
	if err != nil {
		return err
	}
	switch {
	case blocks != nil:
		var hours [][]*warm.Block[warm.Hours]
		if !overlay && bucketsHelp(r.query) {
			if hours, err = r.store.hours(ctx, portions); err != nil {
				return err
			}
		}
		return r.scan(ctx, decoded{portions: portions, samples: blocks, hours: hours}, overlay)
	case overlay || r.query.Detail() != 0:
		return r.scanCold(ctx, portions, overlay)
	}
	return r.store.run(ctx, portions, newPlan(r.query, samplesTable, portions, r.builder))
}

// bucketsHelp reports whether the partial of an hour may tell what its samples add to the answer, see
// aggregate.Fold.AddBucket.
func bucketsHelp(q aggregate.Query) bool {
	return q.Window().Width()%hourMicros == 0 && q.Detail()&^aggregate.DetailNarrow == 0 &&
		(q.Detail() != 0 || !q.Where().IsZero())
}

// scanHours adds hours that are in memory: blocks are those of each portion's windows.
func (r *reading) scanHours(ctx context.Context, portions []portion, blocks [][]*warm.Block[warm.Hours]) error {
	for i := range portions {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.scanPortionHours(&portions[i], blocks[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) scanPortionHours(p *portion, blocks []*warm.Block[warm.Hours]) error {
	var group aggregate.GroupHandle
	grouped, have := len(r.query.GroupBy()) > 0, false
	var parts catalogue.Parts
	cursors := make([]warm.Cursor[warm.Hours], len(blocks))
	for w, b := range blocks {
		cursors[w] = b.Cursor()
	}
	for _, id := range p.ids {
		have = have && !grouped
		for w := range cursors {
			hours, _ := cursors[w].Find(id)
			if hours == nil || len(*hours) == 0 {
				continue
			}
			if !have {
				var err error
				if group, err = r.builder.GroupOf(p.view.Series().Tags(id, &parts)); err != nil {
					return err
				}
				have = true
			}
			if err := r.mergeHours(group, p.spans, *hours); err != nil {
				return err
			}
		}
	}
	return nil
}

// mergeHours merges the hours that start in spans into their cells.
func (r *reading) mergeHours(group aggregate.GroupHandle, spans []span, hours warm.Hours) error {
	window := r.query.Window()
	for _, s := range spans {
		var cell *aggregate.Partial
		start, end := int64(0), int64(0)
		for _, h := range hours.Between(s.from, s.to) {
			if cell == nil || !window.IsZero() && (h.Start < start || h.Start >= end) {
				at := window.Start(metric.Timestamp(h.Start))
				start, end = int64(at), int64(at)+window.Width()
				var err error
				if cell, err = group.Cell(at); err != nil {
					return err
				}
			}
			cell.Merge(h.Partial)
		}
	}
	return nil
}
