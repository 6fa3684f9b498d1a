package memory

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Delete implements outbound.SampleRemover. All samples are in memory, so nothing is to be looked up.
func (s *Store) Delete(_ context.Context, id shard.ID, d outbound.Deletion) (existed bool, err error) {
	table, err := s.table(id)
	if err != nil {
		return false, err
	}
	removal := table.PlanRemoval(d)
	table.Remove(removal)
	return removal.Existed(), nil
}

// Retain implements outbound.SampleRemover.
func (s *Store) Retain(_ context.Context, id shard.ID, cutoffs metric.Cutoffs) error {
	table, err := s.table(id)
	if err != nil {
		return err
	}
	table.Retain(cutoffs)
	return nil
}

// WantsMerge implements outbound.RunMerger: flushes leave nothing to tidy up.
func (s *Store) WantsMerge(shard.ID) bool { return false }

// Merge implements outbound.RunMerger.
func (s *Store) Merge(_ context.Context, id shard.ID, _ bool) (more bool, err error) {
	_, err = s.table(id)
	return false, err
}
