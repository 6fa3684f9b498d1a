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
	points     *engine.Appender
	hours      *rollupWriter
	minutes    *rollupWriter // nil without
	generation int64

	current run
	ended   []run

	count stepCount

	rows                                                              int
	metricID, seriesID, steps, generations, since, until, unit, shift []int64
	value                                                             []float64
}

func newRunWriter(ctx context.Context, c *engine.Conn, catalog string, generation int64, minutes bool) (*runWriter, error) {
	w := &runWriter{ctx: ctx, generation: generation}
	var err error
	if w.points, err = c.Appender(catalog, "points"); err != nil {
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
	b := w.points.Batch()
	w.rows = 0
	w.metricID, w.seriesID, w.steps, w.value, w.generations = b.Int64s(0), b.Int64s(1), b.Int64s(2), b.Float64s(3), b.Int64s(4)
	w.since, w.until, w.unit, w.shift = b.Int64s(5), b.Int64s(6), b.Int64s(7), b.Int64s(8)
}

func (w *runWriter) flush() error {
	err := w.points.Append(w.ctx, w.rows)
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

// add takes further samples inside the run's window, at least one: they come by metric, series, time and
// place in the log.
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
	return w.append(metricID, seriesID, points)
}

// append adds the samples themselves, see samplesOf.
func (w *runWriter) append(metricID, seriesID int64, points []memtable.Point) error {
	window := w.current.span()
	since, until, unit := window.from, window.to, unitOf(points, window.from)
	shift := w.count.shift(points, since, unit)
	for len(points) > 0 {
		n := min(len(points), len(w.unit)-w.rows)
		steps, value := w.steps[w.rows:w.rows+n], w.value[w.rows:w.rows+n]
		for i, p := range points[:n] {
			steps[i], value[i] = (p.At-since)/unit-shift, p.Value
		}
		for _, same := range []struct {
			column []int64
			value  int64
		}{{w.metricID, metricID}, {w.seriesID, seriesID}, {w.generations, w.generation}, {w.since, since}, {w.until, until}, {w.unit, unit}, {w.shift, shift}} {
			column := same.column[w.rows : w.rows+n]
			for i := range column {
				column[i] = same.value
			}
		}
		w.rows += n
		points = points[n:]
		if w.rows == len(w.unit) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// stepCount counts the steps of all samples that a run writer appends, whichever their series. Where times
// step evenly, the difference from one count to the next is the same also from one series to the next, and a
// block of them takes no bits.
type stepCount struct{ last int64 }

// stepCountMax is where the count begins anew: far from the end of int64, for a series may add as many steps
// as a window has microseconds.
const stepCountMax = 1 << 61

// shift returns what the count of a series' samples falls short of their steps since the window's begin,
// and counts them.
func (c *stepCount) shift(points []memtable.Point, since, unit int64) int64 {
	first, last := (points[0].At-since)/unit, (points[len(points)-1].At-since)/unit
	next := c.last + 1
	if len(points) > 1 {
		next = c.last + max(1, (points[1].At-since)/unit-first)
	}
	if next+last-first > stepCountMax {
		next = 0
	}
	c.last = next + last - first
	return first - next
}

// unitOf returns the greatest step, an hour or a part of one, of which all times since are multiples.
func unitOf(points []memtable.Point, since int64) int64 {
	unit := hourMicros
	for i := 0; i < len(points) && unit > 1; i++ {
		if rest := (points[i].At - since) % unit; rest != 0 {
			unit = divisor(unit, rest)
		}
	}
	return unit
}

// divisor returns the greatest common one (Euclid).
func divisor(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// finish appends what is left over and returns the runs.
func (w *runWriter) finish() ([]run, error) {
	w.end()
	err := errors.Join(w.flush(), w.hours.finish())
	if w.minutes != nil {
		err = errors.Join(err, w.minutes.finish())
	}
	return w.ended, err
}

// close makes what was appended part of the transaction if keep is set, else drops it.
func (w *runWriter) close(keep bool) error {
	err := w.points.Close(w.ctx, keep)
	for _, r := range []*rollupWriter{w.hours, w.minutes} {
		if r != nil {
			if e := r.close(keep && err == nil); err == nil {
				err = e
			}
		}
	}
	return err
}
