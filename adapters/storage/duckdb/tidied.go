package duckdb

import "sync/atomic"

// Tidied is what merging has done since the start, on all shards.
type Tidied struct {
	Merges     uint64 // runs that came of merges
	RowsMerged uint64 // samples copied by them
	RowsGone   uint64 // samples dropped behind cut-offs
	Rewrites   uint64 // files rewritten
	BytesFreed uint64 // given back to the file system by that
}

// Tidied returns the counts, at once.
func (s *Store) Tidied() Tidied {
	return Tidied{
		Merges: s.tidied.merges.Load(), RowsMerged: s.tidied.rows.Load(), RowsGone: s.tidied.gone.Load(),
		Rewrites: s.tidied.rewrites.Load(), BytesFreed: s.tidied.freed.Load(),
	}
}

type tidied struct{ merges, rows, gone, rewrites, freed atomic.Uint64 }

func (t *tidied) note(done chores, dropped int64) {
	t.gone.Add(uint64(dropped))
	t.merges.Add(uint64(len(done.merges)))
	for _, runs := range done.merges {
		for _, r := range runs {
			t.rows.Add(uint64(r.rows))
		}
	}
}
