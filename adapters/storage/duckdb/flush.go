package duckdb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Flush implements outbound.StateFlusher: samples, new series, newest samples and the state go into
// the file in one transaction, which a checkpoint then makes part of the file itself.
func (s *Store) Flush(ctx context.Context, id shard.ID) (uint64, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("flush shard %d: %w", id, err)
	}
	defer end()
	r, err := s.usable(id)
	if err != nil {
		return 0, err
	}
	r.flush.Lock()
	defer r.flush.Unlock()
	if r.retired {
		return 0, errClosedShard(id)
	}
	cut, frozen, durable := r.takeCut()
	if cut == nil {
		return durable, nil
	}
	for attempt := 1; ; attempt++ {
		err = s.with(running, forFlushes, func(ctx context.Context, c *engine.Conn) error {
			return s.recovered(ctx, c, r, r.write(ctx, c, *cut, frozen))
		}, r)
		if !errors.Is(err, errReplaced) || attempt == attemptsMax {
			break
		}
	}
	if err != nil {
		s.noteDamage(r, err)
		return durable, fmt.Errorf("flush shard %d: %w", id, err)
	}
	if len(frozen) > 0 {
		r.table.Drop(frozen[len(frozen)-1].Last())
	}
	r.settle(cut)
	s.release(r)
	return cut.Index, nil
}

// recovered returns err after a write to the file of r ended with it. Where DuckDB gave up the file it is
// attached again as it was before: the samples are still in memory, and the next flush writes them.
func (s *Store) recovered(ctx context.Context, c *engine.Conn, r *replica, err error) error {
	switch {
	case isLostWrite(err):
		err = corrupt(r.id, err)
	case isDetached(err):
		err = errors.Join(err, s.reattach(ctx, c, r))
	}
	if isDamage(err) {
		err = corrupt(r.id, err)
	}
	return err
}

// takeCut returns the newest cut and the generations that belong to it, of one instant.
func (r *replica) takeCut() (*outbound.AppliedState, []*memtable.Generation, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.cut, r.table.Frozen(), r.mu.durable
}

// settle notes that state is durable; a cut made meanwhile stays.
func (r *replica) settle(state *outbound.AppliedState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.durable = state.Index
	if r.mu.cut == state {
		r.mu.cut = nil
	}
}

// write makes cut and frozen durable. A flush before may have failed after its commit: what the
// file says it has is not written again.
func (r *replica) write(ctx context.Context, c *engine.Conn, cut outbound.AppliedState, frozen []*memtable.Generation) error {
	var runs []run
	var record stateRecord
	erased := false
	err := c.TransactAround(ctx, func() (err error) {
		record, err = readState(ctx, c, r.catalog)
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(slices.Clone(frozen), func(g *memtable.Generation) bool { return g.Last() <= record.generation })
		record.AppliedState = cut
		if len(fresh) > 0 {
			last := fresh[len(fresh)-1]
			if erased, err = writeGenerations(ctx, c, r.catalog, fresh); err != nil {
				return err
			}
			record.generation, record.retention = last.Last(), last.Retention().Encode()
		}
		if runs, err = loadRuns(ctx, c, r.catalog); err != nil {
			return err
		}
		return writeState(ctx, c, r.catalog, record)
	}, func(commit func() error) error {
		if !erased {
			return commit()
		}
		return r.rewrites.do(func() error { return r.publish(commit(), runs) })
	})
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	r.stored.Store(true)
	r.noteRetention(record)
	// Like the commit it is not interrupted: a checkpoint that fails takes the file away from readers.
	if err := checkpoint(context.WithoutCancel(ctx), c, r.catalog); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	_ = r.publish(nil, runs) // Before the view that needs them can be taken.
	return r.measure(context.WithoutCancel(ctx), c)
}

// noteRetention remembers the cut-offs that the file has.
func (r *replica) noteRetention(record stateRecord) {
	retention := string(record.retention)
	r.retention.Store(&retention)
}

// publish replaces the list of runs unless the commit that made them failed.
func (r *replica) publish(failed error, runs []run) error {
	if failed == nil {
		r.runs.Store(&runs)
	}
	return failed
}

// newest is the newest sample of a series within one flush.
type newest struct {
	series catalogue.SeriesID
	point  memtable.Point
}

