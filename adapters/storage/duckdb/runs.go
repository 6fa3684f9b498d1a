package duckdb

import (
	"cmp"
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// Spans of time in microseconds. Buckets and windows are aligned at 1970-01-01T00:00:00Z, so that a
// bucket never lies in two windows.
const (
	minuteMicros = int64(60_000_000)
	hourMicros   = 60 * minuteMicros
	dayMicros    = 24 * hourMicros
)

// run is rows that were written together: those of one flush, or of what a merge made of several, in one
// window of time, by metric, series, time and place in the log.
type run struct {
	gen      int64 // which all of its rows carry
	day      int64 // when the window begins, in days since 1970
	days     int64 // how wide the window is: a power of two, and day is a multiple of it
	rows     int64 // in samples
	from, to int64 // times of the first and the last sample
	minutes  bool  // it has rows in minutes; it always has some in hours
}

// span returns the run's window.
func (r run) span() span { return window{r.day, r.days}.span() }

// windowsMax bounds the windows of one flush: where its samples lie further apart, the windows are
// wider.
const windowsMax = 1024

// windowDays returns how many days wide the windows of a flush are whose samples lie between two times.
func windowDays(oldest, newest int64) int64 {
	days := int64(1)
	for (floorTo(newest, days*dayMicros)-floorTo(oldest, days*dayMicros))/(days*dayMicros) >= windowsMax {
		days *= 2
	}
	return days
}

// floorTo returns the greatest multiple of width that is not after at.
func floorTo(at, width int64) int64 {
	rest := at % width
	if rest < 0 {
		rest += width
	}
	return at - rest
}

// runList returns the runs of the file as of the newest flush or merge, in no order. A query that takes
// it after its view finds every run of that view; those of later generations are not for it.
func (r *replica) runList() []run {
	if runs := r.runs.Load(); runs != nil {
		return *runs
	}
	return nil
}

// loadRuns reads the runs of a file.
func loadRuns(ctx context.Context, c *engine.Conn, catalog string) ([]run, error) {
	var runs []run
	text := "SELECT gen, day, days, rows, min_ts, max_ts, minutes FROM " + catalog + ".runs"
	err := c.Query(ctx, text, nil, func(chunk engine.Chunk) error {
		for row := range chunk.Rows() {
			runs = append(runs, run{
				gen: chunk.Int64s(0)[row], day: chunk.Int64s(1)[row], days: chunk.Int64s(2)[row], rows: chunk.Int64s(3)[row],
				from: chunk.Int64s(4)[row], to: chunk.Int64s(5)[row], minutes: chunk.Int64s(6)[row] != 0,
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return runs, nil
}

// writeRuns adds rows about runs.
func writeRuns(ctx context.Context, c *engine.Conn, catalog string, runs []run) error {
	return appendRows(ctx, c, catalog, "runs", len(runs), func(b engine.Batch, first, rows int) {
		for row, r := range runs[first : first+rows] {
			minutes := int64(0)
			if r.minutes {
				minutes = 1
			}
			for column, value := range []int64{r.gen, r.day, r.days, r.rows, r.from, r.to, minutes} {
				b.Int64s(column)[row] = value
			}
		}
	})
}

// compareRuns orders runs by window, then by generation, which is the order of the log.
func compareRuns(a, b run) int {
	return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.days, b.days), cmp.Compare(a.gen, b.gen))
}
