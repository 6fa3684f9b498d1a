package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
)

// TestFormation starts three nodes in every order, with pauses that let each wait for the next.
func TestFormation(t *testing.T) {
	orders := [][]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}}
	if *longFlag {
		orders = append(orders, []int{0, 2, 1}, []int{1, 0, 2}, []int{2, 1, 0})
	}
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			f := prepare(t, 2)
			for _, i := range order {
				must(t, f.Nodes[i].Launch(t.Context()))
				wait(t, 300*time.Millisecond)
			}
			began := time.Now()
			must(t, f.AwaitReady(t.Context()))
			for i, n := range f.Nodes {
				a, err := n.Client.Do(t.Context(), http.MethodPost, "/metrics", fmt.Sprintf(`{"metric_name":"m","value":%d}`, i))
				if err != nil || a.Status != http.StatusCreated {
					t.Fatalf("write through %s: %v %v", n.Name, a, err)
				}
			}
			t.Logf("took writes through every node %v after the last start; whole %v later", time.Since(began).Round(time.Millisecond), awaitWhole(t, f).Round(time.Millisecond))
		})
	}
}

// TestWaiting tells, while nodes are missing, who waits for whom.
func TestWaiting(t *testing.T) {
	f := prepare(t, 2)
	control, worker := f.Node("c1"), f.Node("w1")
	must(t, control.Launch(t.Context()))
	must(t, worker.Launch(t.Context()))
	for _, n := range []*fleet.Node{control, worker} {
		want := "adopted"
		if n == control {
			want = f.Node("w2").Peers
		}
		expectHealth(t, n, http.StatusServiceUnavailable, `"starting"`, want)
	}
	must(t, f.Node("w2").Launch(t.Context()))
	must(t, f.AwaitReady(t.Context()))
	expectHealth(t, control, http.StatusOK, `"healthy"`)
}

