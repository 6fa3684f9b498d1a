package duckdb_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// BenchmarkSnapshot moves one shard of five million samples that compress badly, step by step.
func BenchmarkSnapshot(b *testing.B) {
	from, to := newNode(b, duckdb.Options{}), newNode(b, duckdb.Options{})
	var stores [2]*duckdb.Store
	for i, n := range []*node{from, to} {
		if _, err := n.Start(); err != nil {
			b.Fatal(err)
		}
		stores[i] = n.store
		defer func() {
			if err := n.Stop(); err != nil {
				b.Error(err)
			}
		}()
		if _, err := n.store.Open(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
	a, z := stores[0], stores[1]
	for flush := range uint64(5) {
		c := columns(1000, 1_000_000, flush)
		for i := range c.Values {
			c.Values[i] = 1 / float64(i*7919%1_000_003+1)
		}
		if err := a.Append(b.Context(), 0, c); err != nil {
			b.Fatal(err)
		}
		flushAt(b, a, flush+1)
	}
	var bytes int64
	var making, receiving, installing time.Duration
	for index := uint64(6); b.Loop(); index++ {
		b.StopTimer()
		flushAt(b, a, index) // So that the snapshot is another one.
		b.StartTimer()
		begun := time.Now()
		made, err := a.MakeSnapshot(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		making += time.Since(begun)
		begun = time.Now()
		data, err := a.OpenSnapshot(b.Context(), 0, made.Manifest)
		if err != nil {
			b.Fatal(err)
		}
		w, err := z.ReceiveSnapshot(b.Context(), 0, made.Manifest)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(w, data); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(data.Close(), w.Commit(b.Context())); err != nil {
			b.Fatal(err)
		}
		receiving += time.Since(begun)
		begun = time.Now()
		if _, err := z.InstallSnapshot(b.Context(), 0, made.Manifest); err != nil {
			b.Fatal(err)
		}
		installing += time.Since(begun)
		bytes = data.Bytes
	}
	b.SetBytes(bytes)
	for unit, d := range map[string]time.Duration{"ms-make": making, "ms-receive": receiving, "ms-install": installing} {
		b.ReportMetric(float64(d.Microseconds())/1e3/float64(b.N), unit)
	}
}

func flushAt(b *testing.B, s *duckdb.Store, index uint64) {
	b.Helper()
	s.Cut(0, outbound.AppliedState{Index: index, Term: 1})
	if _, err := s.Flush(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
}
