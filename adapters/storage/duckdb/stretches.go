package duckdb

import "github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"

// stretch is consecutive series of one metric in a file.
type stretch struct {
	metric, first, last int64
	rows                int64
}

// stretches cover series one after the other.
type stretches []stretch

// add takes the next series with their numbers of rows: metric, series, count. A stretch has at most rowsMax
// rows, or one series.
func (s *stretches) add(chunk engine.Chunk, rowsMax int64) {
	metrics, series, counts := chunk.Int64s(0), chunk.Int64s(1), chunk.Int64s(2)
	for row, metric := range metrics {
		if n := len(*s); n > 0 && (*s)[n-1].metric == metric && (*s)[n-1].rows+counts[row] <= rowsMax {
			(*s)[n-1].last = series[row]
			(*s)[n-1].rows += counts[row]
			continue
		}
		*s = append(*s, stretch{metric: metric, first: series[row], last: series[row], rows: counts[row]})
	}
}
