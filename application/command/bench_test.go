package command_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// scrape is what a collector sends: many series, each once, at one time.
func scrape(samples int) outbound.Columns {
	var c outbound.Columns
	for i := range samples {
		c.Keys = append(c.Keys, fmt.Sprintf(`cpu_usage{host="host_%d",region="eu"}`, i))
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, 1_700_000_000_000_000)
		c.Values = append(c.Values, float64(i)/100)
	}
	return c
}

// history is one series over time.
func history(samples int) outbound.Columns {
	c := outbound.Columns{Keys: []string{`cpu_usage{host="host_1"}`}}
	for i := range samples {
		c.Series = append(c.Series, 0)
		c.Timestamps = append(c.Timestamps, 1_700_000_000_000_000+int64(i)*10_000_000)
		c.Values = append(c.Values, float64(i)/100)
	}
	return c
}

// cpu is what an agent's batch leaves to a shard: known series, a few samples each at common times, of
// two decimals.
func cpu(samples, each int) outbound.Columns {
	r := rand.New(rand.NewPCG(1, 2))
	var c outbound.Columns
	for n := uint32(0); len(c.Series) < samples; n++ {
		c.Keys, c.Numbers = append(c.Keys, ""), append(c.Numbers, 1000+3*n)
		v := r.IntN(10_000)
		for i := range each {
			v += r.IntN(400) - 200
			c.Series = append(c.Series, n)
			c.Timestamps = append(c.Timestamps, 1_700_000_000_000_000+int64(i)*10_000_000)
			c.Values = append(c.Values, float64(v)/100)
		}
	}
	return c
}

func BenchmarkWrite(b *testing.B) {
	const samples = 1000
	for name, c := range map[string]outbound.Columns{
		"scrape": scrape(samples), "history": history(samples), "cpu40": cpu(samples, 40), "cpu4": cpu(samples, 4), "cpu1": cpu(samples, 1),
	} {
		var f command.Frame
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.EncodeWrite(command.Identity{}, c)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
			b.ReportMetric(float64(f.Len())/samples, "B/sample")
		})
		b.Run("decode/"+name, func(b *testing.B) {
			f.EncodeWrite(command.Identity{}, c)
			data := f.Seal(command.Header{Session: 1, Sequence: 1, Lowest: 1})
			var d command.Decoder
			b.ReportAllocs()
			for b.Loop() {
				h, body, err := command.DecodeHeader(data)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err = d.Write(h, body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
		})
	}
}
