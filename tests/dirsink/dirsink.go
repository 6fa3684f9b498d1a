// Package dirsink keeps snapshots that tests fetch in directories.
package dirsink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
)

var _ transport.SnapshotSink = (*Sink)(nil)

// Sink keeps a snapshot's files in a directory that appears, complete and durable, with Commit.
// Nothing may be at its path before.
type Sink struct {
	path    string
	partial string
	root    *os.Root
}

// partialSuffix marks a directory that is not complete; one that a crash left behind is replaced.
const partialSuffix = ".partial"

// New returns a sink for the directory at path, whose parent must exist.
func New(path string) (*Sink, error) {
	s := &Sink{path: path, partial: path + partialSuffix}
	if err := os.RemoveAll(s.partial); err != nil {
		return nil, fmt.Errorf("remove partial snapshot: %w", err)
	}
	if err := os.Mkdir(s.partial, 0o700); err != nil {
		return nil, fmt.Errorf("create snapshot directory: %w", err)
	}
	root, err := os.OpenRoot(s.partial)
	if err != nil {
		return nil, fmt.Errorf("open snapshot directory: %w", err)
	}
	s.root = root
	return s, nil
}

// Create implements transport.SnapshotSink.
func (s *Sink) Create(file transport.SnapshotFile) (io.WriteCloser, error) {
	f, err := s.root.OpenFile(file.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	return durableFile{f}, nil
}

// durableFile reaches the disk before it is closed.
type durableFile struct{ *os.File }

func (f durableFile) Close() error { return errors.Join(f.Sync(), f.File.Close()) }

// Commit implements transport.SnapshotSink.
func (s *Sink) Commit() error {
	if err := errors.Join(s.root.Close(), syncDir(s.partial)); err != nil {
		return fmt.Errorf("sync snapshot directory: %w", err)
	}
	if err := os.Rename(s.partial, s.path); err != nil {
		return fmt.Errorf("name snapshot directory: %w", err)
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return fmt.Errorf("sync snapshot's parent: %w", err)
	}
	return nil
}

// Abort implements transport.SnapshotSink.
func (s *Sink) Abort() error {
	if err := errors.Join(s.root.Close(), os.RemoveAll(s.partial)); err != nil {
		return fmt.Errorf("remove partial snapshot: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
