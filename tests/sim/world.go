// Package sim runs the real replication core, gateway and state machine of a whole cluster in one
// goroutine and virtual time, breaks it at random, and checks what it promised.
package sim

import (
	"container/heap"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Mutant is a defect that a run can be given, to prove that the checks would find it.
type Mutant uint8

// The mutants.
const (
	None Mutant = iota
	// AckBeforeSync reports log writes as durable that are not.
	AckBeforeSync
	// NoDedup stores the samples of repeated commands again.
	NoDedup
	// CommitBehindApplied restarts replicas with the commit index as it was stored.
	CommitBehindApplied
	// AckOnPropose answers writes when they are proposed.
	AckOnPropose
	// MachineNotCut leaves sessions and keys out of what a flush makes durable.
	MachineNotCut
	// TruncateUnflushed lets the log be truncated up to what is applied, flushed or not.
	TruncateUnflushed
	// StaleReads answers reads from what a replica has, without asking the leader.
	StaleReads
	// ReusedID lets a node that lost its disk come back with empty logs under its old ids.
	ReusedID
)

// String names the mutant.
func (m Mutant) String() string {
	return [...]string{
		"none", "ack before sync", "no dedup", "commit behind applied", "ack on propose",
		"machine not cut", "truncate unflushed", "stale reads", "reused id",
	}[m]
}

// Result is what a run came to.
type Result struct {
	Err    error  // what was violated, nil when all promises were kept
	Trace  uint64 // hash of everything that was applied and acknowledged, in order
	Counts Counts
}

// Counts say how much a run exercised.
type Counts struct {
	Events, Applied, Acked, Refused, Unknown, Reads, Crashes, Elections, Flushes, Snapshots, Wipes, Lost int
}

// add sums two counts.
func (c *Counts) add(d Counts) {
	c.Events += d.Events
	c.Applied += d.Applied
	c.Acked += d.Acked
	c.Refused += d.Refused
	c.Unknown += d.Unknown
	c.Reads += d.Reads
	c.Crashes += d.Crashes
	c.Elections += d.Elections
	c.Flushes += d.Flushes
	c.Snapshots += d.Snapshots
	c.Wipes += d.Wipes
	c.Lost += d.Lost
}

// errLimit bounds a run that would go on for ever.
var errLimit = errors.New("the run does not end")

const eventsMax = 3_000_000

// world is one run: a cluster, its clients and its one source of time and chance.
type world struct {
	swarm  swarm
	mutant Mutant
	rng    *rand.Rand
	now    time.Duration
	queue  events
	order  uint64
	err    error
	trace  hash.Hash64
	counts Counts
	healed bool // no more faults

	shards   shard.Map
	series   []metric.Series
	founding []byte
	nodes    []*node
	newDisk  func(n *node) disk // nil: a logDisk
	links    map[link]*linkState
	places   []cluster.Placement // by shard
	homes    map[home]*node
	idLast   uint64
	snapshot []snapshotData // what manifests number
	clients  []*client
	history  history
}

// event is something that will happen; those of one time happen in the order in which they were made.
type event struct {
	at    time.Duration
	order uint64
	do    func()
}

// events is the heap of what will happen.
type events struct{ list []event }

// Len implements heap.Interface.
func (e *events) Len() int { return len(e.list) }

// Less implements heap.Interface.
func (e *events) Less(i, j int) bool {
	a, b := &e.list[i], &e.list[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}

// Swap implements heap.Interface.
func (e *events) Swap(i, j int) { e.list[i], e.list[j] = e.list[j], e.list[i] }

// Push implements heap.Interface.
func (e *events) Push(x any) { e.list = append(e.list, x.(event)) } //nolint:errcheck,forcetypeassert // heap's own

// Pop implements heap.Interface.
func (e *events) Pop() any {
	last := len(e.list) - 1
	x := e.list[last]
	e.list[last] = event{}
	e.list = e.list[:last]
	return x
}

// after lets do happen in d.
func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, event{at: w.now + max(d, 0), order: w.order, do: do})
}

