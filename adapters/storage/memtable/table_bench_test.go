package memtable_test

import (
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
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

// BenchmarkAppend measures a sample's append: 1,000 series, 10 samples of each in a batch.
func BenchmarkAppend(b *testing.B) {
	const width, depth = 1000, 10
	c := batch(width, 0)
	for d := 1; d < depth; d++ {
		c.Series = append(c.Series, c.Series[:width]...)
		c.Timestamps = append(c.Timestamps, c.Timestamps[:width]...)
		c.Values = append(c.Values, c.Values[:width]...)
	}
	table := memtable.New(0, 0)
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		for i := range c.Timestamps {
			c.Timestamps[i] = at + int64(i/width)
		}
		at += depth
		if err := table.Append(c); err != nil {
			b.Fatal(err)
		}
		if at%5000 == 0 {
			table.Freeze()
			table.Drop(1 << 62)
			table = memtable.New(0, 0)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(c.Series)), "ns/sample")
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
