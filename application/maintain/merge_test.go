package maintain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// pieces is storage in which a shard lies in a number of pieces, of which each step of a merge, taking a
// second, joins two. It wants more than three joined.
type pieces struct {
	t       *testing.T
	mu      sync.Mutex
	count   map[shard.ID]int
	running int
	steps   []string
	err     error
}

func newPieces(t *testing.T) *pieces {
	t.Helper()
	return &pieces{t: t, count: map[shard.ID]int{}}
}

func (p *pieces) WantsMerge(id shard.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[id] > 3
}

func (p *pieces) Merge(ctx context.Context, id shard.ID, all bool) (bool, error) {
	p.mu.Lock()
	if p.running++; p.running > 1 {
		p.t.Errorf("two merges at once")
	}
	p.steps = append(p.steps, fmt.Sprintf("%v %v", id, all))
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running--
	}()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return false, p.err
	}
	least := 3
	if all {
		least = 1
	}
	p.count[id] = max(p.count[id]-1, min(least, p.count[id]))
	return p.count[id] > least, nil
}

// taken returns the steps so far.
func (p *pieces) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.steps)
}

func (p *pieces) set(id shard.ID, count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[id] = count
}

func (p *pieces) want(when string, counts ...int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, want := range counts {
		if got := p.count[shard.ID(id)]; got != want {
			p.t.Fatalf("%s: shard %d lies in %d pieces, want %d; steps %v", when, id, got, want, p.steps)
		}
	}
}

// flushes adds a piece a flush.
func (p *pieces) flushes(r *rig, takes time.Duration) {
	r.flusher.EXPECT().Flush(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, id shard.ID) (uint64, error) {
			durable, err := r.flush(takes)(ctx, id)
			if err == nil {
				p.mu.Lock()
				p.count[id]++
				p.mu.Unlock()
			}
			return durable, err
		})
}

func TestShardsAreMergedWhenTheyWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPieces(t)
		r := newMergingRig(t, 3, p)
		p.flushes(r, time.Second)
		p.set(0, 3)
		p.set(1, 6)
		p.set(2, 2)
		r.pass(10 * time.Second)
		p.want("on its own", 3, 3, 2)
		r.apply(0, true)
		r.pass(5 * time.Second)
		p.want("after a flush", 3, 3, 2)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFlushesGoBeforeMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPieces(t)
		r := newMergingRig(t, 5, p)
		p.flushes(r, 4*time.Second)
		p.set(4, 100)
		for id := range shard.ID(5) {
			r.apply(id, true)
		}
		r.pass(3 * time.Second) // two flushes run, three wait
		if len(p.taken()) > 0 {
			t.Fatalf("merged %v while flushes waited", p.taken())
		}
		r.pass(8 * time.Second) // the last flush, of shard 4, ends in a second
		if len(p.taken()) > 0 {
			t.Fatalf("merged %v while the shard was flushed", p.taken())
		}
		r.pass(5 * time.Second)
		if len(p.taken()) < 4 {
			t.Fatalf("merged only %v", p.taken())
		}
		if err := r.stop(); err != nil { // with a step under way
			t.Fatal(err)
		}
		if len(r.mu.failures) > 0 {
			t.Fatalf("told of %v", r.mu.failures)
		}
	})
}

func TestFlushMergesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPieces(t)
		r := newMergingRig(t, 2, p)
		p.flushes(r, time.Second)
		p.set(0, 5)
		p.set(1, 2)
		r.pass(1500 * time.Millisecond) // a step of its own is under way, begun before what is asked for
		r.apply(0, false)
		r.apply(1, false)
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.want("when the answer comes", 1, 1)
		if !slices.Contains(p.taken(), "0 false") || !slices.Contains(p.taken(), "0 true") {
			t.Fatalf("steps %v, want both kinds", p.taken())
		}
		r.wantDurable(0, 1)
		r.wantDurable(1, 1)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailedMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPieces(t)
		r := newMergingRig(t, 1, p)
		p.flushes(r, 0)
		p.err = errors.New("no luck")
		p.set(0, 9)
		r.pass(100 * time.Second)
		if n := len(p.taken()); n < 4 || n > 9 {
			t.Fatalf("%d tries in 100 s, want them further and further apart", n)
		}
		if err := r.Flush(t.Context()); !errors.Is(err, p.err) {
			t.Fatalf("Flush = %v, want the merge's error", err)
		}
		p.mu.Lock()
		p.err = nil
		p.mu.Unlock()
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.want("when it works again", 1)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStopEndsAMerge asks for everything to be merged, which takes long, and stops: the merge ends early and
// whoever waits is told.
func TestStopEndsAMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPieces(t)
		r := newMergingRig(t, 1, p)
		p.flushes(r, 0)
		p.set(0, 1000)
		asked := make(chan error)
		go func() { asked <- r.Flush(t.Context()) }()
		r.pass(10 * time.Second)
		began := time.Now()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Fatalf("the stop took %v", took)
		}
		if err := <-asked; fault.From(err).Code() != "stopping" {
			t.Fatalf("Flush = %v, want that the node stops", err)
		}
		if len(r.mu.failures) > 0 {
			t.Fatalf("told of %v", r.mu.failures)
		}
	})
}
