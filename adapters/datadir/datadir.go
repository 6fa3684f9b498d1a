// Package datadir owns a node's data directory: its lock, and the records of who the node is and what
// cluster it belongs to.
package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Names inside the data directory.
const (
	lockFile       = "LOCK"
	identityFile   = "node.json"       // whose directory it is
	membershipFile = "membership.json" // what cluster the node belongs to, and its key
	stateFile      = "state.json"      // the newest cluster state that it knows
	metaFile       = "meta.json"       // the meta group's applied state, on its members
	retiringFile   = "RETIRING"        // stands while the directory is emptied
)

// LogFolder is where the Raft log lives, inside the data directory.
const LogFolder = "raftlog"

// Dir is a data directory that this process alone may use until Close.
type Dir struct {
	path string
	lock *os.File
}

// Open creates the directory where it is missing and locks it. An error of kind Conflict
// (data_dir_locked) means that another process uses it.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolve data directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		closed := lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.Newf(fault.Conflict, "data_dir_locked",
				"DATA_DIR %s is in use by another process; stop that one or choose another directory", path)
		}
		return nil, fmt.Errorf("lock data directory: %w", errors.Join(err, closed))
	}
	d := &Dir{path: path, lock: lock}
	if _, err := os.Stat(filepath.Join(path, retiringFile)); err == nil {
		if err := d.Retire(); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// Path returns the directory's absolute path.
func (d *Dir) Path() string { return d.path }

// Close gives the directory back.
func (d *Dir) Close() error { return d.lock.Close() }

// syncFolder makes the folder's entries survive a power loss.
func syncFolder(path string) (err error) {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	return folder.Sync()
}
