package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	waiting []waiting
	merges  merges
}

// waiting is a request under way.
type waiting struct {
	request
	left  map[shard.ID]bool // to be flushed still, or once more
	merge map[shard.ID]bool // to be merged behind that
	errs  []error
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
		merges:     newMerges(),
	}
	// Flushes outlive ctx: a stop finishes them.
	flushes, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	tick := m.options.Timer.After(tickEvery)
	for {
		r.start(flushes)
		r.startMerge(ctx)
		select {
		case <-ctx.Done():
			defer r.abandon()
			return r.stop(flushes, cancel)
		case <-m.options.Machine.CutReady():
			r.taken()
		case done := <-r.results:
			r.finished(done)
		case done := <-r.merges.results:
			r.merged(done)
		case asked := <-r.requests:
			r.flushAll(asked)
		case <-tick:
			r.tick()
			tick = m.options.Timer.After(tickEvery)
		}
	}
}

// Flush implements inbound.NodeFlusher. A shard whose merge fails, or whose flush has failed failuresTold times
// in a row, is an error, though it will be tried again. It is answered while Run works: Unavailable (stopping) when that ends before all is on disk.
func (m *Maintainer) Flush(ctx context.Context) error {
	asked := request{done: make(chan error, 1)}
	select {
	case m.requests <- asked:
	case <-ctx.Done():
		return fmt.Errorf("ask for a flush: %w", context.Cause(ctx))
	}
	select {
	case err := <-asked.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for a flush: %w", context.Cause(ctx))
	}
}

// flushAll cuts every shard and has each flushed that holds a cut, for the request to wait for. A
// flush under way may have begun before the cut, so it does not count.
func (r *run) flushAll(asked request) {
	if len(r.waiting) >= waitingMax {
		asked.done <- fault.New(fault.Exhausted, "flush_limit", "too many flushes are waited for; try again later")
		return
	}
	w := waiting{request: asked, left: map[shard.ID]bool{}, merge: map[shard.ID]bool{}}
	for _, id := range r.options.Machine.Shards() {
		r.options.Machine.Cut(id)
		if r.progress(id).broken {
			w.errs = append(w.errs, fmt.Errorf("flush shard %v: %w", id, errBroken))
			continue
		}
		r.enqueue(id)
		w.left[id] = true
	}
	r.taken()
	r.waiting = append(r.waiting, w)
	r.answer()
}

// failuresTold is how many flushes of a shard fail in a row before those who wait are told. What passes by itself
// is over by then; what does not would keep them until their time is up, and with less to say.
const failuresTold = 3

// waitingMax bounds the requests that wait for flushes.
const waitingMax = 64

// errBroken means that the shard's storage is corrupt, which was reported when it was found.
var errBroken = errors.New("its storage is damaged")

// settle tells the requests that a flush has ended which covers what they wait for, or that none will soon.
func (r *run) settle(done result) {
	for i := range r.waiting {
		w := &r.waiting[i]
		if !w.left[done.id] {
			continue
		}
		delete(w.left, done.id)
		if done.err != nil {
			w.errs = append(w.errs, fmt.Errorf("flush shard %v: %w", done.id, done.err))
			continue
		}
		w.merge[done.id] = true
		r.mergeAll(done.id)
	}
	r.answer()
}

// answer answers the requests that have nothing left to wait for.
func (r *run) answer() {
	r.waiting = slices.DeleteFunc(r.waiting, func(w waiting) bool {
		if len(w.left)+len(w.merge) > 0 {
			return false
		}
		w.done <- errors.Join(w.errs...)
		return true
	})
}

// abandon answers the requests that the end of Run leaves open.
func (r *run) abandon() {
	for _, w := range r.waiting {
		w.done <- errStopping
	}
	r.waiting = nil
}

var errStopping = fault.New(fault.Unavailable, "stopping", "the node is stopping and flushes by itself")

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
		if p.broken || p.failures >= failuresTold {
			r.settle(done)
		}
		return
	}
	if !again {
		r.settle(done)
	}
	p.failures, p.retryAfter = 0, 0
	p.durable = max(p.durable, done.durable)
	if done.durable > 0 {
		r.options.Truncator.Durable(done.id, done.durable)
	}
	if again {
		r.enqueue(done.id)
	}
	r.wantsMerge(done.id)
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
		r.wantsMerge(id)
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
	// A merge that is under way has been told to stop, and is waited for like the flushes.
	for r.start(ctx); r.running+r.merges.running > 0; r.start(ctx) {
		select {
		case <-r.merges.results:
			r.merges.running--
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
