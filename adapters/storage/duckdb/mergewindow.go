package duckdb

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
)

// stretchRowsMax bounds the rows that a merge holds at once, 40 bytes each, unless one series and hour has
// more.
const stretchRowsMax = 1 << 19

// merge makes one run of runs, which are of one window and consecutive in the log, in the transaction of
// e. Rows of the file up to lastPlace were there before the transaction.
func (e *eraser) merge(runs []run, lastPlace int64) error {
	for _, r := range rollups {
		if err := e.exec("DELETE FROM " + e.catalog + "." + r.table + " WHERE " + ofRuns(r.table, runs)); err != nil {
			return err
		}
	}
	if err := e.mergeInto(e.catalog, runs); err != nil {
		return err
	}
	return e.exec("DELETE FROM "+e.catalog+".points WHERE "+ofRuns("points", runs)+" AND rowid <= $1", lastPlace)
}

// ofRuns picks the rows that a table, of samples or of rollups, has of runs, which are of one window and
// consecutive in the log. It is no list of generations, for DuckDB makes a join of a long one, and a join does
// not keep rows in their order.
func ofRuns(table string, runs []run) string {
	at, condition := runs[0].span(), "bucket >= %d AND bucket <= %d"
	if table == "points" {
		condition = "since = %d AND until = %d"
	}
	return fmt.Sprintf("gen >= %d AND gen <= %d AND "+condition, runs[0].gen, runs[len(runs)-1].gen, at.from, at.to)
}

// merger copies the rows of runs of one window, in order, series by series.
type merger struct {
	*eraser
	runs []run

	series map[int64]int // index into rows
	rows   [][]logRow
	pieces [][]logRow // of one series
	points []memtable.Point
}

// mergeInto adds the one run that comes of runs to the file called catalog. It carries the greatest of the
// generations, so that the order of the log stays; its rollups are made anew from its samples.
func (e *eraser) mergeInto(catalog string, runs []run) error {
	newest, dense := runs[len(runs)-1], int64(0)
	for _, r := range runs {
		if r.minutes {
			dense += r.rows
		}
	}
	w, err := newRunWriter(e.ctx, e.conn, catalog, newest.gen, 2*dense > rowsOf(runs))
	if err != nil {
		return err
	}
	w.begin(newest.day, newest.days)
	err = (&merger{eraser: e, runs: runs}).copy(w)
	var merged []run
	if err == nil {
		merged, err = w.finish()
	}
	if closed := w.close(err == nil); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return e.renew(runs, merged)
}

// logRow is a row with its place in the log.
type logRow struct {
	memtable.Point
	gen, place int64
}

func (m *merger) copy(w *runWriter) error {
	stretches, err := m.stretches()
	if err != nil {
		return err
	}
	all := m.runs[0].span()
	for _, s := range stretches {
		if err := m.copyStretch(w, s, all.from, all.to); err != nil {
			return err
		}
	}
	return nil
}

// stretches divides the series so that each part has few rows, or one series.
func (m *merger) stretches() ([]stretch, error) {
	var all stretches
	err := m.conn.Query(m.ctx, "SELECT metric_id, series_id, count(*) FROM "+m.catalog+".points WHERE "+ofRuns("points", m.runs)+
		" GROUP BY metric_id, series_id ORDER BY metric_id, series_id", nil, func(chunk engine.Chunk) error {
		all.add(chunk, stretchRowsMax)
		return nil
	})
	return all, err
}

// copyStretch copies the samples of a stretch between two times, both included, in parts where they are
// many. A part ends with an hour, and an hour is not divided.
func (m *merger) copyStretch(w *runWriter, s stretch, from, to int64) error {
	if middle := floorTo(from+(to-from)/2, hourMicros); s.rows > stretchRowsMax && middle > from {
		// How many rows a half has is not asked for: halving ends with hours.
		half := s
		half.rows = s.rows / 2
		if err := m.copyStretch(w, half, from, middle-1); err != nil {
			return err
		}
		return m.copyStretch(w, half, middle, to)
	}
	m.series, m.rows = map[int64]int{}, m.rows[:0]
	text := "SELECT series_id, ts, value, gen, place FROM " + samplesOf(m.catalog) + " WHERE " + ofRuns("points", m.runs) +
		" AND metric_id = $1 AND series_id >= $2 AND series_id <= $3"
	args := []any{s.metric, s.first, s.last}
	if all := m.runs[0].span(); from > all.from || to < all.to {
		text += " AND ts >= $4 AND ts <= $5"
		args = append(args, from, to)
	}
	if err := m.conn.Query(m.ctx, text, args, m.gather); err != nil {
		return err
	}
	for id := s.first; id <= s.last; id++ {
		if at, some := m.series[id]; some {
			if err := w.add(s.metric, id, m.ordered(m.rows[at])); err != nil {
				return err
			}
		}
	}
	return nil
}

// gather sorts rows by series. A run's rows come in its order, so that little is left to sort.
func (m *merger) gather(chunk engine.Chunk) error {
	ids, times, values, gens, places := chunk.Int64s(0), chunk.Int64s(1), chunk.Float64s(2), chunk.Int64s(3), chunk.Int64s(4)
	last, at := int64(-1), 0
	for row, id := range ids {
		if id != last {
			at, last = m.index(id), id
		}
		m.rows[at] = append(m.rows[at], logRow{memtable.Point{At: times[row], Value: values[row]}, gens[row], places[row]})
	}
	return nil
}

// index returns where the rows of a series are gathered.
func (m *merger) index(id int64) int {
	at, known := m.series[id]
	if !known {
		at = len(m.rows)
		m.series[id] = at
		m.rows = slices.Grow(m.rows, 1)[:at+1]
		m.rows[at] = m.rows[at][:0] // as long as it was for another stretch
	}
	return at
}

// ordered returns rows by time, ties in the order of the log. They come in pieces that are in order, each of
// one run as a rule, and whose times overlap only where samples came late.
func (m *merger) ordered(rows []logRow) []memtable.Point {
	m.pieces = m.pieces[:0]
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && compareRows(rows[to-1], rows[to]) <= 0 {
			to++
		}
		m.pieces = append(m.pieces, rows[from:to])
		from = to
	}
	slices.SortFunc(m.pieces, func(a, b []logRow) int { return compareRows(a[0], b[0]) })
	for i := 1; i < len(m.pieces); i++ {
		if before := m.pieces[i-1]; compareRows(before[len(before)-1], m.pieces[i][0]) > 0 {
			slices.SortFunc(rows, compareRows)
			m.pieces = append(m.pieces[:0], rows)
			break
		}
	}
	m.points = m.points[:0]
	for _, piece := range m.pieces {
		for i := range piece {
			m.points = append(m.points, piece[i].Point)
		}
	}
	return m.points
}

func compareRows(a, b logRow) int {
	if a.At != b.At {
		return cmp.Compare(a.At, b.At)
	}
	return cmp.Or(cmp.Compare(a.gen, b.gen), cmp.Compare(a.place, b.place))
}
