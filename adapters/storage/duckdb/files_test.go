package duckdb_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

func TestFilesArePrivate(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 3, 10, 1)
	seen := 0
	err := filepath.WalkDir(n.options.Directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
		seen++
		return nil
	})
	if err != nil || seen < 6 {
		t.Fatalf("%d files, %v", seen, err)
	}
}

// TestLeftovers leaves behind what an interrupted creation or replacement of a file would.
func TestLeftovers(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 3, 10, 5)
	stop(t, n)
	leftovers := []string{"1.duckdb.new", "2.duckdb", "2.duckdb.wal", "CURRENT.new"}
	for _, name := range leftovers {
		if err := os.WriteFile(shardFile(n, 0, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = start(t, n)
	if state := open(t, s, 0); state.Index != 5 {
		t.Fatalf("at %d, want 5", state.Index)
	}
	for _, name := range leftovers {
		if _, err := os.Stat(shardFile(n, 0, name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v, want gone", name, err)
		}
	}
	stop(t, n)
	// Without a pointer two files leave open which one is valid.
	if err := os.WriteFile(shardFile(n, 0, "2.duckdb"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(shardFile(n, 0, "CURRENT")); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, n).Open(t.Context(), 0); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Open: %v, want Corrupt", err)
	}
}

// TestTwiceOpen opens a shard several times at once: one of them gets it.
func TestTwiceOpen(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := s.Open(t.Context(), 0)
			errs <- err
		}()
	}
	opened := 0
	for range 4 {
		switch err := <-errs; {
		case err == nil:
			opened++
		case fault.KindOf(err) != fault.Conflict:
			t.Errorf("Open: %v, want Conflict", err)
		}
	}
	if opened != 1 {
		t.Fatalf("opened %d times, want once", opened)
	}
}
