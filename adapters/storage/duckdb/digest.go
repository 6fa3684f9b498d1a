package duckdb

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// digestRowsMax bounds the rows that a digest reads from a file at once, 24 bytes each, unless more of
// them have one timestamp.
const digestRowsMax = 1 << 18

// PinContent implements outbound.ContentPinner; the digest is memtable.Digest, as of every adapter.
func (s *Store) PinContent(id shard.ID) (func(context.Context) ([]byte, error), error) {
	r, err := s.usable(id)
	if err != nil {
		return nil, err
	}
	pinned := r.table.Pin()
	return func(ctx context.Context) ([]byte, error) {
		running, end, err := s.begin(ctx)
		if err != nil {
			return nil, fmt.Errorf("sum up shard %d: %w", id, err)
		}
		defer end()
		d := &digester{
			store: s, replica: r, pinned: pinned, points: memtable.NewPointsDigest(),
			sums: map[catalogue.SeriesID][sha256.Size]byte{},
		}
		if err := d.run(running); err != nil {
			return nil, fmt.Errorf("sum up shard %d: %w", id, classify(running, err))
		}
		return d.sum(), nil
	}, nil
}

// digester sums up what was pinned: the file's rows up to the durable generation, series by series in
// the file's order, merged with the samples that were in memory, which are all later in the log.
type digester struct {
	store   *Store
	replica *replica
	pinned  *memtable.Pinned
	points  memtable.PointsDigest
	sums    map[catalogue.SeriesID][sha256.Size]byte

	current catalogue.SeriesID // the series under way
	open    bool               // there is one
	recent  []memtable.Point   // its samples in memory that are not added yet
	scratch []memtable.Point
}

// stretch is consecutive series of one metric in the file.
type stretch struct {
	metric, first, last int64
	rows                int64
}

func (d *digester) run(ctx context.Context) error {
	if d.replica.stored.Load() && d.pinned.Durable() > 0 {
		stretches, err := d.stretches(ctx)
		if err != nil {
			return err
		}
		for _, s := range stretches {
			if err := d.read(ctx, s, math.MinInt64, math.MaxInt64); err != nil {
				return err
			}
		}
		d.finish()
	}
	for id := range catalogue.SeriesID(d.pinned.Series().Len()) {
		if _, done := d.sums[id]; done {
			continue
		}
		if d.scratch = d.pinned.Points(id, d.scratch); len(d.scratch) > 0 {
			d.points.Add(d.scratch)
			d.sums[id] = d.points.Sum()
		}
	}
	return ctx.Err()
}

// stretches divides the file's series so that each part has few rows, or one series.
func (d *digester) stretches(ctx context.Context) ([]stretch, error) {
	var all []stretch
	text := "SELECT metric_id, series_id, count(*) FROM " + samplesOf(d.replica.catalog) +
		" WHERE gen <= $1 GROUP BY metric_id, series_id ORDER BY metric_id, series_id"
	err := d.query(ctx, text, []any{int64(d.pinned.Durable())}, func(chunk engine.Chunk) error {
		metrics, series, counts := chunk.Int64s(0), chunk.Int64s(1), chunk.Int64s(2)
		for row, metric := range metrics {
			if n := len(all); n > 0 && all[n-1].metric == metric && all[n-1].rows+counts[row] <= digestRowsMax {
				all[n-1].last = series[row]
				all[n-1].rows += counts[row]
				continue
			}
			all = append(all, stretch{metric: metric, first: series[row], last: series[row], rows: counts[row]})
		}
		return nil
	})
	return all, err
}

// read adds a stretch's rows from one time to another, both included, in halves where they are many.
func (d *digester) read(ctx context.Context, s stretch, from, to int64) error {
	where := " FROM " + samplesOf(d.replica.catalog) + " WHERE metric_id = $1 AND series_id >= $2 AND series_id <= $3" +
		" AND ts >= $4 AND until >= $4 AND ts <= $5 AND since <= $5 AND gen <= $6"
	args := []any{s.metric, s.first, s.last, from, to, int64(d.pinned.Durable())}
	if s.rows > digestRowsMax {
		count, least, greatest, err := d.extent(ctx, where, args)
		if err != nil || count == 0 {
			return err
		}
		if count > digestRowsMax && least < greatest {
			middle := least + (greatest-least)/2
			if err := d.read(ctx, s, least, middle); err != nil {
				return err
			}
			return d.read(ctx, s, middle+1, greatest)
		}
	}
	return d.query(ctx, "SELECT series_id, ts, value"+where+" ORDER BY series_id, ts, gen, place", args, func(chunk engine.Chunk) error {
		series, times, values := chunk.Int64s(0), chunk.Int64s(1), chunk.Float64s(2)
		for row, id := range series {
			d.row(catalogue.SeriesID(id), memtable.Point{At: times[row], Value: values[row]})
		}
		return nil
	})
}

// extent returns how many rows there are, and between which times.
func (d *digester) extent(ctx context.Context, where string, args []any) (count, least, greatest int64, err error) {
	err = d.query(ctx, "SELECT count(*), coalesce(min(ts), 0), coalesce(max(ts), 0)"+where, args, func(chunk engine.Chunk) error {
		count, least, greatest = chunk.Int64s(0)[0], chunk.Int64s(1)[0], chunk.Int64s(2)[0]
		return nil
	})
	return count, least, greatest, err
}

func (d *digester) query(ctx context.Context, text string, args []any, use func(engine.Chunk) error) error {
	ctx, stop := untilEnded(ctx, []*replica{d.replica})
	defer stop()
	return d.store.with(ctx, forQueries, func(ctx context.Context, c *engine.Conn) error {
		d.replica.file.RLock()
		defer d.replica.file.RUnlock()
		if d.replica.gone {
			return errReplaced
		}
		err := c.Query(ctx, text, args, use)
		if isDamage(err) {
			err = corrupt(d.replica.id, err)
			d.store.noteDamage(d.replica, err)
		}
		return err
	}, d.replica)
}

// row adds the next row of the file.
func (d *digester) row(id catalogue.SeriesID, p memtable.Point) {
	if !d.open || id != d.current {
		d.finish()
		d.current, d.open = id, true
		d.scratch = d.pinned.Points(id, d.scratch)
		d.recent = d.scratch
	}
	n := 0
	for n < len(d.recent) && d.recent[n].At < p.At {
		n++
	}
	d.points.Add(d.recent[:n])
	d.recent = d.recent[n:]
	d.points.Add([]memtable.Point{p})
}

// finish ends the series under way.
func (d *digester) finish() {
	if d.open {
		d.points.Add(d.recent)
		d.sums[d.current] = d.points.Sum()
	}
	d.open, d.recent = false, nil
}

// sum puts the series' digests together in the order of their keys.
func (d *digester) sum() []byte {
	type keyed struct {
		key string
		sum [sha256.Size]byte
	}
	all := make([]keyed, 0, len(d.sums))
	for id, sum := range d.sums {
		series, _ := d.pinned.Series().At(id)
		all = append(all, keyed{key: series.Key(), sum: sum})
	}
	slices.SortFunc(all, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	digest := memtable.NewDigest()
	for _, k := range all {
		digest.Series(k.key, k.sum)
	}
	sum := digest.Sum()
	return sum[:]
}
