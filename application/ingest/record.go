// Package ingest is the use case that stores samples: it admits a write, splits it by shard, and
// gets each part into its shard's log exactly once.
package ingest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Limits and defaults of a Recorder.
const (
	// TimeoutDefault is a write's deadline when its context has none sooner.
	TimeoutDefault = 4 * time.Second
	// WritesMaxDefault bounds the writes under way at once.
	WritesMaxDefault = 16_384
	// sampleBytes estimates what a sample takes in memory until it is flushed.
	sampleBytes = 24
)

// Options are what a Recorder works with.
type Options struct {
	Shards    shard.Map
	Series    outbound.SeriesNumberer // nil: commands tell every series by its key
	Proposer  outbound.Proposer
	WriteGate outbound.WriteGate
	Clock     outbound.Clock
	Timer     outbound.Timer
	Entropy   outbound.Entropy
	Timeout   time.Duration // 0: TimeoutDefault
	WritesMax int           // 0: WritesMaxDefault
}

// Recorder drives a Gateway with the node's clock and replication. It is safe for concurrent use.
type Recorder struct {
	options Options
	calls   sync.Pool // of *call

	mu struct {
		sync.Mutex
		gateway *Gateway
		effects []Effect // of the step under way
		writes  int      // under way
	}
}

var _ inbound.Recorder = (*Recorder)(nil)

// New returns a Recorder; its sessions open with the first writes.
func New(o Options) *Recorder {
	if o.Timeout == 0 {
		o.Timeout = TimeoutDefault
	}
	if o.WritesMax == 0 {
		o.WritesMax = WritesMaxDefault
	}
	r := &Recorder{options: o}
	r.mu.gateway = NewGateway(o.Shards, o.Entropy)
	r.calls.New = func() any { return newCall(r) }
	return r
}

// Record implements inbound.Recorder.
func (r *Recorder) Record(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
	if err := check(req); err != nil {
		return inbound.RecordReply{}, err
	}
	if err := r.enter(); err != nil {
		return inbound.RecordReply{}, err
	}
	defer r.leave()
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	if err := r.options.WriteGate.Admit(ctx, sampleBytes*len(req.Observations)); err != nil {
		return inbound.RecordReply{}, fmt.Errorf("admit write: %w", err)
	}
	received, err := metric.TimestampOf(r.options.Clock.Now())
	if err != nil {
		return inbound.RecordReply{}, fmt.Errorf("read clock: %w", err)
	}
	c, _ := r.calls.Get().(*call)
	c.write.reset(req, received)
	reply, err := c.run(ctx)
	r.recycle(c)
	return reply, err
}

func check(req inbound.RecordRequest) error {
	switch n := len(req.Observations); {
	case n == 0:
		return fault.Field("samples", "are missing", "at least one")
	case n > metric.BatchSamplesMax:
		return metric.ErrTooManySamples
	}
	if req.Idempotency == nil {
		return nil
	}
	if n := len(req.Idempotency.Key); n == 0 || n > inbound.IdempotencyKeyBytesMax {
		return fault.Field("Idempotency-Key", "is "+strconv.Itoa(n)+" bytes long",
			"1 to "+strconv.Itoa(inbound.IdempotencyKeyBytesMax))
	}
	return nil
}

func (r *Recorder) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.writes >= r.options.WritesMax {
		return ErrTooManyWrites.WithDetail("limit", r.options.WritesMax)
	}
	r.mu.writes++
	return nil
}

func (r *Recorder) leave() {
	r.mu.Lock()
	r.mu.writes--
	r.mu.Unlock()
}

// recycle keeps a call's memory for another, unless a proposal in doubt may still read it.
func (r *Recorder) recycle(c *call) {
	if c.write.escaped || c.ended {
		return
	}
	c.write.splitter.release()
	c.write.request = inbound.RecordRequest{}
	r.calls.Put(c)
}
