package raftlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// damageImage returns what a power cut leaves of a store with tables, a manifest of several records and
// a log of many batches; what is in it; and what was in it before the last batch.
func damageImage(t *testing.T, rng *rand.Rand) (image *vfs.MemFS, history []model) {
	t.Helper()
	fs := newFS(t)
	store := open(t, fs)
	all := model{}
	for batch := range uint64(150) {
		var writes []multiraft.LogWrite
		for id := range multiraft.GroupID(modelGroups) {
			w := multiraft.LogWrite{Group: id}
			if batch == 0 {
				w.Create = &multiraft.LogIdentity{ReplicaID: 7, Founding: []byte("founding")}
			}
			for i := range uint64(2) {
				data := make([]byte, rng.IntN(900))
				for j := range data {
					data[j] = byte(rng.Uint32())
				}
				w.Entries = append(w.Entries, &raftpb.Entry{
					Index: new(batch*2 + i + 1), Term: new(batch/10 + 1), Type: raftpb.EntryNormal.Enum(), Data: append(data, 'x'),
				})
			}
			w.HardState = &raftpb.HardState{Term: new(batch/10 + 1), Vote: new(uint64(1)), Commit: new(batch * 2)}
			all.write(w)
			writes = append(writes, w)
		}
		if err := store.Write(writes); err != nil {
			t.Fatalf("write: %v", err)
		}
		history = append(history, all.clone())
	}
	image = fs.CrashClone(vfs.CrashCloneCfg{})
	if err := store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return image, history
}

// files returns the names of the image's files, without the empty ones.
func files(t *testing.T, image *vfs.MemFS) []string {
	t.Helper()
	names, err := image.List("/node/log")
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	var full []string
	for _, name := range names {
		info, err := image.Stat("/node/log/" + name)
		if err != nil {
			t.Fatalf("stat: %v", err)
		}
		if info.Size() > 0 {
			full = append(full, name)
		}
	}
	return full
}

// damaged returns a copy of the image in which change was made to the bytes of one file.
func damaged(t *testing.T, image *vfs.MemFS, name string, change func(b []byte)) *vfs.MemFS {
	t.Helper()
	image = image.CrashClone(vfs.CrashCloneCfg{})
	b, err := image.UnsafeGetFileDataBuffer("/node/log/" + name)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	change(b)
	return image
}

// verdict opens an image and says what became of it.
func verdict(t *testing.T, image *vfs.MemFS, history []model) string {
	t.Helper()
	o := options(t, image)
	store, err := raftlog.Open(o)
	if err != nil {
		return refused(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	for id := range multiraft.GroupID(modelGroups) {
		if _, err := store.Load(id); err != nil {
			return refused(err)
		}
	}
	whole := differ(store, history[len(history)-1])
	switch {
	case whole == "":
		return "whole"
	case differ(store, history[len(history)-2]) == "":
		return "last batch lost"
	case differ(store, history[len(history)-3]) == "":
		return "two batches lost"
	}
	return "wrong: " + whole
}

func refused(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind() == fault.Corrupt {
		return "corrupt"
	}
	return "refused: " + err.Error()
}

// TestDamage flips bits and zeroes sectors everywhere. What comes out is the whole log, an error of
// kind Corrupt, or, from damage at the very end of the newest log file, the log without its last
// batch, as after a power cut; never anything else.
func TestDamage(t *testing.T) {
	t.Parallel()
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 2))
	image, history := damageImage(t, rng)
	if got := verdict(t, image.CrashClone(vfs.CrashCloneCfg{}), history); got != "whole" {
		t.Fatalf("undamaged: %s", got)
	}
	counts := map[string]int{}
	for _, name := range files(t, image) {
		trials := 60
		if strings.HasSuffix(name, ".sst") {
			trials = 3 // Pebble takes a second to look for the bit that flipped in a block
		}
		for range trials {
			var at, size int
			zero := rng.IntN(3) == 0
			got := verdict(t, damaged(t, image, name, func(b []byte) {
				at, size = rng.IntN(len(b)), len(b)
				if !zero {
					b[at] ^= 1 << rng.IntN(8)
					return
				}
				at -= at % 512
				clear(b[at:min(at+512, len(b))])
			}), history)
			kind := strings.Trim(name, "-.0123456789")
			counts[fmt.Sprintf("%s: %s", kind, strings.SplitN(got, ":", 2)[0])]++
			tail := strings.HasSuffix(name, ".log") &&
				(got == "last batch lost" || zero && got == "two batches lost") // a sector may hold the ends of both
			settings := strings.HasPrefix(name, "OPTIONS") && strings.HasPrefix(got, "refused")
			if got != "whole" && got != "corrupt" && !tail && !settings {
				t.Errorf("%s damaged at %d of %d (zeroed: %v): %s", name, at, size, zero, got)
			}
		}
	}
	for what, count := range counts {
		t.Logf("%5d %s", count, what)
	}
}
