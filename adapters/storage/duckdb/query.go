package duckdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// attemptsMax bounds how often a query begins anew because a file was replaced under it.
const attemptsMax = 3

// Partials implements outbound.PartialReader.
func (s *Store) Partials(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return aggregate.Table{}, fmt.Errorf("read shards: %w", err)
	}
	defer end()
	replaced := false
	for attempt := 1; ; attempt++ {
		table, err := s.partials(running, shards, q, replaced, attempt == attemptsMax)
		replaced = replaced || errors.Is(err, errReplaced)
		if !errors.Is(err, errReplaced) && !errors.Is(err, errRewritten) || attempt == attemptsMax {
			return table, err
		}
	}
}

// errRewritten ends an attempt beside which rows were changed.
var errRewritten = fault.New(fault.Unavailable, "shard_rewritten", "stored samples were rewritten meanwhile; try again").
	WithRetryAfter(retryAfter)

// partials is one attempt. With alone it reads every file by itself, so that one over which DuckDB fails
// is known; with hold nothing is rewritten meanwhile.
func (s *Store) partials(running context.Context, shards []shard.ID, q aggregate.Query, alone, hold bool) (aggregate.Table, error) {
	replicas := make([]*replica, 0, len(shards))
	for _, id := range shards {
		r, err := s.usable(id)
		if err != nil {
			return aggregate.Table{}, err
		}
		replicas = append(replicas, r)
	}
	slices.SortFunc(replicas, func(a, b *replica) int { return cmp.Compare(a.id, b.id) })
	sources := make([]source, len(replicas))
	for i, r := range replicas {
		sources[i] = source{query: q, replica: r}
		if hold {
			defer r.rewrites.hold()()
			sources[i].rewrites = r.rewrites.sequence.Load()
		} else {
			sources[i].rewrites = r.rewrites.now()
		}
		sources[i].view = r.table.View(q)
		sources[i].extent = r.extent()
	}
	b := aggregate.NewBuilder(q)
	step := len(sources)
	if alone {
		step = 1
	}
	for group := range slices.Chunk(sources, max(1, step)) {
		if err := (&reading{store: s, query: q, builder: b}).add(running, group); err != nil {
			return aggregate.Table{}, err
		}
	}
	for i := range sources {
		if !sources[i].replica.rewrites.unchanged(sources[i].rewrites) {
			return aggregate.Table{}, errRewritten
		}
	}
	return b.Table(), nil
}

// run has DuckDB answer a statement about portions of different files, ascending by shard.
func (s *Store) run(ctx context.Context, portions []portion, st statement) error {
	replicas := make([]*replica, len(portions))
	for i := range portions {
		replicas[i] = portions[i].replica
	}
	ctx, stop := untilEnded(ctx, replicas)
	defer stop()
	err := s.with(ctx, forQueries, func(ctx context.Context, c *engine.Conn) error {
		err := s.runOn(ctx, c, portions, st)
		if !isDetached(err) {
			return err
		}
		for _, r := range replicas {
			if err := s.reattach(ctx, c, r); err != nil {
				s.noteDamage(r, err)
				return err
			}
		}
		return s.runOn(ctx, c, portions, st)
	}, replicas...)
	if err != nil {
		return fmt.Errorf("read files: %w", err)
	}
	return nil
}

// untilEnded returns a context that ends, with errReplaced, when any of replicas is taken away.
func untilEnded(ctx context.Context, replicas []*replica) (until context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	releases := make([]func() bool, len(replicas))
	for i, r := range replicas {
		releases[i] = context.AfterFunc(r.ended, func() { cancel(errReplaced) })
	}
	return ctx, func() {
		for _, release := range releases {
			release()
		}
		cancel(nil)
	}
}

// runOn adds the rows of the result to st, or none of them when it fails before the first row.
func (s *Store) runOn(ctx context.Context, c *engine.Conn, portions []portion, st statement) error {
	for i := range portions {
		r := portions[i].replica
		r.file.RLock()
		defer r.file.RUnlock()
		if r.gone {
			return errReplaced
		}
	}
	text, args := st.sql()
	err := c.Query(ctx, text, args, st.add)
	if err != nil && isDamage(err) {
		return s.findDamage(ctx, c, portions, err)
	}
	return err
}

// findDamage asks the files one by one, to name the shard whose file is damaged.
func (s *Store) findDamage(ctx context.Context, c *engine.Conn, portions []portion, err error) error {
	for i := range portions {
		for _, t := range []table{samplesTable, hoursTable, minutesTable} {
			text, args := newPlan(portions[i].query, t, portions[i:i+1], nil).sql()
			if alone := c.Query(ctx, text, args, nil); alone != nil && isDamage(alone) {
				damaged := corrupt(portions[i].replica.id, alone)
				s.noteDamage(portions[i].replica, damaged)
				return damaged
			}
		}
	}
	return err
}

// CacheStats tells how the memory for what queries ask for again is doing.
func (s *Store) CacheStats() warm.Stats { return s.cache.Stats() }

// Latest implements outbound.LatestReader, from memory.
func (s *Store) Latest(ctx context.Context, shards []shard.ID, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	return memtable.LatestOf(ctx, shards, s.usableTable, name, matchers)
}

var _ outbound.SeriesLister = (*Store)(nil)

// ListSeries implements outbound.SeriesLister, from memory.
func (s *Store) ListSeries(ctx context.Context, shards []shard.ID, l metric.Listing) ([]string, error) {
	return memtable.ListOf(ctx, shards, s.usableTable, l)
}

// usableTable returns what is in memory of a shard that can be read.
func (s *Store) usableTable(id shard.ID) (*memtable.Table, error) {
	r, err := s.usable(id)
	if err != nil {
		return nil, err
	}
	return r.table, nil
}
