package duckdb

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// upgrade brings a file of format 1, which had no rollups and did not cut its flushes into windows, to
// the present one, in one transaction and a checkpoint. An interrupted one begins anew.
func upgrade(ctx context.Context, c *engine.Conn, catalog string) error {
	err := c.Transact(ctx, func() error {
		for _, t := range tables {
			if t.since < 2 {
				continue
			}
			if err := c.Exec(ctx, "CREATE TABLE "+catalog+"."+t.name+" ("+t.columns+")"); err != nil {
				return err
			}
		}
		if err := c.Query(ctx, "INSERT INTO "+catalog+".hours "+rollupOf(catalog)+
			" ORDER BY gen, metric_id, series_id, bucket", []any{lift(hourMicros), hourMicros}, nil); err != nil {
			return fmt.Errorf("roll up: %w", err)
		}
		// One run a flush and day would tell what lies where no better: the rows are not in that order.
		if err := c.Query(ctx, "INSERT INTO "+catalog+".runs SELECT gen, (ts + $1) // $2 - $1 // $2, 1, count(*), min(ts), max(ts), 0 FROM "+
			catalog+".samples GROUP BY ALL ORDER BY ALL", []any{lift(dayMicros), dayMicros}, nil); err != nil {
			return fmt.Errorf("find the runs: %w", err)
		}
		return c.Query(ctx, "UPDATE "+catalog+".meta SET format = $1", []any{int64(formatVersion)}, nil)
	})
	if err != nil {
		return err
	}
	return checkpoint(context.WithoutCancel(ctx), c, catalog)
}

// rollupOf selects the rollup of all samples of a file, in the order of rollupColumns. SQL's sum has no
// second part; it is within promise 4 as it is.
func rollupOf(catalog string) string {
	order := "{'ts': ts, 'gen': gen, 'row': rowid}"
	return "SELECT metric_id, series_id, (ts + $1) // $2 * $2 - $1 AS bucket, count(*), fsum(value), 0, min(value), max(value), " +
		"min(ts), arg_min(value, " + order + "), max(ts), arg_max(value, " + order + "), gen FROM " + catalog +
		".samples GROUP BY metric_id, series_id, bucket, gen"
}

// lift is what must be added to a time before SQL divides it by width, since SQL's division truncates: a
// multiple of width that lifts every time above zero.
func lift(width int64) int64 { return (-int64(metric.TimestampMin)/width + 2) * width }
