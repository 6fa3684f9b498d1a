package duckdb_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	benchHosts   = 100
	benchMetrics = 10
	benchShards  = 8
	// benchTicks makes 10 million samples.
	benchTicks = 10_000
	// benchStep is 10 s in microseconds.
	benchStep = 10_000_000
)

// loader appends random walks with two decimals, all series of a shard tick by tick.
type loader struct {
	random *rand.Rand
	series map[shard.ID][]string
	cents  map[shard.ID][]float64
}

func newLoader(b *testing.B) *loader {
	b.Helper()
	shards, err := shard.NewMap(benchShards, shard.SpreadDefault)
	if err != nil {
		b.Fatal(err)
	}
	l := &loader{random: rand.New(rand.NewPCG(1, 2)), series: map[shard.ID][]string{}, cents: map[shard.ID][]float64{}}
	for m := range benchMetrics {
		for h := range benchHosts {
			series, err := metric.ParseSeriesKey(fmt.Sprintf(`cpu%d{host="host_%d"}`, m, h))
			if err != nil {
				b.Fatal(err)
			}
			id := shards.Of(series)
			l.series[id] = append(l.series[id], series.Key())
			l.cents[id] = append(l.cents[id], 5000)
		}
	}
	return l
}

// ticksPerBatch makes batches of about 10,000 samples.
const ticksPerBatch = 80

func (l *loader) batch(id shard.ID, tick int) outbound.Columns {
	c := outbound.Columns{Keys: l.series[id]}
	for t := range ticksPerBatch {
		for i := range l.series[id] {
			cents := &l.cents[id][i]
			*cents = math.Max(0, math.Min(10_000, *cents+l.random.NormFloat64()*100))
			c.Series = append(c.Series, uint32(i))
			c.Timestamps = append(c.Timestamps, int64(tick+t)*benchStep)
			c.Values = append(c.Values, math.Round(*cents)/100)
		}
	}
	return c
}

// cpu returns the processor time of this process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// load brings 10 million samples into an empty store, cutting where it asks, and flushes the rest.
func load(b *testing.B, s *duckdb.Store) {
	b.Helper()
	ctx := b.Context()
	for id := range shard.ID(benchShards) {
		if _, err := s.Open(ctx, id); err != nil {
			b.Fatal(err)
		}
	}
	l := newLoader(b)
	var flushing time.Duration
	flush := func(id shard.ID, index uint64) {
		before := cpu(b)
		s.Cut(id, outbound.AppliedState{Index: index})
		if _, err := s.Flush(ctx, id); err != nil {
			b.Fatal(err)
		}
		flushing += cpu(b) - before
	}
	for tick := 0; tick < benchTicks; tick += ticksPerBatch {
		for id := range shard.ID(benchShards) {
			if err := s.Append(ctx, id, l.batch(id, tick)); err != nil {
				b.Fatal(err)
			}
			if s.WantsCut(id) {
				flush(id, uint64(tick+1))
			}
		}
	}
	for id := range shard.ID(benchShards) {
		flush(id, benchTicks+1)
	}
	millions := float64(benchTicks*benchHosts*benchMetrics) / 1e6
	b.ReportMetric(flushing.Seconds()/millions, "flush-cpu-s/million")
}

// BenchmarkLoad loads 10 million samples and reports what that cost.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		n := newNode(b, duckdb.Options{})
		store, err := duckdb.New(n.options)
		if err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		load(b, store)
		b.ReportMetric(10/time.Since(started).Seconds(), "million/s")
		b.ReportMetric(residentMiB(b), "RSS-peak-MiB")
		b.ReportMetric(bytesPerSample(b, n), "B/sample")
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func bytesPerSample(b *testing.B, n *node) float64 {
	b.Helper()
	bytes := int64(0)
	for id := range shard.ID(benchShards) {
		info, err := os.Stat(shardFile(n, id, "1.duckdb"))
		if err != nil {
			b.Fatal(err)
		}
		bytes += info.Size()
	}
	return float64(bytes) / (benchTicks * benchHosts * benchMetrics)
}

// residentMiB returns the most memory that the process has had.
func residentMiB(b *testing.B) float64 {
	b.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// BenchmarkStored measures opening and queries on 10 million flushed samples.
func BenchmarkStored(b *testing.B) {
	n := newNode(b, duckdb.Options{})
	store, err := duckdb.New(n.options)
	if err != nil {
		b.Fatal(err)
	}
	load(b, store)
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			openAll(b, n)
			if err := n.store.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	openAll(b, n)
	b.Cleanup(func() { _ = n.store.Close() })
	host := []metric.Tag{{Key: "host", Value: "host_42"}}
	for _, c := range []struct {
		name   string
		match  []metric.Tag
		window string
		group  []string
	}{
		{"one series", host, "", nil},
		{"one series, hourly", host, "1h", nil},
		{"one metric", nil, "", nil},
		{"one metric, hourly", nil, "1h", nil},
		{"one metric, by host", nil, "", []string{"host"}},
		{"one metric, hourly by host", nil, "1h", []string{"host"}},
	} {
		q := benchQuery(b, c.match, c.window, c.group)
		b.Run(c.name, func(b *testing.B) { ask(b, n.store, q) })
	}
}

func openAll(b *testing.B, n *node) {
	b.Helper()
	store, err := duckdb.New(n.options)
	if err != nil {
		b.Fatal(err)
	}
	n.store = store
	for id := range shard.ID(benchShards) {
		if _, err := store.Open(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
}

func benchQuery(b *testing.B, match []metric.Tag, window string, group []string) aggregate.Query {
	b.Helper()
	name, err := metric.NewName("cpu3")
	if err != nil {
		b.Fatal(err)
	}
	matchers, err := metric.NewMatchers(match)
	if err != nil {
		b.Fatal(err)
	}
	spec := aggregate.QuerySpec{Metric: name, Matchers: matchers, GroupBy: group}
	if window != "" {
		if spec.Window, err = aggregate.ParseWindow(window); err != nil {
			b.Fatal(err)
		}
	}
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		b.Fatal(err)
	}
	return q
}

func ask(b *testing.B, s *duckdb.Store, q aggregate.Query) {
	b.Helper()
	var all []shard.ID
	for id := range shard.ID(benchShards) {
		all = append(all, id)
	}
	want := uint64(benchTicks * benchHosts)
	if !q.Matchers().IsZero() {
		want = benchTicks
	}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		table, err := s.Partials(context.Background(), all, q)
		if err != nil {
			b.Fatal(err)
		}
		var count uint64
		for _, g := range table.Groups {
			for _, c := range g.Cells {
				count += c.Partial.Count()
			}
		}
		if count != want {
			b.Fatalf("count=%d, want %d", count, want)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkOpenSeries measures opening a shard of 100,000 series.
func BenchmarkOpenSeries(b *testing.B) {
	n := newNode(b, duckdb.Options{})
	store, err := duckdb.New(n.options)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := store.Open(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	for index := range uint64(3) {
		if err := store.Append(b.Context(), 0, columns(100_000, 100_000, index)); err != nil {
			b.Fatal(err)
		}
		store.Cut(0, outbound.AppliedState{Index: index})
		if _, err := store.Flush(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
		if store, err = duckdb.New(n.options); err != nil {
			b.Fatal(err)
		}
		if _, err := store.Open(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
	_ = store.Close()
}
