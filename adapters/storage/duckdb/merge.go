package duckdb

import (
	"context"
	"fmt"
	"math"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// WantsMerge implements outbound.RunMerger.
func (s *Store) WantsMerge(id shard.ID) bool {
	r, err := s.usable(id)
	return err == nil && !r.isPinned() && !r.chores(false).none()
}

// Merge implements outbound.RunMerger. While a digest is likely to need the rows it does nothing, unless
// everything is to be merged.
func (s *Store) Merge(ctx context.Context, id shard.ID, all bool) (more bool, err error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return false, fmt.Errorf("merge shard %d: %w", id, err)
	}
	defer end()
	r, err := s.usable(id)
	if err != nil {
		return false, err
	}
	r.flush.Lock()
	defer r.flush.Unlock()
	if r.retired {
		return false, errClosedShard(id)
	}
	if !all && r.isPinned() {
		return false, nil
	}
	todo := r.chores(all)
	if todo.none() {
		return false, nil
	}
	err = s.with(running, forMerges, func(ctx context.Context, c *engine.Conn) error {
		if todo.rewrite {
			return s.rewriteFile(ctx, c, r, todo)
		}
		return s.recovered(ctx, c, r, s.tidy(ctx, c, r, todo))
	}, r)
	if err != nil {
		s.noteDamage(r, err)
		return false, fmt.Errorf("merge shard %d: %w", id, err)
	}
	return !r.chores(all).none(), nil
}

// chores are what one step of a merge does.
type chores struct {
	merges  [][]run
	expired []expiry
	cutoffs []int64 // by metric, which expired comes from
	rewrite bool    // of the whole file, in which the merges are done on the way
}

func (c chores) none() bool { return len(c.merges) == 0 && len(c.expired) == 0 && !c.rewrite }

// expiry is metrics, nil for all, whose windows before a cut-off are dropped.
type expiry struct {
	metrics []int64
	cutoff  int64
}

// chores returns what is to be done next. Windows are dropped first: what goes need not be merged. The file
// is rewritten last, for merges leave most of the free space behind; where they would leave so much that it
// were rewritten next, they are done while it is.
func (r *replica) chores(all bool) chores {
	runs := r.runList()
	if expired, cutoffs := r.expiries(runs); len(expired) > 0 {
		return chores{expired: expired, cutoffs: cutoffs}
	}
	merges := chooseMerges(runs, all)
	switch {
	case len(merges) == 0:
		return chores{rewrite: r.wantsRewrite(all)}
	case r.mergesAnew(merges, runs, all):
		return chores{merges: merges, rewrite: true}
	}
	return chores{merges: oneStep(merges)}
}

// expiries returns what can be dropped of windows that lie before cut-offs. Cut-offs that are not durable
// must wait: after a crash the file is what it was at its index.
func (r *replica) expiries(runs []run) (expired []expiry, cutoffs []int64) {
	if durable := r.retention.Load(); durable == nil || *durable != string(r.table.Retention().Encode()) {
		return nil, nil
	}
	oldest := int64(math.MaxInt64)
	for _, x := range runs {
		oldest = min(oldest, (x.day+x.days)*dayMicros)
	}
	cutoffs = r.table.Cutoffs()
	var done []int64
	if d := r.expired.Load(); d != nil {
		done = *d
	}
	by := map[int64][]int64{}
	for metric, cutoff := range cutoffs {
		cutoffs[metric] = floorTo(cutoff, dayMicros)
		if cutoffs[metric] >= oldest && (metric >= len(done) || cutoffs[metric] > done[metric]) {
			by[cutoffs[metric]] = append(by[cutoffs[metric]], int64(metric))
		}
	}
	for cutoff, metrics := range by {
		if len(metrics) == len(cutoffs) {
			metrics = nil
		}
		expired = append(expired, expiry{metrics: metrics, cutoff: cutoff})
	}
	return expired, cutoffs
}

// tidy does chores, in one transaction and a checkpoint. Only the commit keeps readers waiting.
func (s *Store) tidy(ctx context.Context, c *engine.Conn, r *replica, todo chores) error {
	var runs []run
	dropped := int64(0)
	err := c.TransactAround(ctx, func() error {
		e, err := newEraser(ctx, c, r.catalog)
		if err != nil {
			return err
		}
		if err := e.do(todo); err != nil {
			return err
		}
		dropped = e.erased
		runs, err = loadRuns(ctx, c, r.catalog)
		return err
	}, func(commit func() error) error {
		return r.rewrites.do(func() error { return r.publish(commit(), runs) })
	})
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	if err := checkpoint(context.WithoutCancel(ctx), c, r.catalog); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if todo.cutoffs != nil {
		r.expired.Store(&todo.cutoffs)
	}
	s.tidied.note(todo, dropped)
	return r.measure(context.WithoutCancel(ctx), c)
}

// do does chores in the transaction of e.
func (e *eraser) do(todo chores) error {
	for _, x := range todo.expired {
		if err := e.expire(x.metrics, x.cutoff); err != nil {
			return fmt.Errorf("drop windows: %w", err)
		}
	}
	if len(todo.merges) > 0 {
		last := int64(-1)
		err := e.conn.Query(e.ctx, "SELECT coalesce(max(rowid), -1) FROM "+e.catalog+".points", nil, func(chunk engine.Chunk) error {
			last = chunk.Int64s(0)[0]
			return nil
		})
		if err != nil {
			return err
		}
		for _, runs := range todo.merges {
			if err := e.merge(runs, last); err != nil {
				return err
			}
		}
	}
	return e.finish()
}
