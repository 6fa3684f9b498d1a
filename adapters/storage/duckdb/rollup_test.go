package duckdb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	hour = int64(3600_000_000)
	day  = 24 * hour
)

// checkRollups compares hours, minutes and runs of a shard's file with what SQL makes of its samples.
func checkRollups(t *testing.T, s *duckdb.Store, id shard.ID) {
	t.Helper()
	// A window of the year 0 lifts every time above zero.
	const lifted = "(ts + 63072000000000000)"
	order := "{'ts': ts, 'gen': gen, 'place': place}"
	for table, width := range map[string]string{"hours": "3600000000", "minutes": "60000000"} {
		dense := ""
		if table == "minutes" {
			dense = " AND EXISTS (SELECT 1 FROM file.runs r WHERE r.gen = s.gen AND ts >= min_ts AND ts <= max_ts AND minutes = 1)"
		}
		rolled := "SELECT metric_id, series_id, bucket, count, min, max, first_at, first, last_at, last, gen FROM file." + table
		expected := "SELECT metric_id, series_id, " + lifted + " // " + width + " * " + width + " - 63072000000000000 AS bucket, count(*), min(value), max(value), " +
			"min(ts), arg_min(value, " + order + "), max(ts), arg_max(value, " + order + "), gen FROM file.samples() s WHERE true" + dense + " GROUP BY metric_id, series_id, bucket, gen"
		for what, text := range map[string]string{
			"too much":   rolled + " EXCEPT ALL " + expected,
			"missing":    expected + " EXCEPT ALL " + rolled,
			"wrong sums": "SELECT * FROM (SELECT series_id, bucket, gen, sum + comp AS got FROM file." + table + ") JOIN (SELECT series_id, " + lifted + " // " + width + " * " + width + " - 63072000000000000 AS bucket, gen, fsum(value) AS want, sum(abs(value)) AS size FROM file.samples() GROUP BY ALL) USING (series_id, bucket, gen) WHERE isfinite(want) AND abs(got - want) > 1e-15 * size",
		} {
			rows := 0
			err := s.Ask(t.Context(), id, text, func(c engine.Chunk) error {
				rows += c.Rows()
				return nil
			})
			if err != nil || rows != 0 {
				t.Errorf("%s: %d rows are %s, %v", table, rows, what, err)
			}
		}
	}
	checkRuns(t, s, id)
}

// checkRuns shows that every sample lies in exactly one run, and that the runs tell what they hold; times are
// bounds once samples were taken away.
func checkRuns(t *testing.T, s *duckdb.Store, id shard.ID) {
	t.Helper()
	day := "86400000000"
	wrong := "SELECT * FROM (SELECT gen, day, days, rows, min_ts, max_ts FROM file.runs) FULL JOIN (" +
		"SELECT r.gen AS gen, r.day AS day, count(*) AS n, min(ts) AS least, max(ts) AS greatest FROM file.samples() s JOIN file.runs r" +
		" ON s.gen = r.gen AND ts >= r.day * " + day + " AND ts < (r.day + r.days) * " + day + " GROUP BY ALL) USING (gen, day)" +
		" WHERE rows IS DISTINCT FROM n OR min_ts > least OR max_ts < greatest" +
		" UNION ALL SELECT 0, 0, 0, 0, 0, 0, a, b, 0 FROM (SELECT (SELECT count(*) FROM file.samples()) AS a, (SELECT coalesce(sum(rows), 0) FROM file.runs) AS b) WHERE a != b"
	rows := 0
	err := s.Ask(t.Context(), id, wrong, func(c engine.Chunk) error {
		rows += c.Rows()
		return nil
	})
	if err != nil || rows != 0 {
		t.Errorf("%d runs are wrong, %v", rows, err)
	}
}

// TestRollups flushes samples of one day, of several, of thousands of years, dense and sparse, late and in
// order, of sums beyond the range.
func TestRollups(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{}))
	open(t, s, 0)
	r := rand.New(rand.NewPCG(1, 2))
	for index, spread := range []struct {
		samples  int
		from, to int64
		scale    float64
	}{
		{5000, 0, 10 * 60_000_000, 1},
		{5000, -day / 2, day / 2, 1e17},
		{5000, -3 * day, 40 * day, 1},
		{5000, -62135596800_000000, 253402300799_999999, 1},
		{3000, day, day + hour, math.MaxFloat64},
	} {
		var c outbound.Columns
		for i := range 7 {
			c.Keys = append(c.Keys, fmt.Sprintf(`m%d{host="%d"}`, i%3, i))
		}
		for range spread.samples {
			c.Series = append(c.Series, uint32(r.IntN(len(c.Keys))))
			c.Timestamps = append(c.Timestamps, spread.from+r.Int64N(spread.to-spread.from))
			c.Values = append(c.Values, (r.Float64()-0.3)*spread.scale)
		}
		if err := s.Append(t.Context(), 0, c); err != nil {
			t.Fatal(err)
		}
		s.Cut(0, outbound.AppliedState{Index: uint64(index + 1), Term: 1})
		if _, err := s.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		checkRollups(t, s, 0)
	}
}
