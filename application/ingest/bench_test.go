package ingest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// stub answers proposals at once.
type stub struct{}

var (
	stubApplied    = command.AppendOutcome(nil, command.Outcome{Verdict: command.Applied})
	stubRegistered = command.AppendOutcome(nil, command.Outcome{Verdict: command.Registered, Session: 1})
)

func (stub) Propose(_ context.Context, _ shard.ID, data []byte) ([]byte, error) {
	if command.Kind(data[1]) == command.Register {
		return stubRegistered, nil
	}
	return stubApplied, nil
}
func (stub) Admit(context.Context, int) error       { return nil }
func (stub) Now() time.Time                         { return time.UnixMicro(1_700_000_000_000_000) }
func (stub) Monotonic() time.Duration               { return 0 }
func (stub) Uint64() uint64                         { return 1 }
func (stub) After(d time.Duration) <-chan time.Time { return time.After(d) }

// numbers is storage that knows every series.
type numbers struct{}

func (numbers) SeriesEra(id shard.ID) uint32 { return uint32(id) + 1 }
func (numbers) NumberSeries(id shard.ID, keys []string, into []uint32) uint32 {
	for i, key := range keys {
		into[i] = uint32(xxhash.Sum64String(key)%100_000) + 1
	}
	return uint32(id) + 1
}

func stubRecorder(b *testing.B) *ingest.Recorder {
	b.Helper()
	shards, err := shard.NewMap(shard.CountDefault, shard.SpreadDefault)
	if err != nil {
		b.Fatal(err)
	}
	return ingest.New(ingest.Options{
		Shards: shards, Series: numbers{}, Proposer: stub{}, WriteGate: stub{}, Clock: stub{}, Timer: stub{}, Entropy: stub{},
	})
}

// BenchmarkRecord measures a write without replication and storage: scrapes of 10,000 series once
// each, history of 100 series 100 times each, and a single sample.
func BenchmarkRecord(b *testing.B) {
	for _, shape := range []struct {
		name            string
		samples, series int
	}{{"scrape", 10_000, 10_000}, {"cpu", 10_000, 2500}, {"history", 10_000, 100}, {"single", 1, 1}} {
		b.Run(shape.name, func(b *testing.B) {
			r := stubRecorder(b)
			req := inbound.RecordRequest{Observations: grid(b, shape.samples, shape.series)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Record(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(shape.samples), "ns/sample")
		})
	}
}

// BenchmarkRecordParallel is four clients at once.
func BenchmarkRecordParallel(b *testing.B) {
	r := stubRecorder(b)
	req := inbound.RecordRequest{Observations: grid(b, 10_000, 10_000)}
	b.ReportAllocs()
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range b.N {
				if _, err := r.Record(b.Context(), req); err != nil {
					b.Error(err)
				}
			}
		})
	}
	clients.Wait()
	b.ReportMetric(float64(4*b.N)*10_000/b.Elapsed().Seconds(), "samples/s")
}

// grid returns samples of series in turn, each with its own time.
func grid(b *testing.B, samples, count int) []metric.Observation {
	b.Helper()
	series := make([]metric.Series, count)
	for i := range series {
		name, err := metric.NewName(fmt.Sprint("cpu_", i%10))
		if err != nil {
			b.Fatal(err)
		}
		tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: fmt.Sprint("host_", i/10)}, {Key: "region", Value: "eu"}})
		if err != nil {
			b.Fatal(err)
		}
		if series[i], err = metric.NewSeries(name, tags); err != nil {
			b.Fatal(err)
		}
	}
	batch := make([]metric.Observation, samples)
	for i := range batch {
		at := metric.Timestamp(1_700_000_000_000_000 + int64(i/count)*10_000_000)
		var err error
		if batch[i], err = metric.NewObservationAt(series[i%count], at, float64(i)/100); err != nil {
			b.Fatal(err)
		}
	}
	return batch
}
