package docker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
)

const (
	shards     = 8 // the default
	writers    = 8
	pace       = 20 * time.Millisecond
	goOnMax    = 15 * time.Second // for every shard to take writes after something broke
	breakTime  = 5 * time.Second
	settleMax  = 30 * time.Second
	crossReads = 100
)

// TestCompose starts the stack with the documented command alone, uses the documented API through all
// three ports, then breaks each container in turn under load: what was acknowledged is there, once.
func TestCompose(t *testing.T) {
	ctx, compose := engine(t)
	requirePorts(ctx, t)
	s := newStack(ctx, t, compose)
	ctx, cancel := context.WithTimeout(ctx, stackMax)
	defer cancel()
	s.up(ctx, t)
	s.awaitWhole(ctx, t)
	checkConfined(ctx, t, s)
	writeDocumented(ctx, t, s)
	checkDocumented(ctx, t, s)
	checkCrossReads(ctx, t, s)

	l, err := s.fleet.StartLoad(context.WithoutCancel(ctx), fleet.LoadOptions{Shards: shards, Spread: shards, Writers: writers, Pace: pace, Tag: "w"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Abandon)
	if _, err := l.AwaitEach(ctx, goOnMax); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.fleet.Nodes {
		s.breakAndMend(ctx, t, l, n, killed)
	}
	for i, way := range []breakage{paused, disconnected, crashed, stopped} {
		s.breakAndMend(ctx, t, l, s.fleet.Nodes[i%len(s.fleet.Nodes)], way)
	}
	settling, cancelSettling := context.WithTimeout(ctx, settleMax)
	defer cancelSettling()
	if err := l.Stop(settling); err != nil {
		t.Fatal(err)
	}
	checkStored(ctx, t, s, l)

	s.composeDo(ctx, t, "down")
	s.up(ctx, t)
	s.awaitWhole(ctx, t)
	checkStored(ctx, t, s, l)
	checkDocumented(ctx, t, s)
	t.Logf("%d samples acknowledged, each stored once in every replica, also after down and up", l.Acked())
}

// breakage is a way to break a container and to mend it.
type breakage struct {
	name string
	do   func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node)
	// mend is nil where the engine itself is to mend it.
	mend func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node)
	// atLeast is how long it stays broken.
	atLeast time.Duration
}

var killed = breakage{
	name: "killed",
	do: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		s.do(ctx, t, "docker", "kill", "-s", "KILL", s.container(ctx, t, n))
	},
	mend: start,
}

// stopped is as an upgrade does it: SIGTERM, then an end in order with exit code 0.
var stopped = breakage{
	name: "stopped in order",
	do: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		s.composeDo(ctx, t, "stop", n.Name)
		if code := s.inspect(ctx, t, n, "{{.State.ExitCode}}"); code != "0" {
			t.Errorf("%s ended with exit code %s, want 0", n.Name, code)
		}
	},
	mend: start,
}

func start(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
	t.Helper()
	s.do(ctx, t, "docker", "start", s.container(ctx, t, n))
}

var paused = breakage{
	name: "paused",
	do: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		s.do(ctx, t, "docker", "pause", s.container(ctx, t, n))
	},
	mend: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		s.do(ctx, t, "docker", "unpause", s.container(ctx, t, n))
	},
	atLeast: breakTime,
}

// disconnected loses the container's address and name; it may get another address afterwards.
var disconnected = breakage{
	name: "disconnected",
	do: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		s.do(ctx, t, "docker", "network", "disconnect", s.project+"_default", s.container(ctx, t, n))
	},
	mend: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		s.do(ctx, t, "docker", "network", "connect", "--alias", n.Name, s.project+"_default", s.container(ctx, t, n))
	},
	atLeast: breakTime,
}

// crashed ends the process from inside, by the signal on which Go dumps and exits: `docker kill` counts
// as a wish, after which the engine starts nothing again.
var crashed = breakage{
	name: "crashed inside",
	do: func(ctx context.Context, t *testing.T, s *stack, n *fleet.Node) {
		t.Helper()
		// This command may die with the container before it can say that it succeeded.
		_, _ = s.run(ctx, "docker", "exec", s.container(ctx, t, n), "sh", "-c", "kill -QUIT 1")
		s.await(ctx, t, n, "{{.RestartCount}}", "1")
	},
}

