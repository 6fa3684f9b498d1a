package duckdb

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// formatVersion is the version of the tables in a shard's file.
const formatVersion = 3

// attachOptions: small blocks leave fewer half-empty ones at the end of each compressed column, and
// only the pinned storage version has the compression of doubles with them (see DESIGN.md).
const attachOptions = "BLOCK_SIZE 65536, STORAGE_VERSION 'v1.5.0'"

// repeated is the type of a column that has one value for many rows on end. The compression is named where it
// is known, for DuckDB would try every other, too: at each checkpoint and for each block of each column.
const repeated = "BIGINT NOT NULL USING COMPRESSION rle"

// Tables of a shard's file. Everything is BIGINT so that bound parameters need no cast, which would
// keep zone maps from pruning; the compression makes up for it. gen is the memtable generation with
// which a row was flushed.
var tables = []struct{ name, columns string }{
	{"meta", "format BIGINT NOT NULL, cluster VARCHAR NOT NULL, shard BIGINT NOT NULL"},
	{"state", "record BLOB NOT NULL"},
	{"metrics", "id BIGINT NOT NULL, name VARCHAR NOT NULL"},
	{"series", "id BIGINT NOT NULL, metric_id BIGINT NOT NULL, key VARCHAR NOT NULL"},
	{"newest", "series_id BIGINT NOT NULL, ts BIGINT NOT NULL, value DOUBLE NOT NULL, gen BIGINT NOT NULL"},
	{"points", "metric_id " + repeated + ", series_id " + repeated + ", t BIGINT NOT NULL USING COMPRESSION bitpacking, value DOUBLE NOT NULL, " +
		"gen " + repeated + ", since " + repeated + ", until " + repeated + ", unit " + repeated + ", shift " + repeated},
	{"hours", rollupColumns},
	{"minutes", rollupColumns},
	{"runs", "gen BIGINT NOT NULL, day BIGINT NOT NULL, days BIGINT NOT NULL, rows BIGINT NOT NULL, " +
		"min_ts BIGINT NOT NULL, max_ts BIGINT NOT NULL, minutes BIGINT NOT NULL"},
}

// tablesSince2 are the tables that format 2 brought, in place of the table samples of format 1.
var tablesSince2 = []string{"points", "hours", "minutes", "runs"}

// samplesOf is what stands after FROM to read the samples of a file: metric_id, series_id, ts, value, gen,
// since, until and place, which tells the order of the log among samples of one gen, series and time.
//
// A sample's time is a number of steps (unit) since its window's begin: t + shift, where t is a count that
// goes on from series to series (stepCount) and shift takes it back to the series' own, one value for all
// samples of a series. So the compression meets no jumps where two series meet. No zone map can prune by ts,
// so whoever wants a range of time also asks for since <= its end and until >= its begin, the window's first
// and last instant.
func samplesOf(catalog string) string {
	return "(SELECT metric_id, series_id, " + tsSQL + " AS ts, value, gen, since, until, rowid AS place FROM " + catalog + ".points)"
}

// tsSQL is the time of a row of points, see samplesOf.
const tsSQL = "since + unit * (t + shift)"

// attach makes a file's tables reachable as catalog.
func attach(ctx context.Context, c *engine.Conn, file, catalog, options string) error {
	statement := "ATTACH " + engine.QuoteText(file) + " AS " + catalog
	if options != "" {
		statement += " (" + options + ")"
	}
	return c.Exec(ctx, statement)
}

func detach(ctx context.Context, c *engine.Conn, catalog string) error {
	return c.Exec(context.WithoutCancel(ctx), "DETACH DATABASE IF EXISTS "+catalog)
}

// checkpoint makes a file complete by itself. It is forced, which makes it wait for whoever holds the file's
// lock for a moment, as pragma_database_size does with those of all files; a plain one is refused then.
// Transactions of others go on as with a plain one.
func checkpoint(ctx context.Context, c *engine.Conn, catalog string) error {
	return c.Exec(ctx, "FORCE CHECKPOINT "+catalog)
}

// createTables fills a new file.
func createTables(ctx context.Context, c *engine.Conn, catalog, cluster string, id shard.ID) error {
	return c.Transact(ctx, func() error {
		if err := declare(ctx, c, catalog, nil); err != nil {
			return err
		}
		if err := c.Query(ctx, "INSERT INTO "+catalog+".meta VALUES ($1, $2, $3)",
			[]any{int64(formatVersion), cluster, int64(id)}, nil); err != nil {
			return err
		}
		return writeState(ctx, c, catalog, stateRecord{})
	})
}

// declare creates those of the tables that are named, nil for all, which the file does not have.
func declare(ctx context.Context, c *engine.Conn, catalog string, names []string) error {
	for _, t := range tables {
		if names != nil && !slices.Contains(names, t.name) {
			continue
		}
		if err := c.Exec(ctx, "CREATE TABLE "+catalog+"."+t.name+" ("+t.columns+")"); err != nil {
			return err
		}
	}
	return nil
}

// writeState replaces the state record.
func writeState(ctx context.Context, c *engine.Conn, catalog string, r stateRecord) error {
	if err := c.Exec(ctx, "DELETE FROM "+catalog+".state"); err != nil {
		return fmt.Errorf("clear state: %w", err)
	}
	if err := c.Query(ctx, "INSERT INTO "+catalog+".state VALUES ($1)", []any{r.encode()}, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// readState returns the state record of the last flush.
func readState(ctx context.Context, c *engine.Conn, catalog string) (stateRecord, error) {
	var records []string
	err := c.Query(ctx, "SELECT record FROM "+catalog+".state", nil, func(chunk engine.Chunk) error {
		for row := range chunk.Rows() {
			records = append(records, chunk.Text(0, row))
		}
		return nil
	})
	if err != nil {
		return stateRecord{}, fmt.Errorf("read state: %w", err)
	}
	if len(records) != 1 {
		return stateRecord{}, fmt.Errorf("%d state records: %w", len(records), errState)
	}
	return decodeState([]byte(records[0]))
}

// rowCounts are the lengths of a file's tables, as far as a flush must know them.
type rowCounts struct{ series, metrics, newest int }

func countRows(ctx context.Context, c *engine.Conn, catalog string) (rowCounts, error) {
	var n rowCounts
	for _, t := range []struct {
		name string
		rows *int
	}{{"series", &n.series}, {"metrics", &n.metrics}, {"newest", &n.newest}} {
		err := c.Query(ctx, "SELECT count(*) FROM "+catalog+"."+t.name, nil, func(chunk engine.Chunk) error {
			*t.rows = int(chunk.Int64s(0)[0])
			return nil
		})
		if err != nil {
			return rowCounts{}, fmt.Errorf("count %s: %w", t.name, err)
		}
	}
	return n, nil
}
