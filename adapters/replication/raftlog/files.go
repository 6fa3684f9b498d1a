package raftlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

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

// orderedFS makes what was done in a directory durable before a marker in it comes or goes. Pebble
// leaves that order to the file system; one that does not keep it could, after a power cut, have the
// marker of a manifest that is not there, or no marker at all.
type orderedFS struct{ vfs.FS }

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
	return o.FS.Remove(name)
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
