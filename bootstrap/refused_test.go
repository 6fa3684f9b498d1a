package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

const (
	clusterToken    = "the-cluster-token"
	refusalHeardMax = 15 * time.Second
)

// logbook is a log that can be waited on.
type logbook struct {
	mu struct {
		sync.Mutex
		text    bytes.Buffer
		changed chan struct{}
	}
}

func newLogbook() *logbook {
	b := &logbook{}
	b.mu.changed = make(chan struct{})
	return b
}

func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.mu.changed)
	b.mu.changed = make(chan struct{})
	return b.mu.text.Write(line)
}

func (b *logbook) read() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.text.String(), b.mu.changed
}

// await returns once the log has a line with all parts.
func (b *logbook) await(t *testing.T, parts ...string) {
	t.Helper()
	deadline := time.After(refusalHeardMax)
	for {
		text, changed := b.read()
		if b.count(parts...) > 0 {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no line with %q in the log:\n%s", parts, text)
		}
	}
}

// count returns how many lines have all parts.
func (b *logbook) count(parts ...string) int {
	text, _ := b.read()
	lines := 0
	for line := range strings.Lines(text) {
		has := true
		for _, p := range parts {
			has = has && strings.Contains(line, p)
		}
		if has {
			lines++
		}
	}
	return lines
}

// runLogged runs a node of a cluster on loopback until the test ends.
func runLogged(t *testing.T, id string, role cluster.Role, environment ...string) (*Node, *logbook) {
	t.Helper()
	merged := map[string]string{
		"NODE_ID": id, "NODE_ROLE": role.String(), "STORAGE": "memory", "BIND_ADDR": "127.0.0.1", "SHARDS": "1",
		"AUTH_TOKEN": clusterToken,
	}
	for i := 0; i < len(environment); i += 2 {
		merged[environment[i]] = environment[i+1]
	}
	c, err := load(merged, map[string]string{"PORT": "0"})
	if err != nil {
		t.Fatal(err)
	}
	book := newLogbook()
	n, err := NewNode(t.Context(), c, zerolog.New(book))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run %s: %v", id, err)
		}
	})
	return n, book
}

func (n *Node) message() string { return n.health.Health(context.Background()).Message }

func TestARepeatedNodeIDIsToldToBothSides(t *testing.T) {
	first, _ := runLogged(t, "worker-1", cluster.Worker)
	second, refusedLog := runLogged(t, "worker-1", cluster.Worker)
	_, controlLog := runLogged(t, "control-1", cluster.Control, "WORKER_HOSTS", fmt.Sprintf("%s,%s", first.Addr(), second.Addr()))
	reason := fmt.Sprintf("NODE_ID worker-1 at %s belongs to the living node at %s", second.Addr(), first.Addr())
	refusedLog.await(t, `"level":"warn"`, "this node was refused", `"by":"control-1"`, reason)
	controlLog.await(t, "refuses a node: "+reason)
	if got := second.message(); !strings.Contains(got, "waits to be adopted by a control node; refused: "+reason) {
		t.Errorf("the refused node says %q", got)
	}
	if got := first.message(); strings.Contains(got, "refused") {
		t.Errorf("the first node says %q", got)
	}
}

func TestAnotherTokenIsToldToBothSides(t *testing.T) {
	worker, workerLog := runLogged(t, "worker-1", cluster.Worker, "AUTH_TOKEN", "another-token")
	control, controlLog := runLogged(t, "control-1", cluster.Control, "WORKER_HOSTS", worker.Addr().String())
	const differs = "AUTH_TOKEN or CLUSTER_SECRET differs between node control-1"
	workerLog.await(t, `"level":"warn"`, differs, `"reason":"wrong_key"`)
	controlLog.await(t, worker.Addr().String(), differs)
	if got := control.message(); !strings.Contains(got, differs) {
		t.Errorf("the control node says %q", got)
	}
}

// stranger is a node that belongs to the cluster named, or to none, and holds the secret.
func stranger(t *testing.T, clusterID string) *link.Dialer {
	t.Helper()
	id, err := cluster.NewNodeID("stranger")
	if err != nil {
		t.Fatal(err)
	}
	self, err := cluster.NewNode(id, cluster.Control, "stranger:1", 1)
	if err != nil {
		t.Fatal(err)
	}
	ring := link.NewKeyring(self)
	if clusterID != "" {
		if err := ring.Join(clusterID, link.NewClusterKey()); err != nil {
			t.Fatal(err)
		}
	}
	return &link.Dialer{Keyring: ring}
}

func TestARefusedNodeSaysWhyUntilItIsTakenIn(t *testing.T) {
	worker, workerLog := runLogged(t, "worker-1", cluster.Worker)
	reject := func(clusterID, reason string) {
		t.Helper()
		if err := stranger(t, clusterID).Reject(t.Context(), worker.Addr().String(), []byte(clusterToken), reason); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		reject("", "for a reason")
	}
	workerLog.await(t, "waiting to be adopted")
	reject("", "for another")
	if got := worker.message(); !strings.HasSuffix(got, "; refused: for another") {
		t.Errorf("the refused node says %q", got)
	}
	if once, twice := workerLog.count("this node was refused", "for a reason"), workerLog.count("this node was refused"); once != 1 || twice != 2 {
		t.Errorf("%d lines of the first reason and %d in all, want 1 and 2", once, twice)
	}
	runLogged(t, "control-1", cluster.Control, "WORKER_HOSTS", worker.Addr().String())
	workerLog.await(t, "member of the cluster")
	if got := worker.message(); strings.Contains(got, "refused") {
		t.Errorf("the adopted node says %q", got)
	}
	if got := worker.refused.after("waits"); got != "waits" {
		t.Errorf("the adopted node remembers %q", got)
	}
	for range 2 {
		reject("elsewhere", "it is a member of another")
	}
	asked := []string{"a node of another cluster asked to adopt this node", `"by":"stranger"`, `"address":"stranger:1"`, `"cluster":"elsewhere"`}
	workerLog.await(t, asked...)
	reject(worker.keyring.ClusterID(), "too late")
	if n, late := workerLog.count(asked...), workerLog.count("too late"); n != 1 || late != 0 {
		t.Errorf("%d lines of the other cluster and %d of its own, want 1 and 0", n, late)
	}
}

func TestTheMemoryOfRefusalsIsBounded(t *testing.T) {
	r := newRefused(stranger(t, "").Keyring, zerolog.Nop())
	for i := range 3 * refusalsLoggedMax {
		r.hear(link.Rejection{Reason: strconv.Itoa(i)})
	}
	if got := len(r.mu.logged); got > refusalsLoggedMax {
		t.Errorf("%d refusals are remembered, want at most %d", got, refusalsLoggedMax)
	}
}
