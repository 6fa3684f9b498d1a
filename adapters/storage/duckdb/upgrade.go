package duckdb

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// upgrade brings a file of format 1, which had no rollups and did not cut its flushes into windows, to
// the present one, in one transaction and a checkpoint. An interrupted one begins anew.
func upgrade(ctx context.Context, c *engine.Conn, catalog string) error {
	err := c.Transact(ctx, func() error {
		for _, t := range tables {
			if slices.Contains(tablesSince2, t.name) {
				if err := c.Exec(ctx, "CREATE TABLE "+catalog+"."+t.name+" ("+t.columns+")"); err != nil {
					return err
				}
			}
		}
		return upgradeRows(ctx, c, catalog)
	})
	if err != nil {
		return fmt.Errorf("bring to format %d: %w", formatVersion, err)
	}
	return checkpoint(context.WithoutCancel(ctx), c, catalog)
}

func upgradeRows(ctx context.Context, c *engine.Conn, catalog string) error {
	day := []any{lift(dayMicros), dayMicros}
	for _, step := range []struct {
		text string
		args []any
	}{
		{"INSERT INTO " + catalog + ".points SELECT metric_id, series_id, ts - since, value, gen, since, since + $2 - 1, 1 FROM " +
			"(SELECT *, (ts + $1) // $2 * $2 - $1 AS since, rowid AS place FROM " + catalog + ".samples) " +
			"ORDER BY gen, since, metric_id, series_id, ts, place", day},
		{"INSERT INTO " + catalog + ".runs SELECT gen, (since + $1) // $2 - $1 // $2, 1, count(*), min(ts), max(ts), 0 FROM " +
			samplesOf(catalog) + " GROUP BY gen, since ORDER BY gen, since", day},
		{"INSERT INTO " + catalog + ".hours " + rollupOf(catalog) + " ORDER BY gen, metric_id, series_id, bucket", []any{lift(hourMicros), hourMicros}},
		{"UPDATE " + catalog + ".meta SET format = $1", []any{int64(formatVersion)}},
		{"DROP TABLE " + catalog + ".samples", nil},
	} {
		if err := c.Query(ctx, step.text, step.args, nil); err != nil {
			return err
		}
	}
	return nil
}

// rollupOf selects the rollup of all samples of a file, in the order of rollupColumns. SQL's sum has no
// second part; it is within promise 4 as it is.
func rollupOf(catalog string) string {
	order := "{'ts': ts, 'gen': gen, 'place': place}"
	return "SELECT metric_id, series_id, (ts + $1) // $2 * $2 - $1 AS bucket, count(*), fsum(value), 0, min(value), max(value), " +
		"min(ts), arg_min(value, " + order + "), max(ts), arg_max(value, " + order + "), gen FROM " + samplesOf(catalog) +
		" GROUP BY metric_id, series_id, bucket, gen"
}

// lift is what must be added to a time before SQL divides it by width, since SQL's division truncates: a
// multiple of width that lifts every time above zero.
func lift(width int64) int64 { return (-int64(metric.TimestampMin)/width + 2) * width }
