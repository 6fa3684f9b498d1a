package duckdb_test

import (
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// TestNewestOfManyFlushes writes so many flushes that the rows of newest samples are compacted, with
// late samples and ties, and compares what a restart finds with what was there before it.
func TestNewestOfManyFlushes(t *testing.T) {
	const series, flushes = 3000, 12
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	c := outbound.Columns{Series: make([]uint32, series), Timestamps: make([]int64, series), Values: make([]float64, series)}
	for i := range series {
		c.Keys = append(c.Keys, fmt.Sprintf(`cpu{host="h%d"}`, i))
		c.Series[i] = uint32(i)
	}
	for f := range flushes {
		for i := range series {
			// Every third series repeats its time, so that the last flush counts; the second has its
			// newest sample in the middle, the others at the end.
			c.Timestamps[i] = []int64{7, int64(-(f - 6) * (f - 6)), int64(f)}[i%3]
			c.Values[i] = float64(f*series + i)
		}
		if err := s.Append(t.Context(), 0, c); err != nil {
			t.Fatal(err)
		}
		s.Cut(0, outbound.AppliedState{Index: uint64(f + 1)})
		if _, err := s.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for i := range 30 {
			flush := []int{flushes - 1, 6, flushes - 1}[i%3]
			if got, want := latest(t, s, i), float64(flush*series+i); got != want {
				t.Errorf("series %d: newest value %v, want %v", i, got, want)
			}
		}
		stop(t, n)
		s = start(t, n)
		open(t, s, 0)
	}
}

func latest(t *testing.T, s *duckdb.Store, host int) float64 {
	t.Helper()
	matchers, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: fmt.Sprintf("h%d", host)}})
	if err != nil {
		t.Fatal(err)
	}
	sample, ok, err := s.Latest(t.Context(), []shard.ID{0}, everything(t).Metric(), matchers)
	if err != nil || !ok {
		t.Fatalf("Latest of host %d: %v, %v", host, ok, err)
	}
	return sample.Value()
}

// TestNamesAreData stores names that would be something else if they were ever part of a statement.
func TestNamesAreData(t *testing.T) {
	names := []string{
		`'; DROP TABLE s0_1.samples; --`, `"; DETACH s0_1; --`, `$1`, `%s%n`, `\x00`, `a'b"c` + "`d",
		`{host="x"}`, `x,y=z`, `метрика ☃ 温度`, "\u2028", ` `, `NULL`, `/* */ SELECT 1`,
	}
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	var c outbound.Columns
	for i, text := range names {
		name, err := metric.NewName(text)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := metric.NewTags([]metric.Tag{{Key: text, Value: text}})
		if err != nil {
			t.Fatal(err)
		}
		series, err := metric.NewSeries(name, tags)
		if err != nil {
			t.Fatal(err)
		}
		c.Keys = append(c.Keys, series.Key())
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, int64(i))
		c.Values = append(c.Values, float64(i))
	}
	if err := s.Append(t.Context(), 0, c); err != nil {
		t.Fatal(err)
	}
	s.Cut(0, outbound.AppliedState{Index: 1})
	if _, err := s.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	stop(t, n)
	s = start(t, n)
	open(t, s, 0)
	for i, text := range names {
		checkName(t, s, text, float64(i))
	}
}

func checkName(t *testing.T, s *duckdb.Store, text string, want float64) {
	t.Helper()
	table, err := s.Partials(t.Context(), []shard.ID{0}, named(t, text))
	if err != nil || len(table.Groups) != 1 {
		t.Fatalf("%q: %v, %v", text, table, err)
	}
	g := table.Groups[0]
	if g.Tags[0] != text || g.Cells[0].Partial.Count() != 1 || g.Cells[0].Partial.Max() != want {
		t.Errorf("%q: %v, want %v", text, g, want)
	}
}
