package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const startOfTime = metric.Timestamp(1_700_000_000_000_000)

// client does one operation after the other, at any node.
type client struct {
	*world
	id int
}

// next begins an operation, as long as there is load.
func (c *client) next() {
	if c.healed {
		return
	}
	if c.chance(0.3) {
		c.readSeries()
		return
	}
	op := c.history.again(c.world)
	if op == nil {
		op = c.history.rewrite(c.world)
	}
	if op == nil {
		op = c.history.begin(c.world)
	}
	op.done = func() { c.after(c.about(c.swarm.pause), c.next) }
	op.try()
}

// upNode returns a node that runs, nil when none does.
func (w *world) upNode() *node {
	var up []*node
	for _, n := range w.nodes {
		if n.up {
			up = append(up, n)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[w.rng.IntN(len(up))]
}

// operation is one write as its client sees it: with a key it is sent until it is acknowledged, without
// one it is sent once.
type operation struct {
	*world
	id       int
	key      *inbound.Idempotency
	samples  []*written
	replaces bool               // as Influx's clients do
	deletion *outbound.Deletion // instead of samples
	began    time.Duration      // at its first attempt
	ended    time.Duration      // when it was acknowledged
	attempts int
	err      error // of the last attempt
	over     bool
	probing  bool       // sent until acknowledged although it has no key, and unknown outcomes do not matter
	original *operation // of a write that is sent again under its key, after it was acknowledged
	forged   bool       // and with other content
	reply    inbound.RecordReply
	done     func()
}

// attempt is one request of an operation at one node.
type attempt struct {
	op    *operation
	node  *node
	write *ingest.Write
	ended bool // for the client, who may have gone while the node goes on
}

func (op *operation) try() {
	n := op.upNode()
	if n == nil {
		op.after(100*time.Millisecond, op.try)
		return
	}
	if op.attempts++; op.attempts == 1 {
		op.began = op.now
	}
	request := inbound.RecordRequest{Idempotency: op.key, Replace: op.replaces}
	for _, s := range op.samples {
		request.Observations = append(request.Observations, s.observation)
	}
	a := &attempt{op: op, node: n, write: ingest.NewWrite(request, startOfTime+metric.Timestamp((op.now+n.skew).Microseconds()))}
	if op.deletion != nil {
		a.write = ingest.NewDeletion(*op.deletion)
	}
	a.write.Owner = a
	n.writes = append(n.writes, a)
	a.feed(ingest.Event{Kind: ingest.Submitted, Write: a.write})
	if op.key != nil && !op.healed && op.chance(op.swarm.impatient) {
		op.after(op.about(300*time.Millisecond), a.lost)
	}
	n.after(ingest.TimeoutDefault, func() {
		if slices.Contains(n.writes, a) {
			a.feed(ingest.Event{Kind: ingest.Ended, Write: a.write, Err: context.DeadlineExceeded})
		}
	})
}

// feed gives the node's gateway an event and does what it asks.
func (a *attempt) feed(event ingest.Event) {
	n := a.node
	for _, e := range n.gateway.Step(event, nil) {
		owner, ok := e.Write.Owner.(*attempt)
		if !ok {
			n.failf("effect for a write of nobody")
			return
		}
		switch e.Kind {
		case ingest.Prepare:
			n.after(n.about(20*time.Microsecond), func() {
				e.Write.Prepare(n.world.shards, numberer{n})
				owner.feed(ingest.Event{Kind: ingest.Prepared, Write: e.Write})
			})
		case ingest.Propose:
			n.propose(e.Task.Shard(), e.Command, func(outcome []byte, err error) {
				owner.feed(ingest.Event{Kind: ingest.Proposed, Task: e.Task, Outcome: outcome, Err: err})
			})
		case ingest.Wait:
			n.after(e.Wait, func() { owner.feed(ingest.Event{Kind: ingest.TimerFired, Task: e.Task}) })
		case ingest.Done:
			owner.finish()
		}
	}
}

// finish takes the gateway's answer to the client.
func (a *attempt) finish() {
	if !slices.Contains(a.node.writes, a) {
		a.node.failf("operation %d was answered twice", a.op.id)
		return
	}
	a.node.writes = slices.DeleteFunc(a.node.writes, func(b *attempt) bool { return b == a })
	if a.ended {
		return
	}
	a.ended = true
	reply, err := a.write.Result()
	a.op.answered(reply, err)
}

// lost is the end of a connection without an answer.
func (a *attempt) lost() {
	if !a.ended {
		a.ended = true
		a.op.answered(inbound.RecordReply{}, errConnection)
	}
}

var errConnection = errors.New("connection lost")

func (op *operation) answered(reply inbound.RecordReply, err error) {
	op.err = err
	op.note(uint64(op.now), uint64(op.id), uint64(op.attempts))
	switch {
	case op.forged && err != nil && fault.From(err).Code() == "idempotency_key_reused":
	case op.forged && (err == nil || !retriable(err)):
		op.failf("operation %d: a key with other content was answered %+v, %v", op.id, reply, err)
	case err == nil && op.original != nil:
		if reply != op.original.reply {
			op.failf("operation %d was answered %+v when it was sent again, %+v before", op.original.id, reply, op.original.reply)
		}
	case err == nil:
		op.acknowledged(reply)
	case op.key != nil && retriable(err) || op.probing:
		op.mayBeStored(err)
		op.after(op.about(50*time.Millisecond), op.try)
		return
	default:
		op.mayBeStored(err)
		op.refusedOrUnknown(err)
	}
	op.over = true
	op.done()
}

func (op *operation) acknowledged(reply inbound.RecordReply) {
	op.counts.Acked++
	op.reply, op.ended = reply, op.now
	if reply.Stored != len(op.samples) {
		op.failf("operation %d: %d samples stored, want %d", op.id, reply.Stored, len(op.samples))
	}
	for _, s := range op.samples {
		s.state, s.at = stored, s.observation.At(reply.Received).Timestamp()
	}
	if op.probing && op.attempts > 1 {
		for _, s := range op.samples {
			s.state = repeated
		}
	}
}

// mayBeStored notes that an attempt may have left something behind.
func (op *operation) mayBeStored(err error) {
	if refused(err) {
		return
	}
	for _, s := range op.samples {
		s.state = max(s.state, unknown)
	}
}

func (op *operation) refusedOrUnknown(err error) {
	if refused(err) {
		op.counts.Refused++
	} else {
		op.counts.Unknown++
	}
}

// refused tells whether the answer says that nothing is stored.
func refused(err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) {
		return false
	}
	for _, d := range f.Details() {
		if d.Name == "unknown" || d.Name == "stored" {
			return false
		}
	}
	return true
}

// retriable tells whether the same request may succeed later.
func retriable(err error) bool {
	if errors.Is(err, errConnection) {
		return true
	}
	kind := fault.KindOf(err)
	return kind == fault.Unavailable || kind == fault.Exhausted || kind == fault.Timeout
}

// probeAll writes one sample to each shard.
func (w *world) probeAll() {
	for id := range w.swarm.shards {
		w.probe(shard.ID(id))
	}
}

// probe writes one sample to a shard, to see that it takes writes.
func (w *world) probe(id shard.ID) {
	for i := range 10_000 {
		series, err := newSeries(100 + i)
		if err != nil {
			w.failf("probe: %w", err)
			return
		}
		if w.shards.Of(series) == id {
			op := w.history.add(w, nil, []metric.Series{series})
			op.probing, op.done = true, func() {}
			op.try()
			return
		}
	}
	w.failf("no series of shard %d found", id)
}

// readSeries asks a node for a series and holds the answer against what was acknowledged or seen before.
func (c *client) readSeries() {
	again := func() { c.after(c.about(c.swarm.pause), c.next) }
	n := c.upNode()
	if n == nil {
		c.after(100*time.Millisecond, c.next)
		return
	}
	series := c.history.anySeries(c.world)
	must := c.history.known(series)
	began := c.now
	r := n.shards[c.world.shards.Of(series)]
	finished := false
	r.read(func(err error) {
		finished = true
		if err == nil {
			c.counts.Reads++
			c.checkRead(r, series, must, began)
		}
		again()
	})
	life := n.life
	var watch func()
	watch = func() { // the connection of a client whose node crashed
		switch {
		case finished:
		case !n.up || n.life != life:
			finished = true
			again()
		default:
			c.after(100*time.Millisecond, watch)
		}
	}
	c.after(100*time.Millisecond, watch)
}

func (c *client) checkRead(r *replica, series metric.Series, must map[float64]bool, began time.Duration) {
	got, err := r.values(series)
	if err != nil {
		r.must(err, "read")
		return
	}
	if isRegister(series) {
		c.checkRegister(fmt.Sprintf("a read from node %d", r.node.id), series, got, began)
		return
	}
	for _, v := range got {
		s := c.history.byValue[v]
		if s == nil {
			c.failf("node %d shard %d: a read of %s gave %v, which nobody wrote", r.node.id, r.shard, series.Key(), v)
			return
		}
		if d := c.history.deletedBefore(s, began); d != nil {
			c.failf("node %d shard %d: a read of %s gave %v, which operation %d deleted", r.node.id, r.shard, series.Key(), v, d.id)
		}
		delete(must, v)
		s.seen = true
	}
	for v := range must {
		if c.history.mayBeDeleted(c.history.byValue[v]) {
			delete(must, v)
		}
	}
	if len(must) > 0 {
		c.failf("node %d shard %d: a read of %s gave %d samples and missed %d that were acknowledged or read before it began",
			r.node.id, r.shard, series.Key(), len(got), len(must))
	}
}

// values returns a series' values as the replica has them.
func (r *replica) values(series metric.Series) ([]float64, error) {
	var values []float64
	err := r.eachPoint(func(key string, _ metric.Timestamp, value float64) {
		if key == series.Key() {
			values = append(values, value)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("walk shard %d: %w", r.shard, err)
	}
	return values, nil
}
