package duckdb

import (
	"math"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
)

// replacer brings samples that replace others together with those that a file has. It takes the rows
// that are replaced out of the file, and remembers which samples change nothing because the file's last
// one at their time has an equal value.
type replacer struct {
	*eraser
	list      catalogue.List
	batch     []replacing
	unchanged []bool // by the order in which series were told of them
}

// replacing is a sample that replaces others.
type replacing struct {
	metric, series int64
	point          memtable.Point
	effect         memtable.Effect
	ordinal        int
}

// replacingMax bounds how many are looked up at once.
const replacingMax = 1 << 16

// series takes the samples of the next series that may replace others, as memtable.EachResolved has them.
func (r *replacer) series(id catalogue.SeriesID, points []memtable.Point, effects []memtable.Effect) error {
	metric := r.list.MetricOf(id)
	for i, effect := range effects {
		if effect == memtable.Adds {
			continue
		}
		r.batch = append(r.batch, replacing{
			metric: int64(metric), series: int64(id), point: points[i], effect: effect, ordinal: len(r.unchanged),
		})
		r.unchanged = append(r.unchanged, false)
		if len(r.batch) == replacingMax {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// stored is a row of the file.
type stored struct {
	metric, series, at, gen, since, place int64
	value                                 float64
}

// flush works out the batch.
func (r *replacer) flush() error {
	if len(r.batch) == 0 {
		return nil
	}
	type key struct{ series, at int64 }
	by := make(map[key]*replacing, len(r.batch))
	for i := range r.batch {
		b := &r.batch[i]
		by[key{b.series, b.point.At}] = b
	}
	var doomed, same []stored
	decide := func() {
		if len(same) == 0 {
			return
		}
		b := by[key{same[0].series, same[0].at}]
		if b.effect == memtable.Replaces && same[len(same)-1].value == b.point.Value {
			r.unchanged[b.ordinal] = true
		} else {
			doomed = append(doomed, same...)
		}
		same = same[:0]
	}
	err := r.met(func(row stored) {
		if len(same) > 0 && (same[0].series != row.series || same[0].at != row.at) {
			decide()
		}
		same = append(same, row)
	})
	if err != nil {
		return err
	}
	decide()
	r.batch = r.batch[:0]
	return r.erase(doomed)
}

// met calls use with the rows that the batch meets, by series and time and in the order of the log.
func (r *replacer) met(use func(stored)) error {
	ids, times := make([]int64, len(r.batch)), make([]int64, len(r.batch))
	least, greatest := int64(math.MaxInt64), int64(math.MinInt64)
	for i, b := range r.batch {
		ids[i], times[i] = b.series, b.point.At
		least, greatest = min(least, b.point.At), max(greatest, b.point.At)
	}
	text := "SELECT metric_id, series_id, ts, value, gen, since, place FROM " + samplesOf(r.catalog) +
		" JOIN (SELECT unnest($1::BIGINT[]) AS id, unnest($2::BIGINT[]) AS moment) AS asked ON series_id = id AND ts = moment" +
		" WHERE metric_id >= $3 AND metric_id <= $4 AND until >= $5 AND since <= $6 ORDER BY series_id, ts, gen, place"
	args := []any{ids, times, r.batch[0].metric, r.batch[len(r.batch)-1].metric, least, greatest}
	return r.conn.Query(r.ctx, text, args, func(chunk engine.Chunk) error {
		for row := range chunk.Rows() {
			use(stored{
				metric: chunk.Int64s(0)[row], series: chunk.Int64s(1)[row], at: chunk.Int64s(2)[row], value: chunk.Float64s(3)[row],
				gen: chunk.Int64s(4)[row], since: chunk.Int64s(5)[row], place: chunk.Int64s(6)[row],
			})
		}
		return nil
	})
}

// erase takes rows out of the file and recomputes the buckets that they were in.
func (e *eraser) erase(rows []stored) error {
	if len(rows) == 0 {
		return nil
	}
	places := make([]int64, len(rows))
	for i, row := range rows {
		places[i] = row.place
		if err := e.take(runKey{row.gen, row.since}, 1); err != nil {
			return err
		}
	}
	if err := e.exec("DELETE FROM "+e.catalog+".points WHERE rowid IN (SELECT unnest($1::BIGINT[]))", places); err != nil {
		return err
	}
	for _, r := range rollups {
		if err := e.rollUpAgain(r.table, r.width, rows); err != nil {
			return err
		}
	}
	return nil
}

// rollUpAgain recomputes the buckets of one table that rows, which are gone, were in.
func (e *eraser) rollUpAgain(table string, width int64, rows []stored) error {
	type bucket struct{ series, at, gen int64 }
	touched := map[bucket]bool{}
	var ids, buckets, gens []int64
	least, greatest := int64(math.MaxInt64), int64(math.MinInt64)
	for _, row := range rows {
		if width == minuteMicros && !e.runs[runKey{row.gen, row.since}].minutes {
			continue
		}
		b := bucket{row.series, floorTo(row.at, width), row.gen}
		if !touched[b] {
			touched[b] = true
			ids, buckets, gens = append(ids, b.series), append(buckets, b.at), append(gens, b.gen)
			least, greatest = min(least, row.metric), max(greatest, row.metric)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := e.exec("DELETE FROM "+e.catalog+"."+table+" WHERE (series_id, bucket, gen) IN"+
		" (SELECT unnest($1::BIGINT[]), unnest($2::BIGINT[]), unnest($3::BIGINT[]))", ids, buckets, gens); err != nil {
		return err
	}
	where := "metric_id >= $3 AND metric_id <= $4 AND (series_id, " + bucketOfSQL + ", gen) IN" +
		" (SELECT unnest($5::BIGINT[]), unnest($6::BIGINT[]), unnest($7::BIGINT[]))"
	return e.exec("INSERT INTO "+e.catalog+"."+table+" "+rollupOf(e.catalog, where), lift(width), width, least, greatest, ids, buckets, gens)
}
