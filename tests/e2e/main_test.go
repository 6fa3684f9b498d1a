// Package e2e drives the real nodetest.Binary() over real HTTP: the documented API, real data, crashes, refusals.
package e2e

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/raftmetrics/raftmetrics/tests/node"
	"github.com/raftmetrics/raftmetrics/tests/node/nodetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(nodetest.Run(m))
}

// start runs a server on dataDir that is killed at the test's end at the latest.
func start(t *testing.T, dataDir string, environment ...string) *node.Process {
	t.Helper()
	p, err := node.Start(context.Background(), nodetest.Binary(), dataDir, environment...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.Log())
		}
	})
	return p
}

// connect returns a client of p.
func connect(t *testing.T, p *node.Process) *node.Client {
	t.Helper()
	c := p.NewClient(8)
	t.Cleanup(c.Close)
	return c
}

// do asks and expects the status.
func do(t *testing.T, c *node.Client, status int, method, path, body string, header ...string) node.Answer {
	t.Helper()
	a, err := c.Do(t.Context(), method, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.Status != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.Status, status, a.Body)
	}
	return a
}

// stop ends p in order.
func stop(t *testing.T, p *node.Process) {
	t.Helper()
	if code, err := p.Stop(); err != nil || code != 0 {
		t.Fatalf("stop: exit code %d, %v, want 0; log:\n%s", code, err, p.Log())
	}
}
