package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// LoadMetric is the metric that writers write.
const LoadMetric = "load"

const (
	attemptDurationMax = 10 * time.Second // longer than a write's deadline in the server
	retryPause         = 10 * time.Millisecond
	tagsTried          = 100_000
	failuresKept       = 20
)

// loadBase is the time of every writer's first sample; each next one is a second later.
var loadBase = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// LoadOptions say how a load writes.
type LoadOptions struct {
	// Shards is what the cluster was founded with; writer i writes to shard i modulo their number.
	Shards, Spread int
	Writers        int
	// Pace is how long a writer rests after an acknowledgement.
	Pace time.Duration
	// Tag marks the load's series, so that several loads go to one cluster.
	Tag string
}

// Load is writers that go on until they are stopped. Each writes samples of one series with the values 0,
// 1, 2 and so on, round the nodes that are up, each under a key of its own until it is acknowledged.
type Load struct {
	options LoadOptions
	fleet   *Fleet
	writers []*writer
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// writer writes one series of one shard; the keys' home is the same shard, so that its pauses are that
// shard's.
type writer struct {
	load   *Load
	tag    string
	shard  shard.ID
	shards shard.Map

	mu struct {
		sync.Mutex
		acked    int         // values below it are acknowledged
		at       []time.Time // when each was
		open     bool        // value acked was sent and its outcome is unknown
		failures []string    // the newest
		failed   int
	}
}

// StartLoad starts writers.
func (f *Fleet) StartLoad(ctx context.Context, o LoadOptions) (*Load, error) {
	shards, err := shard.NewMap(o.Shards, o.Spread)
	if err != nil {
		return nil, err
	}
	l := &Load{options: o, fleet: f}
	for i := range o.Writers {
		w := &writer{load: l, shards: shards, shard: shard.ID(i % o.Shards)}
		if w.tag, err = tagIn(shards, w.shard, fmt.Sprintf("%s%d", o.Tag, i)); err != nil {
			return nil, err
		}
		l.writers = append(l.writers, w)
	}
	ctx, l.cancel = context.WithCancel(ctx)
	for i, w := range l.writers {
		l.wg.Go(func() { w.run(ctx, i) })
	}
	return l, nil
}

// tagIn returns a value of the tag "writer" that puts the series into the shard.
func tagIn(shards shard.Map, want shard.ID, prefix string) (string, error) {
	name, err := metric.NewName(LoadMetric)
	if err != nil {
		return "", err
	}
	for try := range tagsTried {
		value := fmt.Sprintf("%s-%d", prefix, try)
		tags, err := metric.NewTags([]metric.Tag{{Key: "writer", Value: value}})
		if err != nil {
			return "", err
		}
		series, err := metric.NewSeries(name, tags)
		if err != nil {
			return "", err
		}
		if shards.Of(series) == want {
			return value, nil
		}
	}
	return "", fmt.Errorf("no tag puts %s into shard %v", LoadMetric, want)
}

// key returns the idempotency key of a value, its home the writer's shard.
func (w *writer) key(value int) string {
	for salt := 0; ; salt++ {
		if key := fmt.Sprintf("%s-%d-%d", w.tag, value, salt); w.shards.OfKey(command.KeyOf(key).Hash()) == w.shard {
			return key
		}
	}
}

// body returns a value as a request.
func (w *writer) body(value int) string {
	return fmt.Sprintf(`{"metric_name":%q,"value":%d,"timestamp":%q,"tags":{"writer":%q}}`,
		LoadMetric, value, loadBase.Add(time.Duration(value)*time.Second).Format(time.RFC3339), w.tag)
}

// run writes value after value until ctx ends.
func (w *writer) run(ctx context.Context, turn int) {
	for value := 0; ctx.Err() == nil; value++ {
		body, key := w.body(value), w.key(value)
		for acked := false; !acked; turn++ {
			if ctx.Err() != nil {
				return
			}
			acked = w.attempt(ctx, w.load.fleet.Nodes[turn%len(w.load.fleet.Nodes)], value, body, key)
		}
		if w.load.options.Pace > 0 && Pause(ctx, w.load.options.Pace) != nil {
			return
		}
	}
}

// attempt sends a value through n, unless clients must not use it.
func (w *writer) attempt(ctx context.Context, n *Node, value int, body, key string) bool {
	left := n.Left()
	if isClosed(left) {
		_ = Pause(ctx, time.Millisecond) // for when no node is up; the caller looks at ctx
		return false
	}
	w.mu.Lock()
	w.mu.open = true
	w.mu.Unlock()
	// What is under way is not torn off when the load ends: its outcome would be unknown.
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptDurationMax)
	defer cancel()
	go func() {
		select {
		case <-left:
			cancel()
		case <-attempt.Done():
		}
	}()
	sent := time.Now()
	a, err := n.Client.Do(attempt, http.MethodPost, "/metrics", body, "Idempotency-Key", key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && a.Status == http.StatusCreated {
		w.mu.acked, w.mu.open = value+1, false
		w.mu.at = append(w.mu.at, time.Now())
		return true
	}
	if err != nil && isClosed(left) {
		return false // the test took the node from its clients
	}
	w.mu.failed++
	reason := fmt.Sprintf("%s value %d through %s, after %v: %d %s %v", sent.Format("05.000"), value, n.Name, time.Since(sent).Round(time.Millisecond), a.Status, a.Body, err)
	if len(w.mu.failures) == failuresKept {
		w.mu.failures = w.mu.failures[1:]
	}
	w.mu.failures = append(w.mu.failures, reason)
	w.mu.Unlock()
	_ = Pause(ctx, retryPause) // the caller looks at ctx
	w.mu.Lock()
	return false
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Stop ends the writers, each after the acknowledgement of what it has sent: it is tried until ctx
// ends.
func (l *Load) Stop(ctx context.Context) error {
	l.cancel()
	l.wg.Wait()
	var errs []error
	for i, w := range l.writers {
		errs = append(errs, w.settle(ctx, i))
	}
	return errors.Join(errs...)
}

// settle has the writer's last value acknowledged.
func (w *writer) settle(ctx context.Context, turn int) error {
	w.mu.Lock()
	open, value := w.mu.open, w.mu.acked
	w.mu.Unlock()
	if !open {
		return nil
	}
	body, key := w.body(value), w.key(value)
	for ctx.Err() == nil {
		turn++
		if w.attempt(ctx, w.load.fleet.Nodes[turn%len(w.load.fleet.Nodes)], value, body, key) {
			return nil
		}
	}
	return fmt.Errorf("writer %s: value %d was not acknowledged: %w; last failures: %q", w.tag, value, context.Cause(ctx), w.failures())
}

func (w *writer) failures() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.mu.failures...)
}

