package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
	"github.com/raftmetrics/raftmetrics/tests/node/nodetest"
)

var (
	killsFlag = flag.Int("kills", 50, "how often TestKill kills the server")
	seedFlag  = flag.Uint64("seed", 0, "seed of TestKill; 0 draws one")
)

// crashBase is the time of every writer's operation 0; operation n is n seconds later.
var crashBase = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// writer sends batches one after another: operation n is size samples at second n with values that no
// other operation has, so that a window of one second shows whether it is there, and how often.
type writer struct {
	id     int
	size   int
	keyed  bool // sends an Idempotency-Key and tries again until acknowledged
	acked  []bool
	failed int // operations without acknowledgement
}

func (w *writer) value(op, k int) float64 { return float64(op*1000 + k) }

// body is the operation as a request; its age makes new series all the time, so that some are always
// being defined.
func (w *writer) body(op int) string {
	var b strings.Builder
	separator := "["
	for k := range w.size {
		fmt.Fprintf(&b, `%s{"metric_name":"crash","value":%g,"timestamp":%q,"tags":{"writer":"%d","part":"%d","age":"%d"}}`,
			separator, w.value(op, k), crashBase.Add(time.Duration(op)*time.Second).Format(time.RFC3339), w.id, k%5, op/20)
		separator = ","
	}
	return b.String() + "]"
}

// write sends operations until the server stops answering; acked gets one message an acknowledgement.
func (w *writer) write(ctx context.Context, c *node.Client, acked chan<- struct{}) error {
	for {
		if !w.keyed || len(w.acked) == 0 || w.acked[len(w.acked)-1] {
			w.acked = append(w.acked, false)
		}
		op := len(w.acked) - 1
		var header []string
		if w.keyed {
			header = []string{"Idempotency-Key", fmt.Sprintf("writer-%d-op-%d", w.id, op)}
		}
		a, err := c.Do(ctx, http.MethodPost, "/metrics", w.body(op), header...)
		switch {
		case err != nil:
			w.failed++
			return nil //nolint:nilerr // the server is gone and the outcome unknown: that is what is tested
		case a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests:
			w.failed++
		case a.Status != http.StatusCreated:
			return fmt.Errorf("writer %d, operation %d: status %d: %s", w.id, op, a.Status, a.Body)
		default:
			w.acked[op] = true
			acked <- struct{}{}
		}
	}
}

// check asks for every second of the writer: an acknowledged operation is there exactly once, another one
// at most once.
func (w *writer) check(ctx context.Context, c *node.Client) error {
	seen := make([]bool, len(w.acked))
	for first := 0; first < len(w.acked); first += 10_000 {
		var answer node.Aggregate
		err := c.Get(ctx, "/aggregate", &answer, "metric", "crash", "tag.writer", strconv.Itoa(w.id), "window", "1s", "agg", "count,sum,min,max",
			"from", crashBase.Add(time.Duration(first)*time.Second).Format(time.RFC3339),
			"to", crashBase.Add(time.Duration(first+9_999)*time.Second).Format(time.RFC3339))
		if err != nil {
			return err
		}
		for _, window := range answer.Windows {
			op := int(window.Start.Sub(crashBase) / time.Second)
			if op >= len(w.acked) {
				return fmt.Errorf("writer %d: operation %d was never sent but is stored", w.id, op)
			}
			seen[op] = true
			if err := w.checkOperation(op, window.Aggregations); err != nil {
				return err
			}
		}
	}
	for op, acked := range w.acked {
		if acked && !seen[op] {
			return fmt.Errorf("writer %d: operation %d was acknowledged and is lost", w.id, op)
		}
	}
	return nil
}

func (w *writer) checkOperation(op int, got node.Aggregations) error {
	count, sum, low, high := *got["count"], *got["sum"], *got["min"], *got["max"]
	if !w.acked[op] && count < float64(w.size) { // part of it, which its error said
		return nil
	}
	var want float64
	for k := range w.size {
		want += w.value(op, k)
	}
	if count != float64(w.size) || sum != want || low != w.value(op, 0) || high != w.value(op, w.size-1) {
		return fmt.Errorf("writer %d, operation %d (acknowledged: %v): count=%v sum=%v min=%v max=%v, want %d %v %v %v",
			w.id, op, w.acked[op], count, sum, low, high, w.size, want, w.value(op, 0), w.value(op, w.size-1))
	}
	return nil
}

