package raftlog_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// entriesOf returns count entries of term 1 from first on, with size bytes each.
func entriesOf(first, count uint64, size int) []*raftpb.Entry {
	entries := make([]*raftpb.Entry, count)
	for i := range entries {
		entries[i] = &raftpb.Entry{
			Index: new(first + uint64(i)), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum(), Data: make([]byte, size),
		}
	}
	return entries
}

func create(tb testing.TB, store *raftlog.Store, groups int) {
	tb.Helper()
	var writes []multiraft.LogWrite
	for id := range multiraft.GroupID(groups) {
		writes = append(writes, multiraft.LogWrite{Group: id, Create: &multiraft.LogIdentity{ReplicaID: 1}})
	}
	if err := store.Write(writes); err != nil {
		tb.Fatalf("create: %v", err)
	}
}

// TestFailedDiskEndsTheStore lets a sync or write of the log fail once: Write fails, Fatal is told, and
// from then on nothing is given or taken, whatever the disk says.
func TestFailedDiskEndsTheStore(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]errorfs.OpKind{"sync": errorfs.OpFileSyncData, "write": errorfs.OpFileWrite} {
		for errno, cause := range map[string]error{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC} {
			t.Run(name+" "+errno, func(t *testing.T) {
				t.Parallel()
				var armed, told atomic.Bool
				o := options(t, errorfs.Wrap(newFS(t), errorfs.InjectorFunc(func(o errorfs.Op) error {
					syncing := op == errorfs.OpFileSyncData &&
						(o.Kind == errorfs.OpFileSync || o.Kind == errorfs.OpFileSyncTo || o.Kind == errorfs.OpFileSyncData)
					if strings.HasSuffix(o.Path, ".log") && (o.Kind == op || syncing) && armed.CompareAndSwap(true, false) {
						return cause
					}
					return nil
				})))
				o.Fatal = func(error) { told.Store(true) }
				store, err := raftlog.Open(o)
				if err != nil {
					t.Fatalf("open: %v", err)
				}
				create(t, store, 1)
				armed.Store(true)
				err = store.Write([]multiraft.LogWrite{{Entries: entriesOf(1, 1, 10)}})
				if err == nil || !told.Load() {
					t.Fatalf("Write=%v, Fatal told %v, want an error and true", err, told.Load())
				}
				if err := store.Write([]multiraft.LogWrite{{Entries: entriesOf(1, 1, 10)}}); err == nil {
					t.Errorf("Write after the failure=nil, want an error")
				}
				if _, err := store.Load(0); err == nil {
					t.Errorf("Load after the failure=nil, want an error")
				}
				_ = store.Close() // only its goroutines matter: the process ends here
			})
		}
	}
}

// TestDiskFullCallback frees space when told so, and the write goes through.
func TestDiskFullCallback(t *testing.T) {
	t.Parallel()
	var full, told atomic.Bool
	o := options(t, errorfs.Wrap(newFS(t), errorfs.InjectorFunc(func(o errorfs.Op) error {
		if full.Load() && o.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	})))
	o.DiskFull = func() { told.Store(true); full.Store(false) }
	store, err := raftlog.Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	create(t, store, 1)
	full.Store(true)
	if err := store.Write([]multiraft.LogWrite{{Entries: entriesOf(1, 1, 10)}}); err != nil || !told.Load() {
		t.Errorf("Write=%v, DiskFull told %v, want nil and true", err, told.Load())
	}
	if err := store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// TestRefusedWrites: what would break a log changes nothing.
func TestRefusedWrites(t *testing.T) {
	t.Parallel()
	store := open(t, newFS(t))
	defer func() { _ = store.Close() }()
	create(t, store, 1)
	good := multiraft.LogWrite{Entries: entriesOf(1, 5, 1)}
	if err := store.Write([]multiraft.LogWrite{good}); err != nil {
		t.Fatalf("write: %v", err)
	}
	for name, w := range map[string]multiraft.LogWrite{
		"gap":            {Entries: entriesOf(9, 1, 1)},
		"hole":           {Entries: append(entriesOf(6, 1, 1), entriesOf(8, 1, 1)...)},
		"twice created":  {Create: &multiraft.LogIdentity{ReplicaID: 2}},
		"never created":  {Group: 1, Entries: entriesOf(1, 1, 1)},
		"commit ahead":   {HardState: &raftpb.HardState{Commit: new(uint64(9))}},
		"truncate ahead": {Truncate: &multiraft.LogPoint{Index: 9, Term: 1}},
	} {
		if err := store.Write([]multiraft.LogWrite{{Entries: entriesOf(6, 1, 1)}, w}); err == nil {
			t.Errorf("%s: Write=nil, want an error", name)
		}
		if state, err := store.Load(0); err != nil || state.Last != 5 {
			t.Errorf("%s: last entry %d, %v, want 5: a refused batch left something", name, state.Last, err)
		}
	}
}

// TestPrivateFiles: nobody else on the machine may read the log, and one process at a time opens it.
func TestPrivateFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	o := options(t, raftlog.PrivateFS())
	o.Dir = dir
	store, err := raftlog.Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer func() { _ = store.Close() }()
	create(t, store, 1)
	if _, err := raftlog.Open(o); fault.KindOf(err) != fault.Conflict {
		t.Errorf("second Open=%v, want kind Conflict", err)
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, want none for others", path, info.Mode())
		}
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) { // Pebble may remove a file meanwhile
		t.Errorf("walk: %v", err)
	}
}

