package memory

import (
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ outbound.SeriesNumberer = (*Store)(nil)

// SeriesEra implements outbound.SeriesNumberer.
func (s *Store) SeriesEra(id shard.ID) uint32 {
	r, err := s.replica(id)
	if err != nil {
		return 0
	}
	return r.table.Era()
}

// NumberSeries implements outbound.SeriesNumberer.
func (s *Store) NumberSeries(id shard.ID, keys []string, numbers []uint32) uint32 {
	r, err := s.replica(id)
	if err != nil {
		clear(numbers)
		return 0
	}
	r.table.Number(keys, numbers)
	return r.table.Era()
}
