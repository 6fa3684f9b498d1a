package duckdb_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
)

// goldenFile is a shard's file of a format, compressed. The flag -rewrite makes the newest anew.
func goldenFile(format int) string {
	return filepath.Join("testdata", fmt.Sprintf("shard_v%d.duckdb.gz", format))
}

const goldenFormat = 3

// TestGoldenFile opens files that earlier versions wrote, reads them and goes on writing.
func TestGoldenFile(t *testing.T) {
	if flag.Lookup("rewrite").Value.String() == "true" {
		rewriteGoldenFile(t)
	}
	for format := 1; format <= goldenFormat; format++ {
		t.Run(strconv.Itoa(format), func(t *testing.T) { readGoldenFile(t, format) })
	}
}

func readGoldenFile(t *testing.T, format int) {
	t.Helper()
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	stop(t, n)
	unpackGoldenFile(t, format, shardFile(n, 0, "1.duckdb"))
	s = start(t, n)
	state := open(t, s, 0)
	if state.Index != 7 || state.Term != 1 || state.LogTime != time.Second || !bytes.Equal(state.Machine, []byte("machine")) {
		t.Fatalf("state %+v, want index 7", state)
	}
	if count, sum, err := totals(t, s, 0); count != 20 || sum != 10*5+10*7 || err != nil {
		t.Fatalf("count=%d sum=%v, %v", count, sum, err)
	}
	fill(t, s, 0, 3, 10, 9)
	stop(t, n)
	s = start(t, n)
	open(t, s, 0)
	checkRollups(t, s, 0)
	if count, sum, err := totals(t, s, 0); count != 30 || sum != 10*5+10*7+10*9 || err != nil {
		t.Fatalf("count=%d sum=%v, %v", count, sum, err)
	}
}

func rewriteGoldenFile(t *testing.T) {
	t.Helper()
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 3, 10, 5)
	fill(t, s, 0, 4, 10, 7)
	stop(t, n)
	content, err := os.ReadFile(shardFile(n, 0, "1.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenFile(goldenFormat), packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unpackGoldenFile(t *testing.T, format int, path string) {
	t.Helper()
	packed, err := os.ReadFile(goldenFile(format))
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOldSnapshotIsInstalled receives files from nodes of earlier versions.
func TestOldSnapshotIsInstalled(t *testing.T) {
	for format := 1; format < goldenFormat; format++ {
		t.Run(strconv.Itoa(format), func(t *testing.T) { installGoldenFile(t, format) })
	}
}

func installGoldenFile(t *testing.T, format int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "received")
	unpackGoldenFile(t, format, path)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	manifest := snapshot.Manifest{
		Format: snapshot.FormatDuckDB, Shard: 0, Index: 7, Term: 1, Bytes: int64(len(content)), SHA256: sha256.Sum256(content),
	}.Encode()
	w, err := s.ReceiveSnapshot(t.Context(), 0, manifest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, err := s.InstallSnapshot(t.Context(), 0, manifest); err != nil || state.Index != 7 {
		t.Fatalf("at %d, %v, want 7", state.Index, err)
	}
	if count, sum, err := totals(t, s, 0); count != 20 || sum != 10*5+10*7 || err != nil {
		t.Fatalf("count=%d sum=%v, %v", count, sum, err)
	}
	checkRollups(t, s, 0)
}
