package duckdb

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// upgrade brings a file of an earlier format to the present one, in one transaction and a checkpoint. An
// interrupted one begins anew.
func upgrade(ctx context.Context, c *engine.Conn, catalog string, format int64) error {
	err := c.Transact(ctx, func() error {
		if format == 1 {
			if err := upgradeFrom1(ctx, c, catalog); err != nil {
				return err
			}
		} else if err := upgradeFrom2(ctx, c, catalog); err != nil {
			return err
		}
		return c.Query(ctx, "UPDATE "+catalog+".meta SET format = $1", []any{int64(formatVersion)}, nil)
	})
	if err != nil {
		return fmt.Errorf("bring to format %d: %w", formatVersion, err)
	}
	return checkpoint(context.WithoutCancel(ctx), c, catalog)
}

// upgradeFrom1 makes the tables that a file of format 1, which had no rollups and did not cut its flushes
// into windows, does not have.
func upgradeFrom1(ctx context.Context, c *engine.Conn, catalog string) error {
	if err := declare(ctx, c, catalog, tablesSince2); err != nil {
		return err
	}
	day := []any{lift(dayMicros), dayMicros}
	for _, step := range []struct {
		text string
		args []any
	}{
		{"INSERT INTO " + catalog + ".points SELECT metric_id, series_id, ts - since, value, gen, since, since + $2 - 1, 1, 0 FROM " +
			"(SELECT *, (ts + $1) // $2 * $2 - $1 AS since, rowid AS place FROM " + catalog + ".samples) " +
			"ORDER BY gen, since, metric_id, series_id, ts, place", day},
		{"INSERT INTO " + catalog + ".runs SELECT gen, (since + $1) // $2 - $1 // $2, 1, count(*), min(ts), max(ts), 0 FROM " +
			samplesOf(catalog) + " GROUP BY gen, since ORDER BY gen, since", day},
		{"INSERT INTO " + catalog + ".hours " + rollupOf(catalog, "true") + " ORDER BY gen, metric_id, series_id, bucket", []any{lift(hourMicros), hourMicros}},
		{"DROP TABLE " + catalog + ".samples", nil},
	} {
		if err := c.Query(ctx, step.text, step.args, nil); err != nil {
			return err
		}
	}
	return nil
}

// upgradeFrom2 adds the column by which counts go on from series to series: those of format 2 begin with
// each, so nothing is taken from them. Merges write them as of now.
func upgradeFrom2(ctx context.Context, c *engine.Conn, catalog string) error {
	for _, change := range []string{"ADD COLUMN shift BIGINT DEFAULT 0", "ALTER COLUMN shift SET NOT NULL", "ALTER COLUMN shift DROP DEFAULT"} {
		if err := c.Exec(ctx, "ALTER TABLE "+catalog+".points "+change); err != nil {
			return err
		}
	}
	return nil
}