// about draws a time, exponentially distributed.
func (w *world) about(mean time.Duration) time.Duration {
	return time.Duration(min(w.rng.ExpFloat64(), 10) * float64(mean))
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// failf records the first violation; the run ends.
func (w *world) failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %v: "+format, append([]any{w.now}, args...)...)
	}
}

// note makes values part of the trace.
func (w *world) note(values ...uint64) {
	var b [8]byte
	for _, v := range values {
		for i := range b {
			b[i] = byte(v >> (8 * i))
		}
		_, _ = w.trace.Write(b[:])
	}
}

// until runs events until done says so or the time has come; it reports whether done said so.
func (w *world) until(limit time.Duration, done func() bool) bool {
	for w.err == nil && !done() {
		if w.queue.Len() == 0 || w.queue.list[0].at > limit {
			w.now = limit
			return false
		}
		if w.counts.Events++; w.counts.Events > eventsMax {
			w.failf("%w", errLimit)
			return false
		}
		e := heap.Pop(&w.queue).(event) //nolint:errcheck,forcetypeassert // nothing else is in it
		w.now = e.at
		e.do()
	}
	return w.err == nil
}

// Run is one seed's run. Raft draws its election timeouts from the process's random source, which the
// caller must have seeded too.
func Run(seed uint64, mutant Mutant) Result { return runOn(seed, mutant, nil) }

func runOn(seed uint64, mutant Mutant, newDisk func(n *node) disk) (result Result) {
	w := &world{mutant: mutant, newDisk: newDisk, rng: rand.New(rand.NewPCG(seed, 0x5eed)), trace: fnv.New64a()}
	defer func() {
		if p := recover(); p != nil {
			w.failf("panic: %v\n%s", p, debug.Stack())
		}
		result = Result{Err: w.err, Trace: w.trace.Sum64(), Counts: w.counts}
	}()
	w.swarm = drawSwarm(w.rng)
	if err := w.build(); err != nil {
		w.failf("build: %w", err)
		return result
	}
	w.play()
	return result
}

// swarm says what a run is made of and how it is broken; each is drawn anew for each seed, because
// faults that are always on hide what only their absence shows.
type swarm struct {
	nodes, shards, clients int
	duration               time.Duration // of load and faults
	pause                  time.Duration // of a client between operations
	calm                   time.Duration // between faults
	crashes, powerCuts     bool
	partitions, transfers  bool
	freezes, absences      bool
	wipes                  bool
	impatient, repeats     float64 // clients that give up early; finished writes sent again
	loss, repeat           float64
	delay                  time.Duration
	stalls                 bool
	sync                   time.Duration
	flush                  time.Duration
	keyed                  float64
	rewrites               float64 // operations that replace or delete
	storage                memory.Options
	machine                apply.Limits
	replica                multiraft.Limits
}