// breakAndMend breaks a container under load, sees every shard take writes through the other two, mends
// it and waits until the cluster is whole.
func (s *stack) breakAndMend(ctx context.Context, t *testing.T, l *fleet.Load, n *fleet.Node, way breakage) {
	t.Helper()
	began := time.Now()
	way.do(ctx, t, s, n)
	n.Avoid() // its clients use the others
	took, err := l.AwaitEach(ctx, goOnMax)
	if err != nil {
		t.Fatalf("%s %s: %v", n.Name, way.name, err)
	}
	if err := fleet.Pause(ctx, way.atLeast-time.Since(began)); err != nil {
		t.Fatal(err)
	}
	if way.mend != nil {
		way.mend(ctx, t, s, n)
	}
	mended := time.Now()
	s.awaitHealthy(ctx, t, n)
	n.Release()
	s.awaitWhole(ctx, t)
	t.Logf("%s %s: all shards acknowledged through the others within %v, longest gap %v, healthy and whole %v after the end", n.Name, way.name,
		took.Round(time.Millisecond), fleet.Worst(l.Gaps(began, time.Now())).Length.Round(time.Millisecond), time.Since(mended).Round(time.Millisecond))
}

// checkStored asks through each port for what is acknowledged, then each node for what its own replicas
// hold, and last for a comparison of all replicas.
func checkStored(ctx context.Context, t *testing.T, s *stack, l *fleet.Load) {
	t.Helper()
	if l.Acked() == 0 {
		t.Fatal("nothing was acknowledged")
	}
	for _, n := range s.fleet.Nodes {
		if err := l.Check(ctx, n); err != nil {
			t.Error(err)
		}
		if err := fleet.Await(ctx, settleMax, func(ctx context.Context) error { return l.Check(ctx, n, "level", "none") }); err != nil {
			t.Errorf("its own replicas: %v", err)
		}
		if err := n.Verify(ctx); err != nil {
			t.Error(err)
		}
	}
}

// checkConfined sees that each container runs as nobody in particular, and can write only its volume.
func checkConfined(ctx context.Context, t *testing.T, s *stack) {
	t.Helper()
	for _, n := range s.fleet.Nodes {
		id := s.container(ctx, t, n)
		if uid := s.do(ctx, t, "docker", "exec", id, "id", "-u"); uid != "10001" {
			t.Errorf("%s runs as user %s, want 10001", n.Name, uid)
		}
		if out, err := s.run(ctx, "docker", "exec", id, "touch", "/usr/local/bin/other"); err == nil || !strings.Contains(err.Error(), "Read-only file system") {
			t.Errorf("%s can write into its image: %q, %v", n.Name, out, err)
		}
		if !strings.Contains(s.do(ctx, t, "docker", "exec", id, "raftmetrics", "health"), n.Name+" is operational") {
			t.Errorf("%s: raftmetrics health does not say that it is operational", n.Name)
		}
	}
}

// checkCrossReads writes through one node and reads at once through another.
func checkCrossReads(ctx context.Context, t *testing.T, s *stack) {
	t.Helper()
	for i := range crossReads {
		writer, reader := s.fleet.Nodes[i%len(s.fleet.Nodes)], s.fleet.Nodes[(i+1)%len(s.fleet.Nodes)]
		ask(ctx, t, writer, 201, "POST", "/metrics", fmt.Sprintf(`{"metric_name":"turns","value":%d,"tags":{"turn":"%d"}}`, i, i%shards))
		got := ask(ctx, t, reader, 200, "GET", fmt.Sprintf("/metrics/turns?tag.turn=%d", i%shards), "").Body
		if want := fmt.Sprintf(`"value":%d,`, i); !strings.Contains(got, want) {
			t.Fatalf("written %d through %s, read through %s: %s", i, writer.Name, reader.Name, got)
		}
	}
}
