package duckdb

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// rollupColumns are the columns of hours and minutes: the partial of the samples that one run has of one
// series in one bucket. sum and comp are the sum of aggregate.Parts. first and last are the samples that
// are first and last by time and, at one time, by place in the log. The partials of several runs add up.
const rollupColumns = "metric_id BIGINT NOT NULL, series_id BIGINT NOT NULL, bucket BIGINT NOT NULL, " +
	"count BIGINT NOT NULL, sum DOUBLE NOT NULL, comp DOUBLE NOT NULL, min DOUBLE NOT NULL, max DOUBLE NOT NULL, " +
	"first_at BIGINT NOT NULL, first DOUBLE NOT NULL, last_at BIGINT NOT NULL, last DOUBLE NOT NULL, gen BIGINT NOT NULL"

// rollupWriter appends rows to hours or minutes.
type rollupWriter struct {
	ctx        context.Context //nolint:containedctx // lives for one run writer
	appender   *engine.Appender
	width      int64 // of a bucket
	generation int64
	open       openBucket

	rows                                                    int
	metricID, seriesID, bucket, count, firstAt, lastAt, gen []int64
	sum, comp, least, greatest, first, last                 []float64
}

// openBucket is the bucket whose samples are coming.
type openBucket struct {
	metricID, seriesID, bucket int64
	partial                    aggregate.Partial
	first, last                memtable.Point
}

func newRollupWriter(ctx context.Context, c *engine.Conn, catalog, table string, width, generation int64) (*rollupWriter, error) {
	a, err := c.Appender(catalog, table)
	if err != nil {
		return nil, err
	}
	w := &rollupWriter{ctx: ctx, appender: a, width: width, generation: generation}
	w.next()
	return w, nil
}

func (w *rollupWriter) next() {
	b := w.appender.Batch()
	w.rows = 0
	w.metricID, w.seriesID, w.bucket, w.count = b.Int64s(0), b.Int64s(1), b.Int64s(2), b.Int64s(3)
	w.sum, w.comp, w.least, w.greatest = b.Float64s(4), b.Float64s(5), b.Float64s(6), b.Float64s(7)
	w.firstAt, w.first, w.lastAt, w.last, w.gen = b.Int64s(8), b.Float64s(9), b.Int64s(10), b.Float64s(11), b.Int64s(12)
}

func (w *rollupWriter) flush() error {
	err := w.appender.Append(w.ctx, w.rows)
	w.next()
	return err
}

func (w *rollupWriter) close(keep bool) error { return w.appender.Close(w.ctx, keep) }

// add takes further samples of the run, sorted by metric, series, time and place in the log.
func (w *rollupWriter) add(metricID, seriesID int64, points []memtable.Point) error {
	for len(points) > 0 {
		if bucket := floorTo(points[0].At, w.width); w.open.seriesID != seriesID || w.open.bucket != bucket || w.open.partial.Count() == 0 {
			if err := w.end(); err != nil {
				return err
			}
			w.open = openBucket{metricID: metricID, seriesID: seriesID, bucket: bucket, first: points[0]}
		}
		end := w.open.bucket + w.width
		n := 0
		for ; n < len(points) && points[n].At < end; n++ {
			w.open.partial.Add(points[n].Value)
		}
		w.open.last = points[n-1]
		points = points[n:]
	}
	return nil
}

// end writes the row of the bucket under way.
func (w *rollupWriter) end() error {
	o := &w.open
	if o.partial.Count() == 0 {
		return nil
	}
	parts, row := o.partial.Parts(), w.rows
	w.metricID[row], w.seriesID[row], w.bucket[row], w.count[row] = o.metricID, o.seriesID, o.bucket, int64(parts.Count)
	w.sum[row], w.comp[row], w.least[row], w.greatest[row] = parts.Sum, parts.Compensation, parts.Min, parts.Max
	w.firstAt[row], w.first[row], w.lastAt[row], w.last[row] = o.first.At, o.first.Value, o.last.At, o.last.Value
	w.gen[row] = w.generation
	w.open = openBucket{}
	if w.rows++; w.rows == len(w.gen) {
		return w.flush()
	}
	return nil
}

// finish writes what is left over.
func (w *rollupWriter) finish() error {
	if err := w.end(); err != nil {
		return err
	}
	return w.flush()
}

// rollupOf selects the rollup of the samples that pass where, in the order of rollupColumns: $1 is lift of
// the bucket's width, $2 the width. SQL's sum has no second part; it is within promise 4 as it is.
func rollupOf(catalog, where string) string {
	order := "{'ts': ts, 'gen': gen, 'place': place}"
	return "SELECT metric_id, series_id, " + bucketOfSQL + " AS bucket, count(*), fsum(value), 0, min(value), max(value), " +
		"min(ts), arg_min(value, " + order + "), max(ts), arg_max(value, " + order + "), gen FROM " + samplesOf(catalog) +
		" WHERE " + where + " GROUP BY metric_id, series_id, bucket, gen"
}

// bucketOfSQL is the bucket of the time ts.
const bucketOfSQL = "(ts + $1) // $2 * $2 - $1"

// lift is what must be added to a time before SQL divides it by width, since SQL's division truncates: a
// multiple of width that lifts every time above zero.
func lift(width int64) int64 { return (-int64(metric.TimestampMin)/width + 2) * width }
