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
	numbers, times, values := chunk.Int64s(0), chunk.Int64s(1), chunk.Float64s(2)
	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[0] {
			n++
		}
		if s.find(numbers[0]) {
			if err := s.enter(numbers[0]); err != nil {
				return err
			}
			if err := s.fold.AddAll(times[:n], values[:n]); err != nil {
				return err
			}
		}
		numbers, times, values = numbers[n:], times[n:], values[n:]
	}
	return nil
}

// enter begins the fold of the series that was found, unless one is open that does as well.
func (s *streaming) enter(number int64) error {
	if s.fold != nil && (!s.grouped || s.of == number) {
		return nil
	}
	p := &s.portions[s.portion]
	var err error
	s.fold, err = p.view.Fold(s.builder, p.ids[s.index], &s.parts)
	s.of = number
	return err
}
