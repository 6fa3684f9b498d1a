package duckdb

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
)

// eraser takes samples out of a file, inside a transaction, and keeps rollups and runs right. Its runs
// tell exactly how many rows are left; their times become bounds.
type eraser struct {
	ctx     context.Context //nolint:containedctx // lives for one transaction
	conn    *engine.Conn
	catalog string
	runs    map[runKey]*run
	erased  int64 // samples
	renewed bool  // runs were merged
}

// runKey names a run: its generation and when its window begins.
type runKey struct{ gen, since int64 }

func newEraser(ctx context.Context, c *engine.Conn, catalog string) (*eraser, error) {
	runs, err := loadRuns(ctx, c, catalog)
	if err != nil {
		return nil, err
	}
	e := &eraser{ctx: ctx, conn: c, catalog: catalog, runs: make(map[runKey]*run, len(runs))}
	for i := range runs {
		e.runs[runKey{runs[i].gen, runs[i].span().from}] = &runs[i]
	}
	return e, nil
}

// finish writes what is left of the runs.
func (e *eraser) finish() error {
	if e.erased == 0 && !e.renewed {
		return nil
	}
	if err := e.conn.Exec(e.ctx, "DELETE FROM "+e.catalog+".runs"); err != nil {
		return err
	}
	return e.writeRuns(e.catalog)
}

// writeRuns adds what is left of the runs to the file called catalog.
func (e *eraser) writeRuns(catalog string) error {
	var left []run
	for _, r := range e.runs {
		if r.rows > 0 {
			left = append(left, *r)
		}
	}
	slices.SortFunc(left, compareRuns)
	return writeRuns(e.ctx, e.conn, catalog, left)
}

func (e *eraser) exec(text string, args ...any) error {
	return e.conn.Query(e.ctx, text, args, nil)
}

// take notes that rows of a run go.
func (e *eraser) take(key runKey, rows int64) error {
	r := e.runs[key]
	if r == nil || r.rows < rows {
		return fmt.Errorf("%d rows of generation %d since %d are in no run: %w", rows, key.gen, key.since, errContent)
	}
	r.rows -= rows
	e.erased += rows
	return nil
}

// renew notes that runs have become others.
func (e *eraser) renew(old, merged []run) error {
	before, after := int64(0), int64(0)
	for _, r := range old {
		key := runKey{r.gen, r.span().from}
		before += e.runs[key].rows
		delete(e.runs, key)
	}
	for _, r := range merged {
		after += r.rows
		e.runs[runKey{r.gen, r.span().from}] = &r
	}
	e.renewed = true
	if before != after {
		return fmt.Errorf("%d rows were merged into %d: %w", before, after, errContent)
	}
	return nil
}

