package duckdb_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// question is one of the benchmark's, as storage gets it.
type question struct {
	name string
	ask  func(b *testing.B, s *duckdb.Store) (samples uint64)
}

func benchShardIDs() (all []shard.ID) {
	for id := range shard.ID(benchShards) {
		all = append(all, id)
	}
	return all
}

// partials asks for a table and returns it with its number of samples.
func partials(b *testing.B, s *duckdb.Store, spec aggregate.QuerySpec) (aggregate.Table, uint64) {
	b.Helper()
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		b.Fatal(err)
	}
	table, err := s.Partials(context.Background(), benchShardIDs(), q)
	if err != nil {
		b.Fatal(err)
	}
	var count uint64
	for _, g := range table.Groups {
		for _, c := range g.Cells {
			count += c.Partial.Count()
		}
	}
	return table, count
}

func benchName(b *testing.B, n int) metric.Name {
	b.Helper()
	name, err := metric.NewName(fmt.Sprintf("cpu%d", n))
	if err != nil {
		b.Fatal(err)
	}
	return name
}

func benchMatchers(b *testing.B, hosts ...int) metric.Matchers {
	b.Helper()
	var values []string
	for _, h := range hosts {
		values = append(values, fmt.Sprintf("host_%d", h))
	}
	m, err := metric.NewSelection([]metric.Matcher{{Key: "host", Op: metric.MatchAnyOf, Values: values}})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func benchWindow(b *testing.B, text string) aggregate.Window {
	b.Helper()
	w, err := aggregate.ParseWindow(text)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// questions are Q1 to Q8; in each, n varies the metric or host where the question names one.
func questions(b *testing.B) []question {
	b.Helper()
	one := benchMatchers(b, 42)
	few := benchMatchers(b, 1, 12, 23, 34, 45, 56, 67, 78)
	hour := benchWindow(b, "1h")
	minute := benchWindow(b, "1m")
	plain := func(spec aggregate.QuerySpec) func(*testing.B, *duckdb.Store) uint64 {
		return func(b *testing.B, s *duckdb.Store) uint64 {
			b.Helper()
			_, count := partials(b, s, spec)
			return count
		}
	}
	from, to := metric.Timestamp(12*3600_000_000), metric.Timestamp(13*3600_000_000-1)
	during, err := aggregate.NewRange(&from, &to)
	if err != nil {
		b.Fatal(err)
	}
	over, err := aggregate.NewWhere(aggregate.Greater, 90)
	if err != nil {
		b.Fatal(err)
	}
	return []question{
		{"Q1 latest of one series", func(b *testing.B, s *duckdb.Store) uint64 {
			b.Helper()
			if _, ok, err := s.Latest(context.Background(), benchShardIDs(), benchName(b, 3), one); err != nil || !ok {
				b.Fatal(ok, err)
			}
			return 1
		}},
		{"Q2 one series over everything", plain(aggregate.QuerySpec{Metric: benchName(b, 3), Matchers: one})},
		{"Q3 one metric by 1h", plain(aggregate.QuerySpec{Metric: benchName(b, 3), Window: hour})},
		{"Q4 one metric by host and 1h", plain(aggregate.QuerySpec{Metric: benchName(b, 3), Window: hour, GroupBy: []string{"host"}})},
		{"Q5 5 metrics, 8 hosts by 1m in 1h", func(b *testing.B, s *duckdb.Store) (samples uint64) {
			b.Helper()
			for m := range 5 {
				_, count := partials(b, s, aggregate.QuerySpec{Metric: benchName(b, m), Matchers: few, Window: minute, Range: during})
				samples += count
			}
			return samples
		}},
		{"Q6 by host", plain(aggregate.QuerySpec{Metric: benchName(b, 3), GroupBy: []string{"host"}})},
		{"Q7 exact p95 and p99", askQuantiles},
		{"Q8 over 90", plain(aggregate.QuerySpec{Metric: benchName(b, 3), Where: over})},
	}
}

// askQuantiles asks in as many rounds as exact quantiles take.
func askQuantiles(b *testing.B, s *duckdb.Store) (rounds uint64) {
	b.Helper()
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: benchName(b, 3)})
	if err != nil {
		b.Fatal(err)
	}
	functions, err := aggregate.ParseFunctions("p95,p99")
	if err != nil {
		b.Fatal(err)
	}
	search := aggregate.NewSearch(aggregate.Question{Query: q, Functions: functions})
	for {
		next, more, err := search.Next()
		if err != nil {
			b.Fatal(err)
		}
		if !more {
			return rounds
		}
		rounds++
		table, err := s.Partials(context.Background(), benchShardIDs(), next)
		if err == nil {
			err = search.Take(table)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQuestions asks the questions of 10 million flushed samples, warm, without the cache, and as
// first asked by nobody before.
func BenchmarkQuestions(b *testing.B) {
	n := newNode(b, duckdb.Options{})
	store, err := duckdb.New(n.options)
	if err != nil {
		b.Fatal(err)
	}
	load(b, store)
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	for _, cached := range []bool{true, false} {
		name := "cache"
		n.options.CacheBytesMax = 0
		if !cached {
			name, n.options.CacheBytesMax = "no cache", -1
		}
		b.Run(name, func(b *testing.B) {
			openAll(b, n)
			b.Cleanup(func() { _ = n.store.Close() })
			for _, q := range questions(b) {
				b.Run(q.name, func(b *testing.B) { answer(b, n.store, q) })
			}
		})
	}
}

func answer(b *testing.B, s *duckdb.Store, q question) {
	b.Helper()
	want := q.ask(b, s)
	for range 3 {
		q.ask(b, s)
	}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if got := q.ask(b, s); got != want {
			b.Fatalf("%d samples, want %d", got, want)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
