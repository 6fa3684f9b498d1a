package duckdb

import (
	"context"
	"errors"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
)

// runWriter appends runs of one generation to a file: samples, and their rollups as they pass by. close
// must be called.
type runWriter struct {
	ctx        context.Context //nolint:containedctx // lives for one flush or merge
	samples    *engine.Appender
	hours      *rollupWriter
	minutes    *rollupWriter // nil without
	generation int64

	current run
	ended   []run

	rows                                int
	metricID, seriesID, at, generations []int64
	value                               []float64
}

func newRunWriter(ctx context.Context, c *engine.Conn, catalog string, generation int64, minutes bool) (*runWriter, error) {
	w := &runWriter{ctx: ctx, generation: generation}
	var err error
	if w.samples, err = c.Appender(catalog, "samples"); err != nil {
		return nil, err
	}
	w.hours, err = newRollupWriter(ctx, c, catalog, "hours", hourMicros, generation)
	if err == nil && minutes {
		w.minutes, err = newRollupWriter(ctx, c, catalog, "minutes", minuteMicros, generation)
	}
	if err != nil {
		return nil, errors.Join(err, w.close(false))
	}
	w.next()
	return w, nil
}

func (w *runWriter) next() {
	b := w.samples.Batch()
	w.rows = 0
	w.metricID, w.seriesID, w.at, w.value, w.generations = b.Int64s(0), b.Int64s(1), b.Int64s(2), b.Float64s(3), b.Int64s(4)
}

func (w *runWriter) flush() error {
	err := w.samples.Append(w.ctx, w.rows)
	w.next()
	return err
}

// begin starts the run of a window, which the one before ends.
func (w *runWriter) begin(day, days int64) {
	w.end()
	w.current = run{gen: w.generation, day: day, days: days, minutes: w.minutes != nil}
}

func (w *runWriter) end() {
	if w.current.rows > 0 {
		w.ended = append(w.ended, w.current)
	}
	w.current = run{}
}

// add takes samples of a series inside the run's window, sorted by time, ties in the order of the log;
// at least one, and all that the run has of the series' bucket. Series come by metric and number.
func (w *runWriter) add(metricID, seriesID int64, points []memtable.Point) error {
	first, last := points[0].At, points[len(points)-1].At
	if w.current.rows == 0 {
		w.current.from, w.current.to = first, last
	}
	w.current.from, w.current.to = min(w.current.from, first), max(w.current.to, last)
	w.current.rows += int64(len(points))
	if err := w.hours.add(metricID, seriesID, points); err != nil {
		return err
	}
	if w.minutes != nil {
		if err := w.minutes.add(metricID, seriesID, points); err != nil {
			return err
		}
	}
	for len(points) > 0 {
		n := min(len(points), len(w.at)-w.rows)
		at, value := w.at[w.rows:w.rows+n], w.value[w.rows:w.rows+n]
		for i, p := range points[:n] {
			at[i], value[i] = p.At, p.Value
		}
		fill(w.metricID[w.rows:w.rows+n], metricID)
		fill(w.seriesID[w.rows:w.rows+n], seriesID)
		fill(w.generations[w.rows:w.rows+n], w.generation)
		w.rows += n
		points = points[n:]
		if w.rows == len(w.at) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func fill(column []int64, with int64) {
	for i := range column {
		column[i] = with
	}
}

// finish appends what is left over and returns the runs.
func (w *runWriter) finish() ([]run, error) {
	w.end()
	err := errors.Join(w.flush(), w.hours.flush())
	if w.minutes != nil {
		err = errors.Join(err, w.minutes.flush())
	}
	return w.ended, err
}

// close makes what was appended part of the transaction if keep is set, else drops it.
func (w *runWriter) close(keep bool) error {
	err := w.samples.Close(w.ctx, keep)
	for _, r := range []*rollupWriter{w.hours, w.minutes} {
		if r != nil {
			if e := r.close(keep && err == nil); err == nil {
				err = e
			}
		}
	}
	return err
}
