package duckdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Delete implements outbound.SampleRemover. The samples go from the file with the next flush; until then a
// tombstone in memory says that they do not count.
func (s *Store) Delete(ctx context.Context, id shard.ID, d outbound.Deletion) (existed bool, err error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return false, fmt.Errorf("delete from shard %d: %w", id, err)
	}
	defer end()
	r, err := s.usable(id)
	if err != nil {
		return false, err
	}
	plan, err := s.planRemoval(running, r, d)
	if err != nil {
		return false, fmt.Errorf("delete from shard %d: %w", id, err)
	}
	r.table.Remove(plan)
	s.account(r)
	return plan.Existed(), nil
}

// planRemoval works out a deletion, with what is left in the file of series that lose their newest sample.
func (s *Store) planRemoval(ctx context.Context, r *replica, d outbound.Deletion) (*memtable.Removal, error) {
	for range attemptsMax {
		then := r.rewrites.now()
		plan := r.table.PlanRemoval(d)
		err := s.lookUpLeft(ctx, r, plan)
		if err == nil && r.rewrites.unchanged(then) {
			return plan, nil
		}
		if err != nil && !errors.Is(err, errReplaced) {
			return nil, err
		}
	}
	release := r.rewrites.hold()
	defer release()
	plan := r.table.PlanRemoval(d)
	return plan, s.lookUpLeft(ctx, r, plan)
}

// lookUpLeft tells plan the newest rows that are left of its unsettled series.
func (s *Store) lookUpLeft(ctx context.Context, r *replica, plan *memtable.Removal) error {
	unsettled := plan.Unsettled()
	if len(unsettled) == 0 || !r.stored.Load() {
		return nil
	}
	ids := make([]int64, len(unsettled))
	for i, id := range unsettled {
		ids[i] = int64(id)
	}
	from, to := plan.Span()
	text := "SELECT series_id, max(ts), arg_max(value, {'ts': ts, 'gen': gen, 'place': place}) FROM " + samplesOf(r.catalog) +
		" WHERE metric_id = $1 AND series_id IN (SELECT unnest($2::BIGINT[])) AND ts >= $3 AND until >= $3 AND ts <= $4 AND since <= $4 AND gen <= $5"
	args := []any{int64(plan.Metric()), ids, from, to, int64(plan.Durable())}
	var dead strings.Builder
	for _, t := range plan.Tombstones() {
		fmt.Fprintf(&dead, " AND NOT (ts >= $%d AND ts <= $%d)", len(args)+1, len(args)+2)
		args = append(args, t.From, t.To)
	}
	return s.readFile(ctx, r, text+dead.String()+" GROUP BY series_id", args, func(chunk engine.Chunk) error {
		series, times, values := chunk.Int64s(0), chunk.Int64s(1), chunk.Float64s(2)
		for row, id := range series {
			plan.Observe(catalogue.SeriesID(id), memtable.Point{At: times[row], Value: values[row]})
		}
		return nil
	})
}

// Retain implements outbound.SampleRemover. The rows go from the file when whole windows lie behind, see
// Merge.
func (s *Store) Retain(_ context.Context, id shard.ID, cutoffs metric.Cutoffs) error {
	r, err := s.replica(id)
	if err != nil {
		return err
	}
	r.table.Retain(cutoffs)
	s.account(r)
	return nil
}