// takeWhere notes that the rows which pass where go, and reports whether there is any.
func (e *eraser) takeWhere(where string, args []any) (found bool, err error) {
	text := "SELECT gen, since, count(*) FROM " + e.catalog + ".points WHERE " + where + " GROUP BY gen, since"
	err = e.conn.Query(e.ctx, text, args, func(chunk engine.Chunk) error {
		gens, since, counts := chunk.Int64s(0), chunk.Int64s(1), chunk.Int64s(2)
		for row, gen := range gens {
			found = true
			if err := e.take(runKey{gen, since[row]}, counts[row]); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// rollups are the tables of rollups with the widths of their buckets.
var rollups = []struct {
	table string
	width int64
	where string // which samples have such a rollup; to be completed with the catalog
}{
	{"hours", hourMicros, ""},
	{"minutes", minuteMicros, " AND (gen, since) IN (SELECT gen, day * 86400000000 FROM %s.runs WHERE minutes = 1)"},
}

// bury does to the file what a deletion says: all of its rows are of earlier generations.
func (e *eraser) bury(t memtable.Tombstone) error {
	where := "metric_id = $1 AND " + tsSQL + " >= $2 AND until >= $2 AND " + tsSQL + " <= $3 AND since <= $3"
	args := []any{int64(t.Metric), t.From, t.To}
	found, err := e.takeWhere(where, args)
	if err != nil || !found {
		return err
	}
	if err := e.exec("DELETE FROM "+e.catalog+".points WHERE "+where, args...); err != nil {
		return err
	}
	for _, r := range rollups {
		if err := e.exec("DELETE FROM "+e.catalog+"."+r.table+" WHERE metric_id = $1 AND bucket > $2 AND bucket <= $3",
			int64(t.Metric), t.From-r.width, t.To); err != nil {
			return err
		}
		// Of the first and the last bucket samples may be left.
		edges := "metric_id = $3 AND (ts >= $4 AND until >= $4 AND ts < $4 + $2 AND since < $4 + $2" +
			" OR ts >= $5 AND until >= $5 AND ts < $5 + $2 AND since < $5 + $2)"
		if err := e.exec("INSERT INTO "+e.catalog+"."+r.table+" "+rollupOf(e.catalog, edges+e.restrict(r.where)),
			lift(r.width), r.width, int64(t.Metric), floorTo(t.From, r.width), floorTo(t.To, r.width)); err != nil {
			return err
		}
	}
	return e.settleNewest(t)
}

func (e *eraser) restrict(where string) string {
	if where == "" {
		return ""
	}
	return fmt.Sprintf(where, e.catalog)
}

// settleNewest finds the newest samples anew of series that may have lost theirs.
func (e *eraser) settleNewest(t memtable.Tombstone) error {
	var lost []int64
	err := e.conn.Query(e.ctx, "SELECT DISTINCT series_id FROM "+e.catalog+".newest WHERE ts >= $2 AND ts <= $3 AND series_id IN"+
		" (SELECT id FROM "+e.catalog+".series WHERE metric_id = $1)", []any{int64(t.Metric), t.From, t.To}, func(chunk engine.Chunk) error {
		lost = append(lost, chunk.Int64s(0)...)
		return nil
	})
	if err != nil || len(lost) == 0 {
		return err
	}
	if err := e.exec("DELETE FROM "+e.catalog+".newest WHERE series_id IN (SELECT unnest($1::BIGINT[]))", lost); err != nil {
		return err
	}
	order := "{'ts': ts, 'gen': gen, 'place': place}"
	return e.exec("INSERT INTO "+e.catalog+".newest SELECT series_id, max(ts), arg_max(value, "+order+"), arg_max(gen, "+order+") FROM "+
		samplesOf(e.catalog)+" WHERE metric_id = $1 AND series_id IN (SELECT unnest($2::BIGINT[])) GROUP BY series_id", int64(t.Metric), lost)
}

// expire drops the rows of metrics whose window ends before a cut-off; nil means all metrics.
func (e *eraser) expire(metrics []int64, cutoff int64) error {
	where, args := "until < $1", []any{cutoff}
	if metrics != nil {
		where += " AND metric_id IN (SELECT unnest($2::BIGINT[]))"
		args = append(args, metrics)
	}
	found, err := e.takeWhere(where, args)
	if err != nil || !found {
		return err
	}
	for _, r := range rollups {
		// A bucket belongs to the window of its run, and gen and window name the run.
		text := "DELETE FROM " + e.catalog + "." + r.table + " USING " + e.catalog + ".runs AS r WHERE " + r.table + ".gen = r.gen" +
			" AND bucket >= r.day * 86400000000 AND bucket < (r.day + r.days) * 86400000000 AND (r.day + r.days) * 86400000000 <= $1"
		if metrics != nil {
			text += " AND metric_id IN (SELECT unnest($2::BIGINT[]))"
		}
		if err := e.exec(text, args...); err != nil {
			return err
		}
	}
	return e.exec("DELETE FROM "+e.catalog+".points WHERE "+where, args...)
}