// TestTruncationReturnsSpace writes many times what is kept, and the disk holds little more.
func TestTruncationReturnsSpace(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/node", 0o700); err != nil {
		t.Fatalf("mkdir: %v", err)
	}
	o := options(t, fs)
	o.MemtableBytes = 512 << 10
	store, err := raftlog.Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer func() { _ = store.Close() }()
	const groups, rounds, kept = 8, 300, 20
	create(t, store, groups)
	for round := range uint64(rounds) {
		var writes []multiraft.LogWrite
		for id := range multiraft.GroupID(groups) {
			w := multiraft.LogWrite{Group: id, Entries: entriesOf(round*2+1, 2, 8<<10)}
			if round%10 == 9 && round > kept {
				w.Truncate = &multiraft.LogPoint{Index: (round - kept) * 2, Term: 1}
			}
			writes = append(writes, w)
		}
		if err := store.Write(writes); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
	const written, wantMax = rounds * groups * 2 * 8 << 10, 20 << 20
	// Tables are dropped in the background: small writes give it time.
	for range 20_000 {
		if store.DiskBytes() <= wantMax {
			return
		}
		if err := store.Write([]multiraft.LogWrite{{HardState: &raftpb.HardState{Term: new(uint64(1))}}}); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
	t.Errorf("DiskBytes=%d MiB after %d MiB, want at most %d MiB", store.DiskBytes()>>20, written>>20, wantMax>>20)
}

// TestOwner: whose store it is survives, and a store of a newer layout is left alone.
func TestOwner(t *testing.T) {
	t.Parallel()
	fs := newFS(t)
	store := open(t, fs)
	if _, found, err := store.Owner(); found || err != nil {
		t.Errorf("Owner of a new store=%v, %v, want none", found, err)
	}
	want := raftlog.Owner{Cluster: 3, Incarnation: 4, Node: "worker-1"}
	if err := store.SetOwner(want); err != nil {
		t.Fatalf("set owner: %v", err)
	}
	image := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	store = open(t, image)
	defer func() { _ = store.Close() }()
	if got, found, err := store.Owner(); got != want || !found || err != nil {
		t.Errorf("Owner=%v, %v, %v, want %v", got, found, err, want)
	}
}

// BenchmarkWrite is a node's log under load: writers that each wait for their own entry of 1 KiB, and
// a collector that turns whatever waits into one Write, as the runner does.
func BenchmarkWrite(b *testing.B) {
	for name, writers := range map[string]int{"writers=1": 1, "writers=64": 64} {
		b.Run(name, func(b *testing.B) {
			const groups = 16
			store, err := raftlog.Open(raftlog.Options{
				Dir: filepath.Join(b.TempDir(), "log"), FS: raftlog.PrivateFS(), Log: zerolog.Nop(),
				Fatal: func(err error) { b.Errorf("fatal: %v", err) },
			})
			if err != nil {
				b.Fatalf("open: %v", err)
			}
			defer func() { _ = store.Close() }()
			create(b, store, groups)
			b.SetBytes(1 << 10)
			b.ReportAllocs()
			var next [groups]uint64
			b.ResetTimer()
			for done := 0; done < b.N; done += writers {
				var writes []multiraft.LogWrite
				for g := range min(groups, writers) {
					count := uint64(writers / min(groups, writers))
					writes = append(writes, multiraft.LogWrite{Group: multiraft.GroupID(g), Entries: entriesOf(next[g]+1, count, 1<<10)})
					next[g] += count
				}
				if err := store.Write(writes); err != nil {
					b.Fatalf("write: %v", err)
				}
			}
		})
	}
}