// expectHealth waits until the node's health answers with the status and all parts.
func expectHealth(t *testing.T, n *fleet.Node, status int, parts ...string) {
	t.Helper()
	if err := fleet.Await(t.Context(), startMax, func(ctx context.Context) error {
		a, err := n.Client.Do(ctx, http.MethodGet, "/health", "")
		if err != nil {
			return err
		}
		for _, p := range parts {
			if a.Status != status || !strings.Contains(a.Body, p) {
				return fmt.Errorf("health of %s: %d %s, want %d with %q", n.Name, a.Status, a.Body, status, p)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// expectLog waits until the node's log holds one of the texts.
func expectLog(t *testing.T, n *fleet.Node, texts ...string) {
	t.Helper()
	if err := fleet.Await(t.Context(), startMax, func(context.Context) error {
		for _, text := range texts {
			if strings.Contains(n.Process.Log(), text) {
				return nil
			}
		}
		return errors.New("not there")
	}); err != nil {
		t.Errorf("the log of %s has none of %q: %v\n%s", n.Name, texts, err, fleet.Telling(n.Process.Log()))
	}
}

// TestRefusals has nodes that must not come together say so on both sides.
func TestRefusals(t *testing.T) {
	f := form(t, 2)
	t.Run("a worker of another cluster", func(t *testing.T) {
		// A control node without a cluster waits to be taken into that of its hosts, and founds none.
		stranger, err := f.AddControl(t.Context(), "c9", f.Node("w1").Peers)
		must(t, err)
		must(t, stranger.Launch(t.Context()))
		expectHealth(t, stranger, http.StatusServiceUnavailable, `"starting"`, f.Node("w1").Peers)
		stranger.Kill()
		must(t, stranger.Wipe())
		// One that has a cluster is told that the worker belongs elsewhere.
		stranger.Environment = nil
		must(t, stranger.Restart(t.Context()))
		a, err := stranger.Client.Do(t.Context(), http.MethodPost, "/cluster/nodes", fmt.Sprintf(`{"address":%q}`, f.Node("w1").Peers))
		if err != nil || a.Status != http.StatusConflict || !strings.Contains(a.Body, "cluster") {
			t.Errorf("adding a worker of another cluster: %d %s %v, want 409 that says why", a.Status, a.Body, err)
		}
		stranger.Kill()
	})
	t.Run("a wrong token", func(t *testing.T) {
		worker, err := f.AddWorker(t.Context(), "w8")
		must(t, err)
		worker.Environment = []string{"AUTH_TOKEN=another-token-than-theirs"}
		must(t, worker.Launch(t.Context()))
		expectLog(t, worker, "waiting to be adopted")
		control := f.Node("c1")
		a, err := control.Client.Do(t.Context(), http.MethodPost, "/cluster/nodes", fmt.Sprintf(`{"address":%q}`, worker.Peers))
		if err != nil || a.Status < 400 || !strings.Contains(a.Body, "AUTH_TOKEN or CLUSTER_SECRET differs") {
			t.Errorf("adding a worker with a wrong token: %d %s %v, want a refusal that says why", a.Status, a.Body, err)
		}
		expectLog(t, worker, "AUTH_TOKEN or CLUSTER_SECRET differs")
		worker.Kill()
	})
	t.Run("a repeated NODE_ID", func(t *testing.T) {
		twin, err := f.AddWorker(t.Context(), "w7")
		must(t, err)
		twin.Environment = []string{"NODE_ID=w1"}
		must(t, twin.Launch(t.Context()))
		expectLog(t, twin, "waiting to be adopted")
		a, err := f.Node("c1").Client.Do(t.Context(), http.MethodPost, "/cluster/nodes", fmt.Sprintf(`{"address":%q}`, twin.Peers))
		expectLog(t, twin, "this node was refused")
		if err != nil || a.Status < 400 || !strings.Contains(a.Body, "w1") {
			t.Errorf("adding a second w1: %d %s %v, want a refusal that says why", a.Status, a.Body, err)
		}
		expectHealth(t, twin, http.StatusServiceUnavailable, `"starting"`)
		twin.Kill()
	})
	for _, n := range f.Nodes[:3] {
		expectHealth(t, n, http.StatusOK, `"healthy"`)
	}
}

// TestRejoin starts nodes with their data again, with any subset of the others up.
func TestRejoin(t *testing.T) {
	f := form(t, 2)
	l := load(t, f)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		for _, n := range f.Nodes {
			n.Kill()
		}
		for _, i := range random.Perm(len(f.Nodes)) { // alone, with one, with both
			must(t, f.Nodes[i].Launch(t.Context()))
			wait(t, 200*time.Millisecond)
		}
		must(t, f.AwaitReady(t.Context()))
		if _, err := l.AwaitEach(t.Context(), recoveryMax); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, f, l)
}

// TestThirdWorker names a third worker at the control node's next start: it takes over what the control
// node held, while writes go on.
func TestThirdWorker(t *testing.T) {
	f := form(t, 2)
	l := load(t, f)
	third, err := f.AddWorker(t.Context(), "w3")
	must(t, err)
	must(t, third.Launch(t.Context()))
	control := f.Node("c1")
	if log, err := control.Stop(t.Context()); err != nil {
		t.Fatalf("%v; its log:\n%s", err, log)
	}
	control.Environment[0] += "," + third.Peers
	began := time.Now()
	must(t, control.Restart(t.Context()))
	must(t, third.AwaitReady(t.Context()))
	awaitHolders(t, f, map[string]int{"w1": shards, "w2": shards, "w3": shards})
	t.Logf("the third worker holds the control node's replicas %v after its start", time.Since(began).Round(time.Millisecond))
	if _, err := l.AwaitEach(t.Context(), recoveryMax); err != nil {
		t.Fatal(err)
	}
	settle(t, f, l)
}

// awaitHolders waits until each node holds as many replicas as wanted, and the cluster is whole.
func awaitHolders(t *testing.T, f *fleet.Fleet, want map[string]int) {
	t.Helper()
	if err := fleet.Await(t.Context(), healMax, func(ctx context.Context) error {
		v, err := f.Nodes[0].View(ctx)
		if err != nil {
			return err
		}
		if got := v.Holders(); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("replicas by node: %v, want %v", got, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	awaitWhole(t, f)
}
