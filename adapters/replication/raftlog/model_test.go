package raftlog_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
)

// modelGroup is the dumb log of one group: a slice.
type modelGroup struct {
	state   multiraft.LogState
	entries []*raftpb.Entry // entries[0] is at state.First()
}

// model is the dumb store.
type model map[multiraft.GroupID]modelGroup

func (m model) clone() model {
	c := model{}
	for id, g := range m {
		g.entries = append([]*raftpb.Entry(nil), g.entries...)
		c[id] = g
	}
	return c
}

func (m model) write(w multiraft.LogWrite) {
	g := m[w.Group]
	if w.Create != nil {
		g.state.Identity = *w.Create
	}
	if w.Reset != nil {
		g.state.Truncated, g.entries = *w.Reset, nil
	}
	if w.HardState != nil {
		g.state.HardState = w.HardState
	}
	if len(w.Entries) > 0 {
		g.entries = append(append([]*raftpb.Entry(nil), g.entries[:w.Entries[0].GetIndex()-g.state.First()]...), w.Entries...)
	}
	if w.Truncate != nil {
		g.entries = append([]*raftpb.Entry(nil), g.entries[w.Truncate.Index-g.state.Truncated.Index:]...)
		g.state.Truncated = *w.Truncate
	}
	g.state.Last = g.state.Truncated.Index + uint64(len(g.entries))
	m[w.Group] = g
}

func (m model) term(id multiraft.GroupID, index uint64) uint64 {
	g := m[id]
	if index == g.state.Truncated.Index {
		return g.state.Truncated.Term
	}
	return g.entries[index-g.state.First()].GetTerm()
}

const modelGroups = 3

// drawWrites makes one valid batch and applies it to m.
func drawWrites(t *rapid.T, m model) []multiraft.LogWrite {
	var writes []multiraft.LogWrite
	for range rapid.IntRange(1, 4).Draw(t, "writes") {
		id := multiraft.GroupID(rapid.IntRange(0, modelGroups-1).Draw(t, "group"))
		w := drawWrite(t, m, id)
		m.write(w)
		writes = append(writes, w)
	}
	return writes
}

func drawWrite(t *rapid.T, m model, id multiraft.GroupID) multiraft.LogWrite {
	w := multiraft.LogWrite{Group: id}
	after := m.clone() // as far as w is drawn
	if after[id].state.Identity.ReplicaID == 0 {
		w.Create = &multiraft.LogIdentity{ReplicaID: rapid.Uint64Min(1).Draw(t, "replica"), Founding: []byte("founding")}
		after.write(multiraft.LogWrite{Group: id, Create: w.Create})
	}
	term := rapid.Uint64Range(1, 9).Draw(t, "term")
	if rapid.IntRange(0, 19).Draw(t, "reset") == 0 {
		w.Reset = &multiraft.LogPoint{Index: after[id].state.Last + rapid.Uint64Range(0, 5).Draw(t, "ahead"), Term: term}
		after.write(multiraft.LogWrite{Group: id, Reset: w.Reset})
	}
	state := after[id].state
	if count := rapid.IntRange(0, 80).Draw(t, "entries"); count > 0 {
		first := rapid.Uint64Range(max(state.First(), state.HardState.GetCommit()+1), state.Last+1).Draw(t, "first")
		for i := range uint64(count) {
			data := []byte(fmt.Sprintf("%d/%d/%d/%s", id, first+i, term, rapid.StringN(0, 300, 300).Draw(t, "data")))
			w.Entries = append(w.Entries, &raftpb.Entry{
				Index: new(first + i), Term: new(term), Type: raftpb.EntryType(i % 3).Enum(), Data: data,
			})
		}
		after.write(multiraft.LogWrite{Group: id, Entries: w.Entries})
	}
	state = after[id].state
	if rapid.Bool().Draw(t, "hardstate") {
		w.HardState = &raftpb.HardState{
			Term: new(term), Vote: new(uint64(2)),
			Commit: new(rapid.Uint64Range(state.HardState.GetCommit(), state.Last).Draw(t, "commit")),
		}
	}
	if state.Last >= state.First() && rapid.IntRange(0, 9).Draw(t, "truncate") == 0 {
		index := rapid.Uint64Range(state.First(), state.Last).Draw(t, "upto")
		w.Truncate = &multiraft.LogPoint{Index: index, Term: after.term(id, index)}
	}
	return w
}

