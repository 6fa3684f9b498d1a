package memtable_test

import (
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// BenchmarkOneSeries measures finding one of 1,000 series, 100 of each of 10 metrics, by its host: its
// newest sample, and a view of it.
func BenchmarkOneSeries(b *testing.B) {
	for _, hosts := range []int{100, 10_000} {
		table := memtable.New(0, 0)
		if err := table.Append(hostBatch(0, hosts*hostMetrics)); err != nil {
			b.Fatal(err)
		}
		name := mustName(b, hostMetric(0))
		host, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: "host-0000007"}})
		if err != nil {
			b.Fatal(err)
		}
		q := mustQuery(b, aggregate.QuerySpec{Metric: name, Matchers: host})
		b.Run(fmt.Sprint("latest of ", hosts), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := table.Latest(name, host); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(fmt.Sprint("view of ", hosts), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := table.View(q); len(v.Selected()) != 1 {
					b.Fatal(v.Selected())
				}
			}
		})
	}
}
