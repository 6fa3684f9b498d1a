package duckdb_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/tests/contract"
)

// node is a data directory with the store on it. A crash leaves a copy of the files as they were.
type node struct {
	root    string
	boots   int
	options duckdb.Options
	store   *duckdb.Store
}

func newNode(tb testing.TB, options duckdb.Options) *node {
	tb.Helper()
	n := &node{root: tb.TempDir(), options: options}
	n.options.Directory = filepath.Join(n.root, "0")
	n.options.Cluster = "test"
	if err := os.Mkdir(n.options.Directory, 0o700); err != nil {
		tb.Fatal(err)
	}
	return n
}

func (n *node) Start() (contract.Store, error) {
	store, err := duckdb.New(n.options)
	n.store = store
	return store, err
}

func (n *node) Stop() error { return n.store.Close() }

func (n *node) Crash() error {
	n.boots++
	image := filepath.Join(n.root, strconv.Itoa(n.boots))
	copied := os.CopyFS(image, os.DirFS(n.options.Directory))
	n.options.Directory = image
	return errors.Join(copied, n.store.Close())
}

// TestContract runs the suite with a cache that must evict, and when there is time with one that holds all
// and with none.
func TestContract(t *testing.T) {
	for name, bytes := range map[string]int64{"cache": 0, "tiny cache": 16 << 10, "no cache": -1} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && bytes <= 0 {
				t.Skip("short")
			}
			contract.Run(t, func(tb testing.TB, o contract.Options) contract.Node {
				tb.Helper()
				return newNode(tb, duckdb.Options{SeriesMax: o.SeriesMax, MemoryBytesMax: 256 << 20, CacheBytesMax: bytes})
			})
		})
	}
}
