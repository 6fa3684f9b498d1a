package duckdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// source is what one shard adds to a query: its memtable's view, and its file's rows up to the
// generation that the view says is durable. The two together are one cut.
type source struct {
	replica *replica
	view    *memtable.View
}

// attemptsMax bounds how often a query begins anew because a file was replaced under it.
const attemptsMax = 3

// Partials implements outbound.PartialReader.
func (s *Store) Partials(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return aggregate.Table{}, fmt.Errorf("read shards: %w", err)
	}
	defer end()
	for attempt := 1; ; attempt++ {
		table, err := s.partials(running, shards, q, attempt > 1)
		if !errors.Is(err, errReplaced) || attempt == attemptsMax {
			return table, err
		}
	}
}

// partials is one attempt. With alone it reads every file by itself, so that one over which DuckDB fails
// is known.
func (s *Store) partials(running context.Context, shards []shard.ID, q aggregate.Query, alone bool) (aggregate.Table, error) {
	sources := make([]source, 0, len(shards))
	for _, id := range shards {
		r, err := s.usable(id)
		if err != nil {
			return aggregate.Table{}, err
		}
		sources = append(sources, source{replica: r, view: r.table.View(q)})
	}
	b := aggregate.NewBuilder(q)
	var files []source
	for _, src := range sources {
		if err := src.view.AddTo(running, b); err != nil {
			return aggregate.Table{}, fmt.Errorf("read shard %d: %w", src.replica.id, err)
		}
		if src.replica.stored.Load() && len(src.view.Selected()) > 0 {
			files = append(files, src)
		}
	}
	if len(files) > 0 {
		if err := s.addFiles(running, q, files, b, alone); err != nil {
			return aggregate.Table{}, fmt.Errorf("read files: %w", err)
		}
	}
	return b.Table(), nil
}

func (s *Store) addFiles(ctx context.Context, q aggregate.Query, files []source, b *aggregate.Builder, alone bool) error {
	slices.SortFunc(files, func(a, b source) int { return cmp.Compare(a.replica.id, b.replica.id) })
	if !alone {
		return s.addTogether(ctx, q, files, b)
	}
	for i := range files {
		if err := s.addTogether(ctx, q, files[i:i+1], b); err != nil {
			return err
		}
	}
	return nil
}

// addTogether reads files by one statement.
func (s *Store) addTogether(ctx context.Context, q aggregate.Query, files []source, b *aggregate.Builder) error {
	replicas := make([]*replica, len(files))
	for i, f := range files {
		replicas[i] = f.replica
	}
	ctx, stop := untilEnded(ctx, replicas)
	defer stop()
	return s.with(ctx, forQueries, func(ctx context.Context, c *engine.Conn) error {
		err := s.runPlan(ctx, c, q, files, b)
		if !isDetached(err) {
			return err
		}
		for _, f := range files {
			if err := s.reattach(ctx, c, f.replica); err != nil {
				s.noteDamage(f.replica, err)
				return err
			}
		}
		return s.runPlan(ctx, c, q, files, b)
	}, replicas...)
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

// runPlan adds the rows of files to b, or none of them when it fails before the first row.
func (s *Store) runPlan(ctx context.Context, c *engine.Conn, q aggregate.Query, files []source, b *aggregate.Builder) error {
	for _, f := range files {
		f.replica.file.RLock()
		defer f.replica.file.RUnlock()
		if f.replica.gone {
			return errReplaced
		}
	}
	p := newPlan(q, files)
	err := c.Query(ctx, p.text(), p.args, func(chunk engine.Chunk) error { return p.add(chunk, b) })
	if err != nil && isDamage(err) {
		return s.findDamage(ctx, c, q, files, err)
	}
	return err
}

// findDamage asks the files one by one, to name the shard whose file is damaged.
func (s *Store) findDamage(ctx context.Context, c *engine.Conn, q aggregate.Query, files []source, err error) error {
	for _, f := range files {
		p := newPlan(q, []source{f})
		if alone := c.Query(ctx, p.text(), p.args, nil); alone != nil && isDamage(alone) {
			damaged := corrupt(f.replica.id, alone)
			s.noteDamage(f.replica, damaged)
			return damaged
		}
	}
	return err
}

// Latest implements outbound.LatestReader, from memory.
func (s *Store) Latest(ctx context.Context, shards []shard.ID, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	return memtable.LatestOf(ctx, shards, func(id shard.ID) (*memtable.Table, error) {
		r, err := s.usable(id)
		if err != nil {
			return nil, err
		}
		return r.table, nil
	}, name, matchers)
}