// Acked returns how many samples were acknowledged.
func (l *Load) Acked() int {
	total := 0
	for _, w := range l.writers {
		w.mu.Lock()
		total += w.mu.acked
		w.mu.Unlock()
	}
	return total
}

// Failures returns how many requests failed, of those that were sent to nodes that clients may use, and
// what the newest failures were.
func (l *Load) Failures() (count int, newest []string) {
	for _, w := range l.writers {
		w.mu.Lock()
		count += w.mu.failed
		newest = append(newest, w.mu.failures...)
		w.mu.Unlock()
	}
	return count, newest
}

// AwaitEach waits until every writer has got an acknowledgement of something sent after now, and returns
// how long that took.
func (l *Load) AwaitEach(ctx context.Context, most time.Duration) (time.Duration, error) {
	began := time.Now()
	marks := make([]int, len(l.writers))
	for i, w := range l.writers {
		w.mu.Lock()
		marks[i] = w.mu.acked + 1 // the one under way may have been sent before
		w.mu.Unlock()
	}
	err := Await(ctx, most, func(context.Context) error {
		for i, w := range l.writers {
			w.mu.Lock()
			acked := w.mu.acked
			w.mu.Unlock()
			if acked <= marks[i] {
				return fmt.Errorf("writer %s of shard %v waits; its last failures: %q", w.tag, w.shard, w.failures())
			}
		}
		return nil
	})
	return time.Since(began), err
}

// Gap is the longest time without an acknowledged write of a shard.
type Gap struct {
	Shard  shard.ID
	Length time.Duration
}

// Gaps returns each writer's longest time without an acknowledgement between the two times.
func (l *Load) Gaps(from, to time.Time) []Gap {
	gaps := make([]Gap, 0, len(l.writers))
	for _, w := range l.writers {
		w.mu.Lock()
		last, longest := from, time.Duration(0)
		for _, at := range append(append([]time.Time(nil), w.mu.at...), to) {
			if at.Before(from) {
				continue
			}
			if at.After(to) {
				at = to
			}
			longest, last = max(longest, at.Sub(last)), at
		}
		w.mu.Unlock()
		gaps = append(gaps, Gap{w.shard, longest})
	}
	return gaps
}

// Worst returns the longest gap.
func Worst(gaps []Gap) Gap {
	var worst Gap
	for _, g := range gaps {
		if g.Length > worst.Length {
			worst = g
		}
	}
	return worst
}

// Check asks through n whether every acknowledged sample is stored once and nothing else is. The load
// must have stopped, and query holds further parameters as name, value pairs.
func (l *Load) Check(ctx context.Context, n *Node, query ...string) error {
	var errs []error
	for _, w := range l.writers {
		errs = append(errs, w.check(ctx, n, query))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("through %s: %w", n.Name, err)
	}
	return nil
}

func (w *writer) check(ctx context.Context, n *Node, query []string) error {
	w.mu.Lock()
	acked, open := w.mu.acked, w.mu.open
	w.mu.Unlock()
	if acked == 0 {
		return nil
	}
	var answer node.Aggregate
	err := n.Client.Get(ctx, "/aggregate", &answer,
		append([]string{"metric", LoadMetric, "tag.writer", w.tag, "agg", "count,sum,min,max"}, query...)...)
	if err != nil {
		return err
	}
	describe := func(count int) string {
		last := float64(count - 1)
		return fmt.Sprint("count=", count, " sum=", strconv.FormatFloat(last*(last+1)/2, 'f', -1, 64), " min=0 max=", last)
	}
	value := func(name string) string {
		if answer.Aggregations[name] == nil {
			return name + "=null"
		}
		return name + "=" + strconv.FormatFloat(*answer.Aggregations[name], 'f', -1, 64)
	}
	got := value("count") + " " + value("sum") + " " + value("min") + " " + value("max")
	if got != describe(acked) && (!open || got != describe(acked+1)) {
		return fmt.Errorf("writer %s of shard %v: %s, want %s", w.tag, w.shard, got, describe(acked))
	}
	return nil
}

// Abandon ends the writers at once, whatever they have sent; after Stop it does nothing.
func (l *Load) Abandon() {
	l.cancel()
	for _, n := range l.fleet.Nodes {
		n.Avoid()
	}
	l.wg.Wait()
}
