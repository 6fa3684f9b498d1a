package duckdb

import (
	"cmp"
	"context"
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

// Partials implements outbound.PartialReader.
func (s *Store) Partials(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return aggregate.Table{}, fmt.Errorf("read shards: %w", err)
	}
	defer end()
	sources := make([]source, 0, len(shards))
	for _, id := range shards {
		r, err := s.replica(id)
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
		if err := s.addFiles(running, q, files, b); err != nil {
			return aggregate.Table{}, fmt.Errorf("read files: %w", err)
		}
	}
	return b.Table(), nil
}

func (s *Store) addFiles(ctx context.Context, q aggregate.Query, files []source, b *aggregate.Builder) error {
	slices.SortFunc(files, func(a, b source) int { return cmp.Compare(a.replica.id, b.replica.id) })
	err := s.queries.with(ctx, func(c *engine.Conn) error {
		err := runPlan(ctx, c, q, files, b)
		if !isDetached(err) {
			return err
		}
		for _, f := range files {
			if err := s.reattach(ctx, c, f.replica); err != nil {
				return err
			}
		}
		return runPlan(ctx, c, q, files, b)
	})
	return classify(ctx, err)
}

// runPlan adds the rows of files to b, or none of them when it fails before the first row.
func runPlan(ctx context.Context, c *engine.Conn, q aggregate.Query, files []source, b *aggregate.Builder) error {
	for _, f := range files {
		f.replica.file.RLock()
		defer f.replica.file.RUnlock()
	}
	p := newPlan(q, files)
	err := c.Query(ctx, p.text(), p.args, func(chunk engine.Chunk) error { return p.add(chunk, b) })
	if err != nil && isDamage(err) {
		return findDamage(ctx, c, q, files, err)
	}
	return err
}

// findDamage asks the files one by one, to name the shard whose file is damaged.
func findDamage(ctx context.Context, c *engine.Conn, q aggregate.Query, files []source, err error) error {
	for _, f := range files {
		p := newPlan(q, []source{f})
		if alone := c.Query(ctx, p.text(), p.args, nil); alone != nil && isDamage(alone) {
			return corrupt(f.replica.id, alone)
		}
	}
	return err
}

// Latest implements outbound.LatestReader, from memory.
func (s *Store) Latest(ctx context.Context, shards []shard.ID, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	var newest metric.Sample
	found := false
	for _, id := range shards {
		if ctx.Err() != nil {
			return metric.Sample{}, false, fmt.Errorf("read shard %d: %w", id, context.Cause(ctx))
		}
		r, err := s.replica(id)
		if err != nil {
			return metric.Sample{}, false, err
		}
		sample, ok, err := r.table.Latest(name, matchers)
		if err != nil {
			return metric.Sample{}, false, fmt.Errorf("read shard %d: %w", id, err)
		}
		if ok && (!found || sample.NewerThan(newest)) {
			newest, found = sample, true
		}
	}
	return newest, found, nil
}
