package cluster

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the damages; 0 draws one")

// TestDamage takes away or damages files of a node that does not run, under load: it heals from the
// others when it comes back, and nothing is lost.
func TestDamage(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay: go test ./tests/cluster -run TestDamage -seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []struct {
		name, node string
		damage     func(t *testing.T, n *fleet.Node, random *rand.Rand)
	}{
		{"a worker's data directory deleted", "w1", func(t *testing.T, n *fleet.Node, _ *rand.Rand) { t.Helper(); must(t, n.Wipe()) }},
		{"the control node's data directory deleted", "c1", func(t *testing.T, n *fleet.Node, _ *rand.Rand) { t.Helper(); must(t, n.Wipe()) }},
		{"a bit flipped in a DuckDB file", "w2", flipBit},
		{"a DuckDB file deleted", "w1", deleteShard},
		{"a DuckDB WAL cut short", "w2", cutWAL},
		{"the log's middle overwritten", "w1", overwriteLog},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := form(t, 2, "STORAGE=duckdb")
			l := load(t, f)
			flush(t, f)
			wait(t, time.Second) // entries beyond the flush
			n := f.Node(c.node)
			n.Kill()
			c.damage(t, n, random)
			began := time.Now()
			must(t, n.Restart(t.Context()))
			ready := time.Since(began)
			awaitWhole(t, f)
			t.Logf("%s ready after %v, whole after %v", n.Name, ready.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			if _, err := l.AwaitEach(t.Context(), recoveryMax); err != nil {
				t.Fatal(err)
			}
			settle(t, f, l)
		})
	}
}

// flush has every replica's samples written to its file.
func flush(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	a, err := f.Nodes[0].Client.Do(t.Context(), http.MethodPost, "/cluster/flush", "")
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("flush: %d %s %v", a.Status, a.Body, err)
	}
}

// files returns the files in the node's data directory that match, the largest first.
func files(t *testing.T, n *fleet.Node, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(n.Dir, filepath.FromSlash(pattern)))
	must(t, err)
	if len(found) == 0 {
		t.Fatalf("%s has no file %s", n.Name, pattern)
	}
	size := func(path string) int64 {
		info, err := os.Stat(path)
		must(t, err)
		return info.Size()
	}
	slices.SortFunc(found, func(a, b string) int { return int(size(b) - size(a)) })
	return found
}

// flipBit changes one bit in the second half of one shard's file.
func flipBit(t *testing.T, n *fleet.Node, random *rand.Rand) {
	t.Helper()
	path := files(t, n, "shards/*/*.duckdb")[0]
	content, err := os.ReadFile(path)
	must(t, err)
	at := len(content)/2 + random.IntN(len(content)/2)
	content[at] ^= 1 << random.IntN(8)
	must(t, os.WriteFile(path, content, 0o600))
	t.Logf("flipped a bit at %d of %d in %s", at, len(content), filepath.Base(filepath.Dir(path)))
}

func deleteShard(t *testing.T, n *fleet.Node, _ *rand.Rand) {
	t.Helper()
	must(t, os.Remove(files(t, n, "shards/*/*.duckdb")[0]))
}

// cutWAL leaves half of a shard's write-ahead log, or, where there is none, half of one made of noise.
func cutWAL(t *testing.T, n *fleet.Node, random *rand.Rand) {
	t.Helper()
	path := files(t, n, "shards/*/*.duckdb")[0] + ".wal"
	content, err := os.ReadFile(path)
	if err != nil {
		content = make([]byte, 4096)
		for i := range content {
			content[i] = byte(random.Uint32())
		}
	}
	must(t, os.WriteFile(path, content[:len(content)/2], 0o600))
	t.Logf("left %d bytes of the write-ahead log (of the server's own: %v)", len(content)/2, err == nil)
}

// overwriteLog writes noise over the middle of the Raft log's newest file that is large enough.
func overwriteLog(t *testing.T, n *fleet.Node, random *rand.Rand) {
	t.Helper()
	path := files(t, n, "raftlog/*.log")[0]
	content, err := os.ReadFile(path)
	must(t, err)
	middle := content[len(content)/3 : len(content)/3+min(4096, len(content)/3)]
	for i := range middle {
		middle[i] = byte(random.Uint32())
	}
	must(t, os.WriteFile(path, content, 0o600))
	t.Logf("wrote %d bytes of noise into %d of %s", len(middle), len(content), filepath.Base(path))
}

const (
	smallDiskBytes = 800 << 20
	leftBytes      = 200 << 20 // less than a node wants to keep free
	diskBlockBytes = 1 << 20
)

// TestDiskFull fills the small disk of a node: it refuses writes with 507 and answers reads, the others
// go on, and it comes back when there is room.
func TestDiskFull(t *testing.T) {
	f := prepare(t, 2, "STORAGE=duckdb")
	n := f.Node("w1")
	must(t, os.MkdirAll(n.Dir, 0o700))
	if err := syscall.Mount("tmpfs", n.Dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDiskBytes)); err != nil {
		t.Skipf("no small disk can be mounted here (%v): what a full disk does was not tested", err)
	}
	t.Cleanup(func() {
		n.Kill()
		if err := syscall.Unmount(n.Dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	must(t, f.Start(t.Context()))
	awaitWhole(t, f)
	l := load(t, f)
	filler := filepath.Join(n.Dir, "filler")
	fill(t, filler, smallDiskBytes-leftBytes)
	n.Avoid()
	refused := ""
	if err := fleet.Await(t.Context(), healMax, func(ctx context.Context) error {
		a, err := n.Client.Do(ctx, http.MethodPost, "/metrics", `{"metric_name":"full","value":1}`)
		if err == nil && a.Status == http.StatusInsufficientStorage {
			refused = a.Body
			return nil
		}
		return fmt.Errorf("write through the full node: %d %s %w", a.Status, a.Body, err)
	}); err != nil {
		t.Error(err)
	}
	t.Logf("the full node: %s", strings.TrimSpace(refused))
	if a, err := n.Client.Do(t.Context(), http.MethodGet, "/aggregate?metric="+fleet.LoadMetric, ""); err != nil || a.Status != http.StatusOK {
		t.Errorf("read through the full node: %d %s %v, want 200", a.Status, a.Body, err)
	}
	if _, err := l.AwaitEach(t.Context(), recoveryMax); err != nil {
		t.Errorf("through the other nodes: %v", err)
	}
	must(t, os.Remove(filler))
	began := time.Now()
	must(t, fleet.Await(t.Context(), healMax, func(ctx context.Context) error {
		a, err := n.Client.Do(ctx, http.MethodPost, "/metrics", `{"metric_name":"full","value":1}`)
		if err == nil && a.Status != http.StatusCreated {
			err = fmt.Errorf("write through the node that was full: %d %s", a.Status, a.Body)
		}
		return err
	}))
	t.Logf("it takes writes %v after there was room again", time.Since(began).Round(time.Millisecond))
	n.Release()
	settle(t, f, l)
}

// fill writes a file of so many bytes.
func fill(t *testing.T, path string, bytes int) {
	t.Helper()
	file, err := os.Create(path)
	must(t, err)
	block := make([]byte, diskBlockBytes)
	for range bytes / diskBlockBytes {
		_, err := file.Write(block)
		must(t, err)
	}
	must(t, file.Close())
}
