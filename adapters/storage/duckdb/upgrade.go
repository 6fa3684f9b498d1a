package duckdb

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
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
		{"INSERT INTO " + catalog + ".hours " + rollupOf(catalog, "true") + " ORDER BY gen, metric_id, series_id, bucket", []any{lift(hourMicros), hourMicros}},
		{"UPDATE " + catalog + ".meta SET format = $1", []any{int64(formatVersion)}},
		{"DROP TABLE " + catalog + ".samples", nil},
	} {
		if err := c.Query(ctx, step.text, step.args, nil); err != nil {
			return err
		}
	}
	return nil
}
