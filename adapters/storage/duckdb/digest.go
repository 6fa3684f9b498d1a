package duckdb

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// digestRowsMax bounds the rows that a digest reads from a file at once, 24 bytes each, unless more of
// them have one timestamp.
const digestRowsMax = 1 << 18

// errPinLost is for a digest whose content was rewritten before it was summed up. By its code whoever
// verifies marks the log anew.
var errPinLost = fault.New(fault.Unavailable, "mark_unknown", "what was held fast of the replica has been rewritten meanwhile; try again")

// pinnedFor is how long merges wait for a digest that was asked for and has not begun.
const pinnedFor = 5 * time.Second

// PinContent implements outbound.ContentPinner; the digest is memtable.Digest, as of every adapter. Rows
// cannot be held fast: where deletions or merges have taken some away meanwhile the digest is refused.
func (s *Store) PinContent(id shard.ID) (func(context.Context) ([]byte, error), error) {
	r, err := s.usable(id)
	if err != nil {
		return nil, err
	}
	then := r.rewrites.now()
	pinned := r.table.Pin()
	r.pinnedAt.Store(time.Now().UnixNano())
	return func(ctx context.Context) ([]byte, error) {
		running, end, err := s.begin(ctx)
		if err != nil {
			return nil, fmt.Errorf("sum up shard %d: %w", id, err)
		}
		defer end()
		r.digests.Add(1)
		defer r.digests.Add(-1)
		d := &digester{
			store: s, replica: r, pinned: pinned, points: memtable.NewPointsDigest(),
			sums: map[catalogue.SeriesID][sha256.Size]byte{},
		}
		err = d.run(running)
		if err == nil && !r.rewrites.unchanged(then) {
			err = errPinLost
		}
		if err != nil {
			return nil, fmt.Errorf("sum up shard %d: %w", id, classify(running, err))
		}
		return d.sum(), nil
	}, nil
}

// isPinned reports that a digest is being computed or likely to be soon.
func (r *replica) isPinned() bool {
	return r.digests.Load() > 0 || time.Since(time.Unix(0, r.pinnedAt.Load())) < pinnedFor
}

// digester sums up what was pinned: the file's rows up to the durable generation, series by series in
// the file's order, put together with the samples that were in memory, which are all later in the log.
type digester struct {
	store   *Store
	replica *replica
	pinned  *memtable.Pinned
	points  memtable.PointsDigest
	sums    map[catalogue.SeriesID][sha256.Size]byte

	current catalogue.SeriesID // the series under way
	metric  catalogue.MetricID // its metric
	open    bool               // there is one
	some    bool               // it has samples
	same    []memtable.Point   // its rows at one time that are not added yet
	recent  []memtable.Point   // its samples in memory that are not added yet
	effects []memtable.Effect  // theirs, or nil
	scratch []memtable.Point
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
		if points, _ := d.pinned.Resolved(id); len(points) > 0 {
			d.points.Add(points)
			d.sums[id] = d.points.Sum()
		}
	}
	return ctx.Err()
}

// stretches divides the file's series so that each part has few rows, or one series.
func (d *digester) stretches(ctx context.Context) ([]stretch, error) {
	var all stretches
	text := "SELECT metric_id, series_id, count(*) FROM " + samplesOf(d.replica.catalog) +
		" WHERE gen <= $1 GROUP BY metric_id, series_id ORDER BY metric_id, series_id"
	err := d.query(ctx, text, []any{int64(d.pinned.Durable())}, func(chunk engine.Chunk) error {
		all.add(chunk, digestRowsMax)
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
	return d.store.readFile(ctx, d.replica, text, args, use)
}

// row takes the next row of the file.
func (d *digester) row(id catalogue.SeriesID, p memtable.Point) {
	if !d.open || id != d.current {
		d.finish()
		d.current, d.open, d.some = id, true, false
		d.metric = d.pinned.Series().MetricOf(id)
		d.recent, d.effects = d.pinned.Resolved(id)
	}
	if d.pinned.Forgets(d.metric, p.At) {
		return
	}
	if len(d.same) > 0 && d.same[0].At != p.At {
		d.addSame()
	}
	d.same = append(d.same, p)
}

// addSame adds the rows of one time, after the samples in memory before it and with those at it.
func (d *digester) addSame() {
	if len(d.same) == 0 {
		return
	}
	at := d.same[0].At
	n := 0
	for n < len(d.recent) && d.recent[n].At < at {
		n++
	}
	d.add(d.take(n))
	for n = 0; n < len(d.recent) && d.recent[n].At == at; {
		n++
	}
	if n == 0 {
		d.add(d.same)
	} else {
		effects := d.effects
		d.scratch = memtable.Overlay(d.scratch, d.same, d.take(n), effects)
		d.add(d.scratch)
	}
	d.same = d.same[:0]
}

// take removes the first n samples in memory.
func (d *digester) take(n int) []memtable.Point {
	taken := d.recent[:n]
	d.recent = d.recent[n:]
	if d.effects != nil {
		d.effects = d.effects[n:]
	}
	return taken
}

func (d *digester) add(points []memtable.Point) {
	d.some = d.some || len(points) > 0
	d.points.Add(points)
}

// finish ends the series under way. It counts as done even without samples: then what it has is forgotten.
func (d *digester) finish() {
	if !d.open {
		return
	}
	d.addSame()
	d.add(d.recent)
	if sum := d.points.Sum(); d.some {
		d.sums[d.current] = sum
	}
	d.open, d.recent, d.effects = false, nil, nil
}

// sum puts the series' digests together in the order of their keys.
func (d *digester) sum() []byte {
	list := d.pinned.Series()
	ids := slices.SortedFunc(maps.Keys(d.sums), list.CompareKeys)
	digest := memtable.NewDigest()
	var key []byte
	for _, id := range ids {
		key = list.AppendKey(key[:0], id)
		digest.Series(key, d.sums[id])
	}
	sum := digest.Sum()
	return sum[:]
}