// TestKill kills the server with SIGKILL amid writes, again and again: what was acknowledged is there
// after each restart, exactly once.
func TestKill(t *testing.T) {
	kills := *killsFlag
	if testing.Short() {
		kills = min(kills, 5)
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay: go test ./tests/e2e -run TestKill -kills=%d -seed=%d", kills, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var writers []*writer
	for id, size := range []int{1, 1, 1, 1, 20, 20, 500, 500} {
		writers = append(writers, &writer{id: id, size: size, keyed: id%2 == 0})
	}
	folder, began := t.TempDir(), time.Now()
	for round := range kills {
		p := start(t, folder, "MEMTABLE_MEMORY_LIMIT=1MiB")
		c := p.NewClient(len(writers))
		if round > 0 {
			checkAll(t, c, writers, round)
		}
		storm(t, p, c, writers, 1+random.IntN(300))
		c.Close()
	}
	p := start(t, folder)
	c := connect(t, p)
	for _, w := range writers {
		w.settle(t, c)
	}
	checkAll(t, c, writers, kills)
	acked, failed := 0, 0
	for _, w := range writers {
		for _, ok := range w.acked {
			if ok {
				acked += w.size
			}
		}
		failed += w.failed
	}
	t.Logf("%d kills in %v: %d acknowledged samples, each there once; %d requests without answer", kills, time.Since(began).Round(time.Millisecond), acked, failed)
}

// storm lets all writers write until so many acknowledgements came, kills the server and waits for the
// writers to notice.
func storm(t *testing.T, p *node.Process, c *node.Client, writers []*writer, acknowledgements int) {
	t.Helper()
	acked := make(chan struct{})
	quiet := make(chan struct{})
	errs := make([]error, len(writers))
	var wg sync.WaitGroup
	for i, w := range writers {
		wg.Go(func() { errs[i] = w.write(t.Context(), c, acked) })
	}
	go func() {
		wg.Wait()
		close(quiet)
	}()
	for running := true; running; {
		select {
		case <-acked:
			if acknowledgements--; acknowledgements == 0 {
				p.Kill()
			}
		case <-quiet:
			running = false
		}
	}
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if acknowledgements > 0 {
		t.Fatalf("the server ended by itself %d acknowledgements before it was to be killed; log:\n%s", acknowledgements, p.Log())
	}
}

// settle sends what a keyed writer still owes.
func (w *writer) settle(t *testing.T, c *node.Client) {
	t.Helper()
	if op := len(w.acked) - 1; w.keyed && op >= 0 && !w.acked[op] {
		do(t, c, http.StatusCreated, http.MethodPost, "/metrics", w.body(op), "Idempotency-Key", fmt.Sprintf("writer-%d-op-%d", w.id, op))
		w.acked[op] = true
	}
}

func checkAll(t *testing.T, c *node.Client, writers []*writer, round int) {
	t.Helper()
	for _, w := range writers {
		if len(w.acked) == 0 {
			continue
		}
		if err := w.check(t.Context(), c); err != nil {
			t.Fatalf("after kill %d: %v", round, err)
		}
	}
}

// TestKillWhileStarting kills starts at any moment, the founding ones above all: the next start goes on
// from whatever was left.
func TestKillWhileStarting(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay: go test ./tests/e2e -run TestKillWhileStarting -seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	folder := t.TempDir()
	for round := range 24 {
		if round%8 == 0 { // founding anew
			folder = t.TempDir()
		}
		p, err := node.Spawn(t.Context(), nodetest.Binary(), []string{"DATA_DIR=" + folder, "PORT=0"})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Exited():
			t.Fatalf("start %d ended by itself:\n%s", round, p.Log())
		case <-time.After(time.Duration(random.IntN(150)) * time.Millisecond):
			p.Kill()
		}
		if round%8 == 7 {
			p := start(t, folder)
			do(t, connect(t, p), http.StatusCreated, http.MethodPost, "/metrics", `{"metric_name":"m","value":1}`)
			stop(t, p)
		}
	}
}
