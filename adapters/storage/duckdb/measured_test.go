package duckdb_test

import (
	"sync"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// TestFlushBesideMeasuring flushes one shard while the sizes of all files are asked for, with which the
// flushes of other shards end: DuckDB locks each file for a moment then, and a flush must wait for it.
func TestFlushBesideMeasuring(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{}))
	for id := range shard.ID(4) {
		open(t, s, id)
	}
	done := make(chan struct{})
	var measuring sync.WaitGroup
	for range 2 {
		measuring.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				err := s.Ask(t.Context(), 1, "SELECT count(*) FROM pragma_database_size()", func(engine.Chunk) error { return nil })
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer measuring.Wait()
	defer close(done)
	for index := range uint64(60) {
		fill(t, s, 0, 1, 1, index+1)
	}
}
