package maintain

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// merges are the merges of one Run. Flushes come first: a merge begins only while no flush waits to, and
// never on a shard that is being flushed. It is done in steps, between which others get their turn.
type merges struct {
	shards  map[shard.ID]*merging
	queue   []shard.ID // to be merged, each at most once
	running int
	results chan mergeResult
}

// merging is how far a shard's merges have come.
type merging struct {
	queued     bool
	running    bool
	all        bool // somebody waits for all of it to be merged
	again      bool // that was asked for while a step was running
	failures   int  // in a row
	retryAfter time.Duration
}

type mergeResult struct {
	id   shard.ID
	all  bool
	more bool
	err  error
}

func newMerges() merges {
	return merges{shards: make(map[shard.ID]*merging), results: make(chan mergeResult, mergesMax)}
}

func (m *merges) of(id shard.ID) *merging {
	p, ok := m.shards[id]
	if !ok {
		p = &merging{}
		m.shards[id] = p
	}
	return p
}

func (m *merges) enqueue(id shard.ID) {
	if p := m.of(id); !p.queued && !p.running {
		p.queued = true
		m.queue = append(m.queue, id)
	}
}

// wantsMerge queues a shard that would rather be merged, unless it failed to a short while ago.
func (r *run) wantsMerge(id shard.ID) {
	if p := r.merges.of(id); p.retryAfter > r.options.Clock.Monotonic() || r.progress(id).broken {
		return
	}
	if r.options.Merger.WantsMerge(id) {
		r.merges.enqueue(id)
	}
}

// mergeAll queues a shard for whoever waits until all of it is merged. A step under way may have looked
// before the flush that is to be merged, so it does not count.
func (r *run) mergeAll(id shard.ID) {
	p := r.merges.of(id)
	p.all, p.again = true, p.running
	r.merges.enqueue(id)
}

// startMerge begins the first merge in the queue that may run now.
func (r *run) startMerge(ctx context.Context) {
	m := &r.merges
	if m.running >= mergesMax || len(r.queue) > 0 {
		return
	}
	i := slices.IndexFunc(m.queue, func(id shard.ID) bool { return !r.progress(id).flushing })
	if i < 0 {
		return
	}
	id := m.queue[i]
	m.queue = slices.Delete(m.queue, i, i+1)
	p := m.of(id)
	p.queued, p.running = false, true
	all := p.all
	m.running++
	go func() {
		more, err := r.options.Merger.Merge(ctx, id, all)
		m.results <- mergeResult{id: id, all: all, more: more, err: err}
	}()
}

// merged deals with the end of a merge's step.
func (r *run) merged(done mergeResult) {
	r.merges.running--
	p := r.merges.of(done.id)
	p.running = false
	again := p.again
	p.again = false
	switch {
	case done.err != nil:
		r.options.MergeFailed(done.id, done.err)
		p.retryAfter = r.options.Clock.Monotonic() + min(backoffMost, backoffFirst<<min(p.failures, 10))
		p.failures++
		p.all = false
		r.settleMerge(done)
		return
	case done.more, again:
		r.merges.enqueue(done.id)
	case done.all:
		p.all = false
		r.settleMerge(done)
	}
	p.failures, p.retryAfter = 0, 0
}

// settleMerge tells the requests that a shard is merged, or cannot be now.
func (r *run) settleMerge(done mergeResult) {
	for i := range r.waiting {
		w := &r.waiting[i]
		if w.merge[done.id] && done.err != nil {
			w.errs = append(w.errs, fmt.Errorf("merge shard %v: %w", done.id, done.err))
		}
		delete(w.merge, done.id)
	}
	r.answer()
}

// noMerger is the merger of storage that has nothing to merge.
type noMerger struct{}

func (noMerger) WantsMerge(shard.ID) bool { return false }

func (noMerger) Merge(context.Context, shard.ID, bool) (more bool, err error) { return false, nil }
