package cluster

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
)

const pauseLength = 5 * time.Second

// TestFailures breaks nodes under load in every way, at full length each node in each.
func TestFailures(t *testing.T) {
	f := form(t, 2)
	l := load(t, f)
	for i, way := range []struct {
		name string
		do   func(*testing.T, *fleet.Fleet, *fleet.Node)
	}{
		{"killed", kill}, {"stopped for 5 s", freezeProcess}, {"isolated for 5 s", isolate}, {"cut off for 5 s", cutOff}, {"unheard for 5 s", mute},
	} {
		nodes := f.Nodes
		if !*longFlag {
			nodes = nodes[i%len(nodes):][:1]
		}
		for _, n := range nodes {
			began := time.Now()
			way.do(t, f, n)
			took, err := l.AwaitEach(t.Context(), recoveryMax)
			if err != nil {
				t.Fatalf("%s %s: %v", n.Name, way.name, err)
			}
			gaps := l.Gaps(began, time.Now())
			t.Logf("%s %s: longest gap %v, all shards acknowledged %v after the end; whole after %v", n.Name, way.name,
				fleet.Worst(gaps).Length.Round(time.Millisecond), took.Round(time.Millisecond), awaitWhole(t, f).Round(time.Millisecond))
			if worst := fleet.Worst(gaps); worst.Length > gapWorstMax {
				_, newest := l.Failures()
				t.Errorf("%s %s: shard %v took no write for %v, want at most %v; the newest failures: %q", n.Name, way.name, worst.Shard, worst.Length, gapWorstMax, newest)
			}
		}
	}
	settle(t, f, l)
}

// kill ends the node and starts it again when the others have gone on without it.
func kill(t *testing.T, _ *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	n.Kill()
	wait(t, pauseLength)
	must(t, n.Restart(t.Context()))
}

// freezeProcess stops the process as a hanging machine would.
func freezeProcess(t *testing.T, _ *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	must(t, n.Process.Signal(syscall.SIGSTOP))
	n.Avoid()
	wait(t, pauseLength)
	must(t, n.Process.Signal(syscall.SIGCONT))
	n.Release()
}

// isolate loses every byte between the node and the others, in silence.
func isolate(t *testing.T, f *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	f.Isolate(n)
	n.Avoid()
	wait(t, pauseLength)
	f.Network.Restore()
	n.Release()
}

// cutOff ends the node's connections and refuses new ones.
func cutOff(t *testing.T, f *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	f.CutOff(n)
	n.Avoid()
	wait(t, pauseLength)
	f.Network.Restore()
	n.Release()
}

// mute lets the node hear the others, who do not hear it.
func mute(t *testing.T, f *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	for _, o := range f.Others(n) {
		f.Network.FreezeLink(n.Name, o.Name)
	}
	n.Avoid()
	wait(t, pauseLength)
	f.Network.Restore()
	n.Release()
}

// TestKills kills nodes again and again and measures how long shards take no writes.
func TestKills(t *testing.T) {
	kills := 6
	if *longFlag {
		kills = 20
	}
	f := form(t, 2)
	l := load(t, f)
	var worst, all []time.Duration
	for round := range kills {
		n := f.Nodes[round%len(f.Nodes)]
		began := time.Now()
		n.Kill()
		if _, err := l.AwaitEach(t.Context(), recoveryMax); err != nil {
			t.Fatalf("kill %d, of %s: %v", round, n.Name, err)
		}
		gaps := l.Gaps(began, time.Now())
		worst = append(worst, fleet.Worst(gaps).Length)
		for _, g := range gaps {
			all = append(all, g.Length)
		}
		must(t, n.Restart(t.Context()))
		awaitWhole(t, f)
	}
	slices.Sort(worst)
	slices.Sort(all)
	t.Logf("%d kills: gap of the worst shard a kill: median %v, worst %v; of all shards: median %v", kills,
		worst[len(worst)/2].Round(time.Millisecond), worst[len(worst)-1].Round(time.Millisecond), all[len(all)/2].Round(time.Millisecond))
	if got := worst[len(worst)/2]; got > gapMedianMax {
		t.Errorf("median gap %v, want at most %v", got, gapMedianMax)
	}
	if got := worst[len(worst)-1]; got > gapWorstMax {
		t.Errorf("worst gap %v, want at most %v", got, gapWorstMax)
	}
	settle(t, f, l)
}

// TestRollingRestart stops and starts every node in order: clients that use nodes which say that they are
// ready see no failure and hardly a pause.
func TestRollingRestart(t *testing.T) {
	rounds := 1
	if *longFlag {
		rounds = 5
	}
	f := form(t, 2)
	l := load(t, f)
	wait(t, time.Second)
	failedBefore, _ := l.Failures()
	for range rounds {
		for _, n := range f.Nodes {
			began := time.Now()
			log, err := n.Stop(t.Context())
			if err != nil {
				t.Fatalf("%v; its log:\n%s", err, log)
			}
			stopped := time.Since(began)
			wait(t, 500*time.Millisecond)
			must(t, n.Restart(t.Context()))
			awaitWhole(t, f)
			wait(t, 500*time.Millisecond)
			worst := fleet.Worst(l.Gaps(began, time.Now()))
			t.Logf("%s: stopped in %v, longest gap %v", n.Name, stopped.Round(time.Millisecond), worst.Length.Round(time.Millisecond))
			if worst.Length > gracefulGapMax {
				t.Errorf("%s: shard %v took no write for %v, want at most %v; its log:\n%s", n.Name, worst.Shard, worst.Length, gracefulGapMax, fleet.Telling(log))
			}
		}
	}
	if failed, newest := l.Failures(); failed > failedBefore {
		t.Errorf("%d requests failed; the newest: %q", failed-failedBefore, newest)
	}
	settle(t, f, l)
}
