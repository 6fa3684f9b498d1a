package memtable_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// batch returns one sample of each of width series, at time at.
func batch(width int, at int64) outbound.Columns {
	c := outbound.Columns{}
	for i := range width {
		c.Keys = append(c.Keys, fmt.Sprintf(`cpu{host="host-%06d",region="eu"}`, i))
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, at)
		c.Values = append(c.Values, float64(i)/3)
	}
	return c
}

// BenchmarkAppend measures a sample's append: 1,000 series, 10 samples of each in a batch, either in the
// order of time or, as gateways send them, of series and by number; those of Influx's clients replace.
func BenchmarkAppend(b *testing.B) {
	const width, depth = 1000, 10
	for _, shape := range []struct {
		name              string
		bySeries, replace bool
	}{{"times", false, false}, {"series", true, false}, {"replace", true, true}} {
		b.Run(shape.name, func(b *testing.B) {
			c := batch(width, 0)
			c.Series, c.Values = make([]uint32, width*depth), make([]float64, width*depth)
			c.Timestamps, c.Replace = make([]int64, width*depth), shape.replace
			keys := c.Keys
			table := memtable.New(0, 0)
			b.ReportAllocs()
			at := int64(0)
			for b.Loop() {
				for i := range c.Timestamps {
					c.Series[i], c.Timestamps[i] = uint32(i%width), at+int64(i/width)
					if shape.bySeries {
						c.Series[i], c.Timestamps[i] = uint32(i/depth), at+int64(i%depth)
					}
				}
				at += depth
				if err := table.Append(c); err != nil {
					b.Fatal(err)
				}
				if shape.bySeries && c.Numbers == nil {
					c.Numbers = make([]uint32, width)
					table.Number(keys, c.Numbers)
					c.Keys = make([]string, width)
				}
				if at%5000 == 0 {
					table.Freeze()
					table.Drop(1 << 62)
					table = memtable.New(0, 0)
					c.Keys, c.Numbers = keys, nil
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(c.Series)), "ns/sample")
		})
	}
}

// BenchmarkPartials measures adding a sample to a partial: 1,000 series of 1,000 samples.
func BenchmarkPartials(b *testing.B) {
	const width, depth = 1000, 1000
	c := batch(width, 0)
	table := memtable.New(0, 0)
	for d := range depth {
		for i := range c.Timestamps {
			c.Timestamps[i] = int64(d) * 10_000_000
		}
		if err := table.Append(c); err != nil {
			b.Fatal(err)
		}
	}
	for _, text := range []string{"", "1h", "1m"} {
		b.Run("window="+text, func(b *testing.B) {
			spec := aggregate.QuerySpec{Metric: mustName(b, "cpu")}
			if text != "" {
				var err error
				if spec.Window, err = aggregate.ParseWindow(text); err != nil {
					b.Fatal(err)
				}
			}
			q := mustQuery(b, spec)
			b.ReportAllocs()
			for b.Loop() {
				builder := aggregate.NewBuilder(q)
				if err := table.View(q).AddTo(b.Context(), builder); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*width*depth), "ns/sample")
		})
	}
}

// BenchmarkView measures how long a query of a whole metric holds up an appender: 100,000 series.
func BenchmarkView(b *testing.B) {
	const width = 100_000
	table := memtable.New(0, 0)
	if err := table.Append(wideBatch(0, width)); err != nil {
		b.Fatal(err)
	}
	q := mustQuery(b, aggregate.QuerySpec{Metric: mustName(b, "http_requests_total")})
	for b.Loop() {
		runtime.KeepAlive(table.View(q))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*width), "ns/series")
}

// BenchmarkManySeries measures what a series costs in memory: a million of them in 8 tables, 10 metrics
// of 100,000 hosts with three tags and one sample each, indexed, as at most 1 GiB must hold.
func BenchmarkManySeries(b *testing.B) {
	const tables, perTable, perBatch = 8, 125_000, 5_000
	host, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: "host-0000007"}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before := heapBytes()
		all := make([]*memtable.Table, tables)
		estimated := int64(0)
		for i := range all {
			all[i] = memtable.New(0, 0)
			for first := 0; first < perTable; first += perBatch {
				if err := all[i].Append(hostBatch(i*perTable+first, perBatch)); err != nil {
					b.Fatal(err)
				}
			}
			usage := all[i].Usage()
			estimated += usage.Active + usage.Catalogue
		}
		b.ReportMetric(float64(heapBytes()-before)/(tables*perTable), "B/series")
		b.ReportMetric(float64(estimated)/(tables*perTable), "estimated-B/series")
		for _, table := range all {
			for m := range hostMetrics {
				if _, _, err := table.Latest(mustName(b, hostMetric(m)), host); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(heapBytes()-before)/(tables*perTable), "indexed-B/series")
		runtime.KeepAlive(all)
	}
}

const hostMetrics = 10

func hostMetric(i int) string { return fmt.Sprintf("cpu_usage_%d", i) }

// hostBatch returns one sample of each of n series: every host has hostMetrics of them.
func hostBatch(first, n int) outbound.Columns {
	c := outbound.Columns{}
	for i := range n {
		number := first + i
		c.Keys = append(c.Keys, fmt.Sprintf(`%s{host="host-%07d",rack="rack-%03d",region="eu-west-%d"}`,
			hostMetric(number%hostMetrics), number/hostMetrics, number/hostMetrics%500, number%3))
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, 1722513600_000000)
		c.Values = append(c.Values, 1)
	}
	return c
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func wideBatch(first, n int) outbound.Columns {
	c := outbound.Columns{}
	for i := range n {
		c.Keys = append(c.Keys, fmt.Sprintf(`http_requests_total{host="host-%07d",method="GET",region="eu-west-1"}`, first+i))
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, 1722513600_000000)
		c.Values = append(c.Values, 1)
	}
	return c
}
