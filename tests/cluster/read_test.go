package cluster

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// TestReadYourWrites writes through one node and reads at once through another.
func TestReadYourWrites(t *testing.T) {
	times := 1000
	if *longFlag {
		times = 10_000
	}
	f := form(t, 2)
	const readers = 8
	misses := make([][]string, readers)
	began := time.Now()
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			for i := range times / readers {
				if miss := readYourWrite(t.Context(), f, r, i); miss != "" {
					misses[r] = append(misses[r], miss)
				}
			}
		})
	}
	wg.Wait()
	count := 0
	for _, m := range misses {
		count += len(m)
	}
	t.Logf("%d times written through one node and read twice through another in %v: %d misses", times, time.Since(began).Round(time.Millisecond), count)
	if count > 0 {
		t.Errorf("%d misses: %q", count, misses)
	}
}

// readYourWrite tells what was wrong, "" for nothing.
func readYourWrite(ctx context.Context, f *fleet.Fleet, reader, i int) string {
	from, to := f.Nodes[(reader+i)%len(f.Nodes)], f.Nodes[(reader+i+1+i%2)%len(f.Nodes)]
	name := fmt.Sprintf("read%d", reader)
	body := fmt.Sprintf(`{"metric_name":%q,"value":%d,"timestamp":%q,"tags":{"i":"%d"}}`,
		name, i, time.Unix(1_767_225_600+int64(i), 0).UTC().Format(time.RFC3339), i%10)
	if a, err := from.Client.Do(ctx, http.MethodPost, "/metrics", body); err != nil || a.Status != http.StatusCreated {
		return fmt.Sprintf("write through %s: %v %v", from.Name, a, err)
	}
	var latest struct{ Value float64 }
	if err := to.Client.Get(ctx, "/metrics/"+name, &latest); err != nil || latest.Value != float64(i) {
		return fmt.Sprintf("latest value through %s after a write through %s: %v %v, want %d", to.Name, from.Name, latest.Value, err, i)
	}
	var aggregate node.Aggregate
	if err := to.Client.Get(ctx, "/aggregate", &aggregate, "metric", name, "agg", "count"); err != nil || *aggregate.Aggregations["count"] != float64(i+1) {
		return fmt.Sprintf("count through %s after a write through %s: %v %v, want %d", to.Name, from.Name, aggregate, err, i+1)
	}
	return ""
}

// TestMajorityGone kills two of three nodes: the third refuses and names the shards, reads that ask for
// less are answered, and all goes on when one comes back.
func TestMajorityGone(t *testing.T) {
	f := form(t, 2)
	l := load(t, f)
	last, others := f.Node("w1"), []*fleet.Node{f.Node("c1"), f.Node("w2")}
	for _, o := range others {
		o.Kill()
	}
	for range 2 { // at once, and when the loss is noticed
		var wg sync.WaitGroup
		for _, ask := range [][]string{
			{http.MethodPost, "/metrics", `{"metric_name":"m","value":1}`},
			{http.MethodGet, "/aggregate?metric=" + fleet.LoadMetric, ""},
			{http.MethodGet, "/metrics/" + fleet.LoadMetric, ""},
		} {
			wg.Go(func() { expectRefusal(t, last, ask[0], ask[1], ask[2]) })
		}
		wg.Wait()
	}
	a, err := last.Client.Do(t.Context(), http.MethodGet, "/aggregate?level=none&metric="+fleet.LoadMetric, "")
	if err != nil || a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("X-RaftMetrics-Level"), "none") {
		t.Errorf("level=none without a majority: %v %v, want 200 and the level", a, err)
	}
	a, err = last.Client.Do(t.Context(), http.MethodGet, "/aggregate?freshness=100ms&metric="+fleet.LoadMetric, "")
	if err != nil || a.Status != http.StatusGatewayTimeout {
		t.Errorf("freshness=100ms without a majority: %v %v, want 504", a, err)
	}
	must(t, others[1].Launch(t.Context()))
	must(t, others[1].AwaitReady(t.Context()))
	took, err := l.AwaitEach(t.Context(), recoveryMax)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("all shards take writes %v after the second node was ready", took.Round(time.Millisecond))
	if took > returnMax {
		t.Errorf("writes came back after %v, want at most %v", took, returnMax)
	}
	must(t, others[0].Restart(t.Context()))
	settle(t, f, l)
}

// expectRefusal asks for what needs a majority.
func expectRefusal(t *testing.T, n *fleet.Node, method, path, body string) {
	t.Helper()
	began := time.Now()
	a, err := n.Client.Do(t.Context(), method, path, body)
	took := time.Since(began)
	t.Logf("%s %s: %d after %v: %s", method, path, a.Status, took.Round(time.Millisecond), strings.TrimSpace(a.Body))
	if err != nil || a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, `"shards":[`) {
		t.Errorf("%s %s without a majority: %d %s %v, want 503 that names the shards", method, path, a.Status, a.Body, err)
	}
	if took > refusalMax {
		t.Errorf("%s %s without a majority took %v, want at most %v", method, path, took, refusalMax)
	}
}

// TestLevels asks for less than the newest, which is answered by whoever is asked, and says so.
func TestLevels(t *testing.T) {
	f := form(t, 2)
	l := load(t, f)
	for _, n := range f.Nodes {
		for _, ask := range []struct{ query, want string }{
			{"", "linearizable"}, {"&level=linearizable", "linearizable"}, {"&level=none", "none"}, {"&freshness=2s", "none"},
		} {
			a, err := n.Client.Do(t.Context(), http.MethodGet, "/aggregate?metric="+fleet.LoadMetric+ask.query, "")
			if err != nil || a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("X-RaftMetrics-Level"), ask.want) {
				t.Errorf("%q through %s: %v %v, want 200 at level %s", ask.query, n.Name, a, err, ask.want)
			}
		}
	}
	// A node that hears nothing any more still answers what it has, but not as fresh.
	n := f.Node("w2")
	f.Isolate(n)
	n.Avoid()
	wait(t, 2*time.Second)
	if a, err := n.Client.Do(t.Context(), http.MethodGet, "/aggregate?level=none&metric="+fleet.LoadMetric, ""); err != nil || a.Status != http.StatusOK {
		t.Errorf("level=none through an isolated node: %v %v, want 200", a, err)
	}
	if a, err := n.Client.Do(t.Context(), http.MethodGet, "/aggregate?freshness=1s&metric="+fleet.LoadMetric, ""); err != nil || a.Status != http.StatusGatewayTimeout {
		t.Errorf("freshness=1s through an isolated node: %v %v, want 504", a, err)
	}
	began := time.Now()
	a, err := n.Client.Do(t.Context(), http.MethodGet, "/aggregate?metric="+fleet.LoadMetric, "")
	if err != nil || a.Status != http.StatusServiceUnavailable {
		t.Errorf("linearizable through an isolated node: %v %v, want 503", a, err)
	}
	took := time.Since(began)
	t.Logf("linearizable through an isolated node: %d after %v", a.Status, took.Round(time.Millisecond))
	if took > silenceMax {
		t.Errorf("linearizable through an isolated node took %v, want at most %v", took, silenceMax)
	}
	f.Network.Restore()
	n.Release()
	settle(t, f, l)
}
