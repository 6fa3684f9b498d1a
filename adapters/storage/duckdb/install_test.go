package duckdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// move makes a snapshot of a shard of from and has to receive it. to may be nil, for the data alone.
func move(ctx context.Context, from, to *duckdb.Store, id shard.ID) (manifest, data []byte, err error) {
	made, err := from.MakeSnapshot(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	d, err := from.OpenSnapshot(ctx, id, made.Manifest)
	if err != nil {
		return nil, nil, err
	}
	data, err = io.ReadAll(d)
	if err := errors.Join(err, d.Close()); err != nil || to == nil {
		return made.Manifest, data, err
	}
	w, err := to.ReceiveSnapshot(ctx, id, made.Manifest)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		return nil, nil, errors.Join(err, w.Abort())
	}
	return made.Manifest, data, w.Commit(ctx)
}

// shardFiles returns the files of shard 0 by name.
func shardFiles(t *testing.T, n *node) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(shardFile(n, 0, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if files[e.Name()], err = os.ReadFile(shardFile(n, 0, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// image returns a node on whose disk shard 0 has exactly these files.
func image(t *testing.T, files map[string][]byte) *node {
	t.Helper()
	n := newNode(t, duckdb.Options{})
	if err := os.MkdirAll(shardFile(n, 0, ""), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(shardFile(n, 0, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestCrashImagesOfInstall opens what a crash leaves after each step of receiving and installing a
// snapshot: the old content whole or the new, and a received snapshot where it was complete.
func TestCrashImagesOfInstall(t *testing.T) {
	from, to := newNode(t, duckdb.Options{}), newNode(t, duckdb.Options{})
	a, b := start(t, from), start(t, to)
	open(t, a, 0)
	open(t, b, 0)
	fill(t, a, 0, 5, 300, 9)
	fill(t, b, 0, 3, 100, 2)
	before := shardFiles(t, to)
	manifest, data, err := move(t.Context(), a, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	received := shardFiles(t, to)
	if _, err := b.InstallSnapshot(t.Context(), 0, manifest); err != nil {
		t.Fatal(err)
	}
	after := shardFiles(t, to)
	if len(before) != 2 || len(received) != 4 || len(after) != 2 {
		t.Fatalf("%d, %d, %d files, want 2, 4, 2", len(before), len(received), len(after))
	}
	with := func(files map[string][]byte, name string, content []byte) map[string][]byte {
		c := map[string][]byte{name: content}
		for name, content := range files {
			if c[name] == nil {
				c[name] = content
			}
		}
		return c
	}
	switched := with(received, "CURRENT", after["CURRENT"])
	noted := with(after, "1.duckdb", before["1.duckdb"])
	for name, c := range map[string]struct {
		files   map[string][]byte
		index   uint64
		waiting bool
	}{
		"nothing":                 {before, 2, false},
		"half received":           {with(before, "receiving", data[:len(data)/2]), 2, false},
		"all received":            {with(before, "receiving", data), 2, false},
		"named":                   {with(before, "2.duckdb", data), 2, false},
		"half a note":             {with(with(before, "2.duckdb", data), "RECEIVED.new", received["RECEIVED"][:20]), 2, false},
		"a damaged note":          {with(received, "RECEIVED", received["RECEIVED"][:20]), 2, false},
		"a note without its file": {with(before, "RECEIVED", received["RECEIVED"]), 2, false},
		"noted":                   {received, 2, true},
		"received twice":          {with(received, "3.duckdb", data), 2, true},
		"half a pointer":          {with(received, "CURRENT.new", after["CURRENT"][:10]), 2, true},
		"attached":                {with(received, "2.duckdb.wal", []byte("half")), 2, true},
		"opening":                 {with(received, "opening", []byte("1")), 2, true},
		"switched":                {switched, 9, false},
		"note removed":            {noted, 9, false},
		"old file removed":        {after, 9, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := image(t, c.files)
			s := start(t, n)
			checkAt(t, s, c.index)
			got, ok, err := s.ReceivedSnapshot(t.Context(), 0)
			if err != nil || ok != c.waiting || (ok && !bytes.Equal(got.Manifest, manifest)) {
				t.Fatalf("ReceivedSnapshot=%+v, %v, %v, want %v", got, ok, err, c.waiting)
			}
			if c.waiting {
				if _, err := s.InstallSnapshot(t.Context(), 0, manifest); err != nil {
					t.Fatal(err)
				}
			}
			stop(t, n)
			s = start(t, n)
			if c.waiting {
				c.index = 9
			}
			checkAt(t, s, c.index)
			if left := shardFiles(t, n); len(left) != 2 {
				t.Errorf("%d files are left, want 2", len(left))
			}
		})
	}
}

// checkAt opens shard 0, which must have the whole content of index 2 or 9.
func checkAt(t *testing.T, s *duckdb.Store, index uint64) {
	t.Helper()
	if state := open(t, s, 0); state.Index != index {
		t.Fatalf("at %d, want %d", state.Index, index)
	}
	want := map[uint64]uint64{2: 100, 9: 300}[index]
	if count, sum, err := totals(t, s, 0); err != nil || count != want || sum != float64(want*index) {
		t.Fatalf("count=%d sum=%v, %v, want %d", count, sum, err, want)
	}
}

// TestCrashImagesOfRemoval opens what a crash leaves within a quarantine or a removal.
func TestCrashImagesOfRemoval(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 3, 100, 2)
	whole := shardFiles(t, n)
	pointer := map[string][]byte{"CURRENT": whole["CURRENT"]}

	half := image(t, pointer) // The file was moved, the pointer not.
	h := start(t, half)
	if _, err := h.Open(t.Context(), 0); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Open within a quarantine: %v, want Corrupt", err)
	}
	if err := h.Quarantine(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if state := open(t, h, 0); state.Index != 0 {
		t.Fatalf("at %d, want 0", state.Index)
	}

	gone := image(t, whole)
	folder := shardFile(gone, 0, "")
	if err := os.Rename(folder, filepath.Clean(folder)+".destroyed"); err != nil {
		t.Fatal(err)
	}
	g := start(t, gone)
	if left, err := os.ReadDir(filepath.Dir(filepath.Clean(folder))); err != nil || len(left) != 0 {
		t.Fatalf("%d entries are left, %v", len(left), err)
	}
	if state := open(t, g, 0); state.Index != 0 {
		t.Fatalf("at %d, want 0", state.Index)
	}
}

// TestQuarantineIsBounded quarantines a shard again and again: its damaged data is kept, once.
func TestQuarantineIsBounded(t *testing.T) {
	var reported damages
	n := newNode(t, duckdb.Options{Damaged: reported.note})
	s := start(t, n)
	for range 3 {
		open(t, s, 0)
		fill(t, s, 0, 3, 1000, 2)
		if err := s.Quarantine(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		kept, err := filepath.Glob(shardFile(n, 0, "quarantine-*/*.duckdb"))
		if err != nil || len(kept) != 1 {
			t.Fatalf("kept %v, %v, want one file", kept, err)
		}
	}
	if len(reported.times) != 0 {
		t.Errorf("reported %v, though nothing was damaged", reported.times)
	}
}

// TestDamageIsReported damages a file under an open store: whoever reads it first is told, and so is the
// node, once; a snapshot of it is not given out; the other shard goes on.
func TestDamageIsReported(t *testing.T) {
	for _, first := range []string{"query", "snapshot", "digest"} {
		t.Run(first, func(t *testing.T) {
			var reported damages
			n := newNode(t, duckdb.Options{Damaged: reported.note})
			s := start(t, n)
			open(t, s, 0)
			open(t, s, 1)
			fill(t, s, 0, 50, 50_000, 5)
			fill(t, s, 1, 3, 1000, 5)
			stop(t, n)
			damageSamples(t, shardFile(n, 0, "1.duckdb"))
			s = start(t, n)
			open(t, s, 0)
			open(t, s, 1)
			ask := map[string]func() error{
				"query": func() error {
					// Windows of a second are in no rollup.
					_, err := s.Partials(t.Context(), []shard.ID{0}, windowed(t, "1s"))
					return err
				},
				"snapshot": func() error { _, err := s.MakeSnapshot(t.Context(), 0); return err },
				"digest": func() error {
					sum, err := s.PinContent(0)
					if err == nil {
						_, err = sum(t.Context())
					}
					return err
				},
			}
			if err := ask[first](); err == nil || fault.KindOf(err) != fault.Corrupt {
				t.Fatalf("%s: %v, want Corrupt", first, err)
			}
			for name, f := range ask {
				if err := f(); err == nil || fault.KindOf(err) != fault.Corrupt {
					t.Errorf("%s afterwards: %v, want Corrupt", name, err)
				}
			}
			if reported.count(0) != 1 || reported.count(1) != 0 {
				t.Errorf("reported %v, want shard 0 once", reported.times)
			}
			if count, _, err := totals(t, s, 1); err != nil || count != 1000 {
				t.Errorf("the other shard: count=%d, %v", count, err)
			}
			heal(t, s, 0)
		})
	}
}

// TestReplacedFilesAreClosed shows that neither statements that are kept nor DuckDB hold on to a file that
// was replaced: its room on the disk is free.
func TestReplacedFilesAreClosed(t *testing.T) {
	from, to := newNode(t, duckdb.Options{}), newNode(t, duckdb.Options{})
	a, b := start(t, from), start(t, to)
	open(t, a, 0)
	fill(t, a, 0, 3, 1000, 9)
	for range 2 {
		open(t, b, 0)
		fill(t, b, 0, 3, 1000, 2)
		if count, _, err := totals(t, b, 0); err != nil || count != 1000 {
			t.Fatalf("count=%d, %v", count, err)
		}
		manifest, _, err := move(t.Context(), a, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.InstallSnapshot(t.Context(), 0, manifest); err != nil {
			t.Fatal(err)
		}
		checkNoneHeld(t, to)
		if err := b.Destroy(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		checkNoneHeld(t, to)
	}
}

// checkNoneHeld fails when this process holds a removed file of the node open.
func checkNoneHeld(t *testing.T, n *node) {
	t.Helper()
	held, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(held) == 0 {
		t.Skip("this system does not tell what files a process holds")
	}
	for _, fd := range held {
		if path, err := os.Readlink(fd); err == nil && strings.HasPrefix(path, n.root) && strings.HasSuffix(path, " (deleted)") {
			t.Errorf("%s is still open", path)
		}
	}
}

// damageSamples flips a bit in every block that holds times of samples and nothing of other tables.
func damageSamples(t *testing.T, path string) {
	t.Helper()
	const header, block = 3 * 4096, 65536
	blocks := timeBlocks(t, path)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		content[header+b*block+1000] ^= 1
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// timeBlocks asks DuckDB which blocks of a file hold times of samples and nothing of other tables.
func timeBlocks(t *testing.T, path string) (blocks []int64) {
	t.Helper()
	instance, err := engine.Open(engine.Options{
		Directory: filepath.Dir(path), TempDirectory: t.TempDir(), TempBytesMax: 1 << 20, MemoryBytesMax: 64 << 20, Threads: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer instance.Close()
	c, err := instance.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(t.Context(), "ATTACH "+engine.QuoteText(path)+" AS looked (READ_ONLY)"); err != nil {
		t.Fatal(err)
	}
	var others strings.Builder
	for _, table := range []string{"series", "metrics", "newest", "hours", "runs", "state", "meta"} {
		others.WriteString(" AND block_id NOT IN (SELECT block_id FROM pragma_storage_info('looked." + table + "') WHERE block_id >= 0)")
	}
	text := "SELECT DISTINCT block_id::BIGINT FROM pragma_storage_info('looked.points') WHERE column_name = 't' AND block_id >= 0" + others.String()
	err = c.Query(t.Context(), text, nil, func(chunk engine.Chunk) error {
		blocks = append(blocks, chunk.Int64s(0)...)
		return nil
	})
	if err != nil || len(blocks) == 0 {
		t.Fatalf("blocks of times: %v, %v", blocks, err)
	}
	return blocks
}

// installs makes a store go from snapshot to snapshot of another one, for ever, and tells each index.
func installs(directory string) error {
	ctx := context.Background()
	var stores [2]*duckdb.Store
	for i, name := range []string{"source", "0"} {
		s, err := duckdb.New(duckdb.Options{Directory: filepath.Join(directory, name), Cluster: "test"})
		if err != nil {
			return err
		}
		stores[i] = s
	}
	from, to := stores[0], stores[1]
	state, err := from.Open(ctx, 0)
	if err != nil {
		return err
	}
	installed, err := to.Open(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Println(installed.Index)
	for index := state.Index + 1; ; index++ {
		if err := from.Append(ctx, 0, columns(10+int(index), samplesPerFlush, index)); err != nil {
			return err
		}
		from.Cut(0, outbound.AppliedState{Index: index, Term: 1, Machine: []byte(machineOf(index))})
		if _, err := from.Flush(ctx, 0); err != nil {
			return err
		}
		manifest, _, err := move(ctx, from, to, 0)
		if err != nil {
			return err
		}
		got, err := to.InstallSnapshot(ctx, 0, manifest)
		if err != nil {
			return err
		}
		fmt.Println(got.Index)
	}
}

// TestKilledInstalling ends an installing process at random moments: what it said to have installed is
// there, or a later snapshot, whole.
func TestKilledInstalling(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := newNode(t, duckdb.Options{})
	for range 10 {
		told := killed(t, installerDirectory, n.root, 1+random.IntN(4), time.Duration(random.IntN(90_000))*time.Microsecond)
		s := start(t, n)
		state := open(t, s, 0)
		i := state.Index
		if i < told || string(state.Machine) != machineOf(i) {
			t.Fatalf("state %d with %q, want at least %d", i, state.Machine, told)
		}
		count, sum, err := totals(t, s, 0)
		if err != nil || count != i*samplesPerFlush || sum != float64(i*(i+1)/2*samplesPerFlush) {
			t.Fatalf("at %d: count=%d sum=%v, %v", i, count, sum, err)
		}
		stop(t, n)
	}
}
