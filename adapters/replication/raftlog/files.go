package raftlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Permissions of what the store creates: the log holds every sample and the votes of its groups.
const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// privateFS is the operating system's file system whose files are for their owner only. Pebble
// creates them with the process's umask; the directory is closed before the first file is in it, so
// nobody can open one before its mode is changed.
type privateFS struct{ vfs.FS }

// PrivateFS returns the file system that a node keeps its log on.
func PrivateFS() vfs.FS { return privateFS{vfs.Default} }

// Create implements vfs.FS.
func (p privateFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, category)
	return private(name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (p privateFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, category, opts...)
	return private(name, f, err)
}

// MkdirAll implements vfs.FS. An existing directory is closed too.
func (p privateFS) MkdirAll(dir string, _ os.FileMode) error {
	if err := p.FS.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	return os.Chmod(dir, dirMode)
}

// Lock implements vfs.FS.
func (p privateFS) Lock(name string) (io.Closer, error) {
	lock, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, fileMode); err != nil {
		return nil, errors.Join(fmt.Errorf("protect %s: %w", name, err), lock.Close())
	}
	return lock, nil
}

// Unwrap implements vfs.FS.
func (p privateFS) Unwrap() vfs.FS { return p.FS }

func private(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, fileMode); err != nil {
		return nil, errors.Join(fmt.Errorf("protect %s: %w", name, err), f.Close())
	}
	return f, nil
}

// markerPrefix begins the names of the files by which Pebble says which manifest is the current one.
const markerPrefix = "marker."

// logSuffix ends the names of Pebble's write-ahead logs.
const logSuffix = ".log"

// orderedFS makes what was done in a directory durable before a marker in it comes or goes. Pebble
// leaves that order to the file system; one that does not keep it could, after a power cut, have the
// marker of a manifest that is not there, or no marker at all.
//
// It also keeps the newest write-ahead log until there is a newer one. When Pebble opens a store it flushes
// what the log holds and removes that log before it creates the next; a process that ended in between would
// leave no log at all, which checkFiles could not tell from a lost one.
type orderedFS struct {
	vfs.FS
	kept *keptLogs
}

// keptLogs are the logs that Pebble takes for removed.
type keptLogs struct {
	mu struct {
		sync.Mutex
		names []string
	}
}

func newOrderedFS(fs vfs.FS) orderedFS { return orderedFS{FS: fs, kept: &keptLogs{}} }

// Create implements vfs.FS.
func (o orderedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.beforeMarker(name); err != nil {
		return nil, err
	}
	return o.FS.Create(name, category)
}

// Remove implements vfs.FS.
func (o orderedFS) Remove(name string) error {
	if err := o.beforeMarker(name); err != nil {
		return err
	}
	if strings.HasSuffix(name, logSuffix) {
		newest, err := newestLog(o.FS, o.FS.PathDir(name))
		if err != nil {
			return err
		}
		if logNumber(o.FS.PathBase(name)) == newest {
			o.kept.mu.Lock()
			defer o.kept.mu.Unlock()
			o.kept.mu.names = append(o.kept.mu.names, name)
			return nil
		}
	}
	return o.FS.Remove(name)
}

// removeKept removes the logs that were kept, now that there is a newer one.
func (o orderedFS) removeKept() error {
	o.kept.mu.Lock()
	names := o.kept.mu.names
	o.kept.mu.names = nil
	o.kept.mu.Unlock()
	for _, name := range names {
		if err := o.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// newestLog returns the number of the newest write-ahead log in dir, -1 when there is none.
func newestLog(fs vfs.FS, dir string) (int64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", dir, err)
	}
	newest := int64(-1)
	for _, name := range names {
		newest = max(newest, logNumber(fs.PathBase(name)))
	}
	return newest, nil
}

// logNumber returns the number in a write-ahead log's name, -1 for another file's.
func logNumber(base string) int64 {
	digits, ok := strings.CutSuffix(base, logSuffix)
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return n
}

// Unwrap implements vfs.FS.
func (o orderedFS) Unwrap() vfs.FS { return o.FS }

func (o orderedFS) beforeMarker(name string) error {
	if !strings.HasPrefix(o.FS.PathBase(name), markerPrefix) {
		return nil
	}
	return syncDir(o.FS, o.FS.PathDir(name))
}

// syncDir makes a directory's list of files durable.
func syncDir(fs vfs.FS, name string) error {
	dir, err := fs.OpenDir(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return nil
}