func drawSwarm(rng *rand.Rand) swarm {
	yes := func(p float64) bool { return rng.Float64() < p }
	span := func(low, high time.Duration) time.Duration {
		return low + time.Duration(rng.Int64N(int64(high-low)+1))
	}
	s := swarm{
		nodes: 3, shards: 1 + rng.IntN(4), clients: 2 + rng.IntN(5),
		duration: span(3*time.Second, 9*time.Second), pause: span(5*time.Millisecond, 80*time.Millisecond),
		calm:    span(200*time.Millisecond, 1500*time.Millisecond),
		crashes: yes(0.8), powerCuts: yes(0.4), partitions: yes(0.5), transfers: yes(0.4), stalls: yes(0.3),
		delay: span(200*time.Microsecond, 5*time.Millisecond), sync: span(100*time.Microsecond, 3*time.Millisecond),
		flush: span(300*time.Millisecond, 3*time.Second), keyed: rng.Float64(),
		freezes: yes(0.3), absences: yes(0.4), repeats: 0.1 * rng.Float64(),
		wipes: yes(0.4),
	}
	if yes(0.5) {
		s.impatient = 0.3 * rng.Float64()
	}
	if yes(0.4) {
		s.nodes = 1
	}
	if yes(0.6) {
		s.rewrites = 0.5 * rng.Float64()
	}
	if yes(0.5) {
		s.loss = 0.2 * rng.Float64()
	}
	if yes(0.5) {
		s.repeat = 0.3 * rng.Float64()
	}
	s.storage.CutBytes = int64(200 + rng.IntN(8000))
	s.replica.TrailingEntriesMax = uint64(1 + rng.IntN(60))
	if yes(0.3) {
		s.machine.SessionIdleMax = span(500*time.Millisecond, 3*time.Second)
	}
	if yes(0.2) {
		s.replica.CacheBytesMax = 200
	}
	if yes(0.2) {
		s.replica.EntryCommandsMax = 1 + rng.IntN(3)
	}
	return s
}

// Uint64 implements outbound.Entropy for the gateways.
func (w *world) Uint64() uint64 { return w.rng.Uint64() }

var _ outbound.Entropy = (*world)(nil)

// build founds the cluster.
func (w *world) build() (err error) {
	if w.shards, err = shard.NewMap(w.swarm.shards, math.MaxInt32); err != nil {
		return err
	}
	for i := range 6 {
		series, err := newSeries(i)
		if err != nil {
			return err
		}
		w.series = append(w.series, series)
	}
	w.history.build(w)
	ids := make([]uint64, w.swarm.nodes)
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	if w.founding, err = multiraft.Membership(ids...); err != nil {
		return err
	}
	w.links = map[link]*linkState{}
	for _, from := range ids {
		for _, to := range ids {
			w.links[link{from, to}] = &linkState{}
		}
		w.nodes = append(w.nodes, newNode(w, from))
	}
	w.place(ids)
	for _, n := range w.nodes {
		n.found()
		n.start()
	}
	w.after(directInterval, w.direct)
	for i := range w.swarm.clients {
		c := &client{world: w, id: i}
		w.clients = append(w.clients, c)
		w.after(w.about(w.swarm.pause), c.next)
	}
	w.after(w.about(w.swarm.calm), w.breakSomething)
	return nil
}

func newSeries(i int) (metric.Series, error) {
	name, err := metric.NewName(fmt.Sprint("metric_", i%3))
	if err != nil {
		return metric.Series{}, err
	}
	tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: fmt.Sprint("h", i)}})
	if err != nil {
		return metric.Series{}, err
	}
	return metric.NewSeries(name, tags)
}

// play lets the load run under faults, heals everything, and asks for what was promised.
func (w *world) play() {
	w.until(w.swarm.duration, func() bool { return false })
	if w.err != nil {
		return
	}
	w.heal()
	const patience = 60 * time.Second
	if !w.until(w.now+patience, func() bool { return w.idle() && w.settled() }) && w.err == nil {
		w.failf("after %v without faults operations or replacements are still under way: %s", patience, w.stuck())
	}
	// A minority stays away: the others must do without it.
	var away *node
	if len(w.nodes) > 1 && w.chance(0.5) {
		away = w.anyNode()
		away.crash()
	}
	if w.probeAll(); !w.until(w.now+patience, w.idle) && w.err == nil {
		w.failf("after %v without faults a shard takes no writes: %s", patience, w.stuck())
	}
	if away != nil && w.err == nil {
		away.start()
	}
	if w.probeAll(); !w.until(w.now+patience, func() bool { return w.idle() && w.level() }) && w.err == nil {
		w.failf("after %v without faults replicas differ in what they applied: %s", patience, w.stuck())
	}
	if w.err == nil {
		w.checkEnd()
	}
}
