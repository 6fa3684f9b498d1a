package duckdb

import (
	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
)

// streaming is the statement that folds samples as they come: for questions to which the order of samples
// means nothing, and what is in memory just adds up. So they need not be laid out by series and time first.
type streaming struct {
	finder
	builder *aggregate.Builder
	grouped bool
	fold    *aggregate.Fold
	of      int64 // the series of fold
	parts   catalogue.Parts
}

func newStreaming(r *reading, portions []portion) *streaming {
	return &streaming{finder: newFinder(portions), builder: r.builder, grouped: len(r.query.GroupBy()) > 0}
}

func (s *streaming) sql() (text string, args []any) {
	var a parameters
	return members(&a, samplesTable, s.portions, "ts, value"), a
}

func (s *streaming) add(chunk engine.Chunk) error {
	return s.eachSeries(chunk, func(times []int64, values []float64) error {
		if s.fold == nil || s.grouped && s.of != s.number {
			p := &s.portions[s.portion]
			fold, err := p.view.Fold(s.builder, p.ids[s.index], &s.parts)
			if err != nil {
				return err
			}
			s.fold, s.of = fold, s.number
		}
		return s.fold.AddAll(times, values)
	})
}
