package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// flush has everything flushed and merged, on every node. The error of a flush that failed ends with what the
// nodes logged last, for their data is gone by the time somebody asks why.
func (s *system) flush(ctx context.Context) error {
	client := node.NewClient(s.urls[0], 1).WithTimeout(settleDurationMax)
	defer client.Close()
	a, err := client.Do(ctx, http.MethodPost, "/cluster/flush?timeout="+settleDurationMax.String(), "")
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("flush answered %d: %s", a.Status, a.Body)
	}
	if err != nil && s.told != nil {
		return fmt.Errorf("%w; the nodes' logs:\n%s", err, s.told())
	}
	return err
}

// toldBy returns what a node's process logged last.
func toldBy(p *node.Process) func() string { return func() string { return fleet.Telling(p.Log()) } }

// toldByFleet returns what each node of a fleet logged last.
func toldByFleet(f *fleet.Fleet) func() string {
	return func() string {
		var logs strings.Builder
		f.Logs(&logs)
		return logs.String()
	}
}

// tailBytesMax bounds what a tail keeps.
const tailBytesMax = 64 << 10

// tail keeps the newest of what nodes in this process log.
type tail struct {
	mu struct {
		sync.Mutex
		kept []byte
	}
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.kept = append(t.mu.kept, p...)
	if len(t.mu.kept) > 2*tailBytesMax { // seldom, for it copies
		t.mu.kept = append(t.mu.kept[:0], t.mu.kept[len(t.mu.kept)-tailBytesMax:]...)
	}
	return len(p), nil
}

// told returns the newest lines.
func (t *tail) told() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fleet.Telling(string(t.mu.kept))
}