// differ says how the store differs from the model, "" when it does not.
func differ(store *raftlog.Store, m model) string {
	for id := range multiraft.GroupID(modelGroups) {
		want := m[id]
		state, err := store.Load(id)
		if err != nil {
			return err.Error()
		}
		if d := cmp.Diff(want.state, state, protocmp.Transform()); d != "" {
			return fmt.Sprintf("state of group %d (-want +got):\n%s", id, d)
		}
		if len(want.entries) == 0 {
			continue
		}
		got, err := store.Entries(id, state.First(), state.Last+1, 1<<40)
		if err != nil {
			return err.Error()
		}
		for i, e := range want.entries {
			if i >= len(got) || !proto.Equal(e, got[i]) {
				return fmt.Sprintf("entry %d of group %d of %d, want %v", i, id, len(got), e)
			}
		}
		for index := state.Truncated.Index; index <= state.Last; index += 1 + (state.Last-state.Truncated.Index)/7 {
			if term, err := store.Term(id, index); err != nil || term != m.term(id, index) {
				return fmt.Sprintf("Term(%d, %d)=%d, %v, want %d", id, index, term, err, m.term(id, index))
			}
		}
	}
	return ""
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// open opens the store in /node/log of fs; the memtable is small, so that tables are written too.
func open(t fataler, fs vfs.FS) *raftlog.Store {
	t.Helper()
	store, err := raftlog.Open(options(t, fs))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return store
}

func options(t fataler, fs vfs.FS) raftlog.Options {
	return raftlog.Options{
		Dir: "/node/log", FS: fs, Log: zerolog.Nop(), MemtableBytes: 64 << 10,
		Fatal: func(err error) { t.Fatalf("fatal: %v", err) },
	}
}

// newFS returns a file system with the directory that holds the log's, and with it all durable.
func newFS(t fataler) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	err := fs.MkdirAll("/node", 0o700)
	if err != nil {
		t.Fatalf("mkdir: %v", err)
	}
	root, err := fs.OpenDir("/")
	if err != nil {
		t.Fatalf("open root: %v", err)
	}
	if err := root.Sync(); err != nil {
		t.Fatalf("sync root: %v", err)
	}
	if err := root.Close(); err != nil {
		t.Fatalf("close root: %v", err)
	}
	return fs
}

// TestModel writes at random, reopens and cuts the power at random, and compares with the dumb store.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		fs := newFS(rt)
		store := open(rt, fs)
		defer func() { _ = store.Close() }() // whichever is open at the end
		m := model{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			if err := store.Write(drawWrites(rt, m)); err != nil {
				rt.Fatalf("write: %v", err)
			}
			switch rapid.IntRange(0, 7).Draw(rt, "then") {
			case 0:
				if err := store.Close(); err != nil {
					rt.Fatalf("close: %v", err)
				}
				store = open(rt, fs)
			case 1:
				crashed := fs.CrashClone(vfs.CrashCloneCfg{
					UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(rt, "unsynced"),
					RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)),
				})
				if err := store.Close(); err != nil {
					rt.Fatalf("close: %v", err)
				}
				fs, store = crashed, open(rt, crashed)
			}
		}
		if d := differ(store, m); d != "" {
			rt.Fatalf("%s", d)
		}
	})
}

// TestCrashWhileWriting cuts the power at any file system operation while batches are written: what
// Write returned for is there, and of the batch under way all or nothing.
func TestCrashWhileWriting(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		fs := newFS(rt)
		cut := &powerCut{FS: fs, mem: fs}
		cut.in.Store(rapid.Int64Range(1, 60).Draw(rt, "operations"))
		cut.cfg = vfs.CrashCloneCfg{
			UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(rt, "unsynced"),
			RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)),
		}
		store := open(rt, cut)
		before, after := model{}, model{}
		for cut.image() == nil {
			before = after.clone()
			if err := store.Write(drawWrites(rt, after)); err != nil {
				rt.Fatalf("write: %v", err)
			}
		}
		if err := store.Close(); err != nil {
			rt.Fatalf("close: %v", err)
		}
		survivor := open(rt, cut.image())
		defer func() { _ = survivor.Close() }()
		if d := differ(survivor, before); d != "" {
			if d2 := differ(survivor, after); d2 != "" {
				rt.Fatalf("neither before the batch:\n%s\nnor after it:\n%s", d, d2)
			}
		}
	})
}
