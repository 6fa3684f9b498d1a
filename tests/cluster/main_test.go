// Package cluster runs real processes as a cluster, breaks them in every way that machines break, and
// checks that what was acknowledged is there, once.
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node/nodetest"
)

var (
	longFlag    = flag.Bool("long", false, "run each test at its full length")
	storageFlag = flag.String("storage", "duckdb", "STORAGE of the nodes where a test does not need files")
)

const (
	shards = 8
	spread = 8

	startMax = 30 * time.Second
	healMax  = 60 * time.Second
	lagMax   = 1000 // entries; writes go on while replicas are compared
	pace     = 10 * time.Millisecond
)

// The times that the cluster is to keep. They hold with -long, on a machine that does nothing else; by
// default the same code has busySlack times as long, for it is to find what is wrong, not what is slow.
var (
	gapMedianMax   = 2500 * time.Millisecond
	gapWorstMax    = 5 * time.Second
	gracefulGapMax = 500 * time.Millisecond // while a node stops in order
	recoveryMax    = 15 * time.Second
	refusalMax     = 5 * time.Second
	returnMax      = 5 * time.Second
	silenceMax     = 7 * time.Second // a link that loses everything in silence is noticed later than a closed one
)

const busySlack = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if !*longFlag {
		for _, limit := range []*time.Duration{
			&gapMedianMax, &gapWorstMax, &gracefulGapMax, &recoveryMax, &refusalMax, &returnMax, &silenceMax,
		} {
			*limit *= busySlack
		}
	}
	os.Exit(nodetest.Run(m))
}

// prepare returns a fleet of which nothing runs, with small bounds on memory.
func prepare(t *testing.T, workers int, environment ...string) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(t.Context(), fleet.Options{
		Binary: nodetest.Binary(), Folder: t.TempDir(), Workers: workers,
		Environment: append([]string{"STORAGE=" + *storageFlag, "DUCKDB_MEMORY_LIMIT=256MiB", "DUCKDB_THREADS=1"}, environment...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			var logs strings.Builder
			f.Logs(&logs)
			t.Logf("the nodes' logs:\n%s", logs.String())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// form returns a fleet that is a whole cluster.
func form(t *testing.T, workers int, environment ...string) *fleet.Fleet {
	t.Helper()
	f := prepare(t, workers, environment...)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("formed, and whole %v after every node was ready", awaitWhole(t, f).Round(time.Millisecond))
	return f
}

// awaitWhole waits until the cluster is whole as the nodes see it that know, and returns how long that
// took. Only the meta group's leader knows at once.
func awaitWhole(t *testing.T, f *fleet.Fleet) time.Duration {
	t.Helper()
	began := time.Now()
	if err := fleet.Await(t.Context(), healMax, func(ctx context.Context) error {
		var errs []error
		for _, n := range f.Nodes {
			if n.Process == nil {
				continue
			}
			v, err := n.View(ctx)
			if err == nil {
				err = v.Whole(3, lagMax)
			}
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("as %s sees it: %w", n.Name, err))
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Fatalf("the cluster is not whole: %v", err)
	}
	return time.Since(began)
}

// load starts eight writers.
func load(t *testing.T, f *fleet.Fleet) *fleet.Load {
	t.Helper()
	l, err := f.StartLoad(context.Background(), fleet.LoadOptions{Shards: shards, Spread: spread, Writers: 8, Pace: pace, Tag: "w"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Abandon)
	if _, err := l.AwaitEach(t.Context(), startMax); err != nil {
		t.Fatal(err)
	}
	return l
}

// settle stops the load and checks through every node that what was acknowledged is stored once and
// nothing else is, and that all replicas are equal.
func settle(t *testing.T, f *fleet.Fleet, l *fleet.Load) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healMax)
	defer cancel()
	if err := l.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Nodes {
		if n.Process == nil {
			continue
		}
		if err := l.Check(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	awaitWhole(t, f)
	verify(t, f.Nodes[0])
	t.Logf("%d samples acknowledged, each stored once, all replicas equal", l.Acked())
}

// verify has a node compare all replicas, again while some do not answer: nodes may have come back just
// now.
func verify(t *testing.T, n *fleet.Node) {
	t.Helper()
	if err := fleet.Await(t.Context(), healMax, func(ctx context.Context) error {
		err := n.Verify(ctx)
		if err != nil && !errors.Is(err, fleet.ErrMissing) {
			t.Fatal(err)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// wait lets the cluster run for a time.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	if err := fleet.Pause(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// must fails the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
