package raftlog_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
)

// slowOpening is a file system on which, once a table was written, a write-ahead log is created only after
// the one before was to be removed: Pebble leaves open which comes first. A process that is killed just
// then leaves image.
type slowOpening struct {
	vfs.FS
	dir   string
	image *vfs.MemFS
	mu    struct {
		sync.Mutex
		flushed  bool
		removing chan struct{} // closed
		closed   bool
	}
}

func (s *slowOpening) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	s.mu.Lock()
	flushed := s.mu.flushed
	s.mu.flushed = flushed || strings.HasSuffix(name, ".sst")
	s.mu.Unlock()
	if flushed && s.image == nil && strings.HasSuffix(name, ".log") {
		select {
		case <-s.mu.removing:
		case <-time.After(10 * time.Second): // a bound, not what is waited for
		}
		image := vfs.NewMem() // what the system has, not what the disk has: only the process ends
		if _, err := vfs.Clone(s.FS, image, s.dir, s.dir); err != nil {
			return nil, err
		}
		s.image = image
	}
	return s.FS.Create(name, category)
}

func (s *slowOpening) Remove(name string) error {
	err := s.FS.Remove(name)
	if strings.HasSuffix(name, ".log") {
		s.removes()
	}
	return err
}

func (s *slowOpening) List(name string) ([]string, error) {
	s.removes() // to see whether a log may be removed
	return s.FS.List(name)
}

func (s *slowOpening) removes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.flushed && !s.mu.closed {
		close(s.mu.removing)
		s.mu.closed = true
	}
}

// TestKilledBetweenTwoLogs ends an opening after the old write-ahead log was to go and before the new one
// is there: nothing is lost, and the store says so.
func TestKilledBetweenTwoLogs(t *testing.T) {
	mem := newFS(t)
	store := open(t, mem)
	create(t, store, 3)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	slow := &slowOpening{FS: mem, dir: options(t, mem).Dir}
	slow.mu.removing = make(chan struct{})
	if err := open(t, slow).Close(); err != nil {
		t.Fatal(err)
	}
	if slow.image == nil {
		t.Fatal("no log was created after a flush")
	}
	store, err := raftlog.Open(options(t, slow.image))
	if err != nil {
		t.Fatalf("open what a killed opening left: %v", err)
	}
	if groups, err := store.Groups(); err != nil || len(groups) != 3 {
		t.Errorf("Groups=%v, %v, want 3", groups, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := slow.image.List(options(t, slow.image).Dir)
	if err != nil {
		t.Fatal(err)
	}
	logs := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			logs++
		}
	}
	if logs > 2 {
		t.Errorf("%d logs are left: %v", logs, names)
	}
}