// writeGenerations appends generations, and reports whether it took rows out of the file.
func writeGenerations(ctx context.Context, c *engine.Conn, catalog string, generations []*memtable.Generation) (erased bool, err error) {
	last := generations[len(generations)-1]
	list, gen := last.Series(), int64(last.Last())
	before, err := countRows(ctx, c, catalog)
	if err != nil {
		return false, err
	}
	e, err := newEraser(ctx, c, catalog)
	if err != nil {
		return false, err
	}
	unchanged, err := forget(e, generations)
	if err != nil {
		return false, fmt.Errorf("forget: %w", err)
	}
	runs, observed, err := writeSamples(ctx, c, catalog, generations, unchanged)
	if err == nil {
		err = writeRuns(ctx, c, catalog, runs)
	}
	if err != nil {
		return false, fmt.Errorf("samples: %w", err)
	}
	if err := writeSeries(ctx, c, catalog, list, before); err != nil {
		return false, fmt.Errorf("series: %w", err)
	}
	err = appendRows(ctx, c, catalog, "newest", len(observed), func(b engine.Batch, first, rows int) {
		ids, times, values, gens := b.Int64s(0), b.Int64s(1), b.Float64s(2), b.Int64s(3)
		for row, n := range observed[first : first+rows] {
			ids[row], times[row], values[row], gens[row] = int64(n.series), n.point.At, n.point.Value, gen
		}
	})
	if err == nil && before.newest+len(observed) > newestRowsPerSeries*max(list.Len(), engine.RowsMax()) {
		err = compactNewest(ctx, c, catalog)
	}
	if err != nil {
		return false, fmt.Errorf("newest samples: %w", err)
	}
	return e.erased > 0, nil
}

// forget takes out of the file what generations delete or replace. It returns which of the samples that
// replace others do not count because nothing changes by them, in the order of memtable.EachResolved.
func forget(e *eraser, generations []*memtable.Generation) (unchanged []bool, err error) {
	for _, t := range memtable.Tombstones(generations) {
		if err := e.bury(t); err != nil {
			return nil, err
		}
	}
	r := replacer{eraser: e, list: generations[len(generations)-1].Series()}
	if memtable.ExtentOf(generations).Replacing {
		if err := memtable.EachResolved(generations, r.series); err != nil {
			return nil, err
		}
		if err := r.flush(); err != nil {
			return nil, err
		}
	}
	return r.unchanged, e.finish()
}

// newestRowsPerSeries bounds how many rows of newest samples a file keeps for each series.
const newestRowsPerSeries = 4

// compactNewest drops the rows of newest samples that later ones replace.
func compactNewest(ctx context.Context, c *engine.Conn, catalog string) error {
	table := catalog + ".newest"
	return c.Exec(ctx, "DELETE FROM "+table+
		" WHERE rowid NOT IN (SELECT arg_max(rowid, {'ts': ts, 'gen': gen}) FROM "+table+" GROUP BY series_id)")
}

// writeSeries appends the series that the file does not have, and their metrics.
func writeSeries(ctx context.Context, c *engine.Conn, catalog string, list catalogue.List, before rowCounts) error {
	var names []string
	var key []byte
	err := appendRows(ctx, c, catalog, "series", max(0, list.Len()-before.series), func(b engine.Batch, first, rows int) {
		ids, metrics := b.Int64s(0), b.Int64s(1)
		for row := range rows {
			id := before.series + first + row
			metric := list.MetricOf(catalogue.SeriesID(id))
			ids[row], metrics[row] = int64(id), int64(metric)
			key = list.AppendKey(key[:0], catalogue.SeriesID(id))
			b.SetText(2, row, string(key))
			if int(metric) == before.metrics+len(names) {
				names = append(names, list.Name(metric).String())
			}
		}
	})
	if err != nil {
		return err
	}
	return appendRows(ctx, c, catalog, "metrics", len(names), func(b engine.Batch, first, rows int) {
		ids := b.Int64s(0)
		for row := range rows {
			ids[row] = int64(before.metrics + first + row)
			b.SetText(1, row, names[first+row])
		}
	})
}

// appendRows appends count rows, a batch at a time: fill sets the first rows of the batch to those
// from first on.
func appendRows(ctx context.Context, c *engine.Conn, catalog, table string, count int, fill func(b engine.Batch, first, rows int)) error {
	if count == 0 {
		return nil
	}
	a, err := c.Appender(catalog, table)
	if err != nil {
		return err
	}
	for first := 0; first < count && err == nil; {
		rows := min(count-first, engine.RowsMax())
		fill(a.Batch(), first, rows)
		err = a.Append(ctx, rows)
		first += rows
	}
	if e := a.Close(ctx, err == nil); err == nil {
		err = e
	}
	return err
}
