package duckdb_test

import (
	"math"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// BenchmarkMerge brings 10 million samples into one shard in eight flushes, merges all, inside the file or into
// a new one, and reports what that cost.
func BenchmarkMerge(b *testing.B) {
	b.Run("inside", func(b *testing.B) { benchmarkMerge(b, duckdb.Options{}.WithRewriteFrom(math.MaxInt64)) })
	b.Run("anew", func(b *testing.B) { benchmarkMerge(b, duckdb.Options{}) })
}

func benchmarkMerge(b *testing.B, o duckdb.Options) {
	b.Helper()
	const flushes = 8
	for b.Loop() {
		n := newNode(b, o)
		s, err := duckdb.New(n.options)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Open(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
		l := newLoader(b)
		var flushing, merging time.Duration
		for flush := range uint64(flushes) {
			for tick := int(flush) * benchTicks / flushes; tick < int(flush+1)*benchTicks/flushes; tick += ticksPerBatch {
				for id := range shard.ID(benchShards) {
					if err := s.Append(b.Context(), 0, l.batch(id, tick)); err != nil {
						b.Fatal(err)
					}
				}
			}
			before := cpu(b)
			s.Cut(0, outbound.AppliedState{Index: flush + 1})
			if _, err := s.Flush(b.Context(), 0); err != nil {
				b.Fatal(err)
			}
			flushing += cpu(b) - before
		}
		before := cpu(b)
		for more := true; more; {
			if more, err = s.Merge(b.Context(), 0, true); err != nil {
				b.Fatal(err)
			}
		}
		merging += cpu(b) - before
		const millions = benchTicks * benchHosts * benchMetrics / 1e6
		b.ReportMetric(flushing.Seconds()/millions, "flush-cpu-s/million")
		b.ReportMetric(merging.Seconds()/millions, "merge-cpu-s/million")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
