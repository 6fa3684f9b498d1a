package duckdb_test

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// limitFiles makes every write behind bytes of a file fail in this process, until the test ends or
// another limit is set.
func limitFiles(t *testing.T, bytes uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = min(bytes, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

const unlimited = ^uint64(0)

// limited makes this test's binary the process whose files cannot grow.
const limited = "RAFTMETRICS_TEST_LIMITED"

// TestDiskFullDuringFlush lets a flush fail at ever later places, until there is room: every sample
// stays readable all the while and is stored once in the end, and another shard notices nothing. It runs in
// a process of its own, for the test tool's notes in this one are a file that grows, too.
func TestDiskFullDuringFlush(t *testing.T) {
	if os.Getenv(limited) == "" {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDiskFullDuringFlush$", "-test.v")
		child.Env = append(os.Environ(), limited+"=1")
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "flushes failed") {
			t.Fatalf("in a process of its own: %v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	t.Cleanup(func() {
		limitFiles(t, unlimited)
		signal.Reset(syscall.SIGXFSZ)
	})
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	open(t, s, 1)
	fill(t, s, 0, 100, 1000, 1)
	fill(t, s, 1, 3, 100, 1)
	c := columns(150, 50_000, 2)
	for i := range c.Values { // Values that do not compress.
		c.Values[i] = 1 / float64(i*7919%1_000_003+1)
	}
	if err := s.Append(t.Context(), 0, c); err != nil {
		t.Fatal(err)
	}
	s.Cut(0, outbound.AppliedState{Index: 2})
	info, err := os.Stat(shardFile(n, 0, "1.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	const step = 32 << 10
	failures := 0
	for limit := uint64(step); ; limit += step {
		limitFiles(t, limit)
		durable, err := s.Flush(t.Context(), 0)
		checkBoth(t, s)
		if err == nil && durable == 2 {
			break
		}
		if err == nil || durable != 1 {
			t.Fatalf("Flush with files of %d bytes: %d, %v", limit, durable, err)
		}
		if failures++; limit > uint64(info.Size())+8<<20 {
			t.Fatalf("Flush with files of %d bytes: %v", limit, err)
		}
	}
	limitFiles(t, unlimited)
	if failures == 0 {
		t.Fatal("no flush failed")
	}
	t.Logf("%d flushes failed", failures)
	stop(t, n)
	s = start(t, n)
	if state := open(t, s, 0); state.Index != 2 {
		t.Fatalf("at %d, want 2", state.Index)
	}
	open(t, s, 1)
	checkBoth(t, s)
}

func checkBoth(t *testing.T, s *duckdb.Store) {
	t.Helper()
	for id, want := range map[shard.ID]uint64{0: 51_000, 1: 100} {
		if count, _, err := totals(t, s, id); err != nil || count != want {
			t.Fatalf("shard %d: count=%d, %v, want %d", id, count, err, want)
		}
	}
}
