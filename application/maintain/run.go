package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// errStopTimeout means that a stop left cuts unflushed; the log has them, so nothing is lost.
var errStopTimeout = errors.New("flushes took too long, the next start will replay the log")

// run is one Run under way. Only Run's goroutine touches it; flushes report over results.
type run struct {
	*Maintainer
	shards  map[shard.ID]*progress
	queue   []shard.ID // to be flushed, each at most once
	running int
	results chan result
}

// progress is how far a shard's flushes have come.
type progress struct {
	durable    uint64
	dirty      bool          // something applied waits since the time below
	since      time.Duration // monotonic
	queued     bool
	flushing   bool
	again      bool // cut while flushing
	broken     bool // storage is corrupt
	failures   int  // in a row
	retryAfter time.Duration
}

type result struct {
	id      shard.ID
	durable uint64
	err     error
}

// Run flushes until ctx ends, then cuts and flushes everything once more, within the stop timeout.
// By then nothing may be applied any more. It returns what the last flushes failed with, joined, and
// nil when all but corrupt shards are on disk. It must run only once at a time.
func (m *Maintainer) Run(ctx context.Context) error {
	r := &run{
		Maintainer: m,
		shards:     make(map[shard.ID]*progress),
		results:    make(chan result, m.options.FlushesMax),
	}
	// Flushes outlive ctx: a stop finishes them.
	flushes, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	tick := m.options.Timer.After(tickEvery)
	for {
		r.start(flushes)
		select {
		case <-ctx.Done():
			return r.stop(flushes, cancel)
		case <-m.options.Machine.CutReady():
			r.taken()
		case done := <-r.results:
			r.finished(done)
		case <-tick:
			r.tick()
			tick = m.options.Timer.After(tickEvery)
		}
	}
}

func (r *run) progress(id shard.ID) *progress {
	p, ok := r.shards[id]
	if !ok {
		p = &progress{}
		r.shards[id] = p
	}
	return p
}

// start begins as many of the queued flushes as may run.
func (r *run) start(ctx context.Context) {
	for r.running < r.options.FlushesMax && len(r.queue) > 0 {
		id := r.queue[0]
		r.queue = r.queue[1:]
		p := r.progress(id)
		p.queued, p.flushing = false, true
		r.running++
		go func() {
			durable, err := r.options.Flusher.Flush(ctx, id)
			r.results <- result{id: id, durable: durable, err: err}
		}()
	}
}

// enqueue has a shard flushed, behind its flush under way if there is one.
func (r *run) enqueue(id shard.ID) {
	switch p := r.progress(id); {
	case p.broken || p.queued:
	case p.flushing:
		p.again = true
	default:
		p.queued = true
		r.queue = append(r.queue, id)
	}
}

// taken queues the shards that were cut.
func (r *run) taken() {
	now := r.options.Clock.Monotonic()
	for _, id := range r.options.Machine.TakeCut() {
		p := r.progress(id)
		p.since = now // what waited longer is in the cut
		if p.retryAfter == 0 {
			r.enqueue(id)
		}
	}
}

// finished deals with a flush's end.
func (r *run) finished(done result) {
	r.running--
	p := r.progress(done.id)
	p.flushing = false
	again := p.again
	p.again = false
	if done.err != nil {
		r.options.Failed(done.id, done.err)
		p.broken = fault.KindOf(done.err) == fault.Corrupt
		p.retryAfter = r.options.Clock.Monotonic() + min(backoffMost, backoffFirst<<min(p.failures, 10))
		p.failures++
		return
	}
	p.failures, p.retryAfter = 0, 0
	p.durable = max(p.durable, done.durable)
	if done.durable > 0 {
		r.options.Truncator.Durable(done.id, done.durable)
	}
	if again {
		r.enqueue(done.id)
	}
}

// tick queues the retries that are due and cuts the shards that have waited long enough.
func (r *run) tick() {
	now := r.options.Clock.Monotonic()
	for _, id := range r.options.Machine.Shards() {
		p := r.progress(id)
		if p.retryAfter != 0 && p.retryAfter <= now {
			p.retryAfter = 0
			r.enqueue(id)
		}
		applied := r.options.Machine.Applied(id)
		switch {
		case applied <= p.durable:
			p.dirty = false
		case !p.dirty:
			p.dirty, p.since = true, now
		case now-p.since >= r.options.AgeMax:
			p.since = now
			if !r.options.Machine.Cut(id) {
				p.durable = max(p.durable, applied) // restored from disk, or in a cut on its way there
			}
		}
	}
}

// stop flushes everything once and waits for it, for as long as the stop may take.
func (r *run) stop(ctx context.Context, cancel context.CancelFunc) error {
	machine := r.options.Machine
	for _, id := range machine.Shards() {
		machine.Cut(id)
		r.enqueue(id)
	}
	machine.TakeCut()
	timeout := r.options.Timer.After(r.options.StopTimeout)
	var failures []error
	for r.start(ctx); r.running > 0; r.start(ctx) {
		select {
		case done := <-r.results:
			r.finished(done)
			if done.err != nil {
				failures = append(failures, fmt.Errorf("flush shard %v: %w", done.id, done.err))
			}
		case <-timeout:
			failures = append(failures, errStopTimeout)
			timeout, r.queue = nil, nil
			r.forgetAgain()
			cancel()
		}
	}
	return errors.Join(failures...)
}

// forgetAgain drops the flushes that were to follow those under way.
func (r *run) forgetAgain() {
	for _, p := range r.shards {
		p.again = false
	}
}
