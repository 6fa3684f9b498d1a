package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// noteDamage is damage for the errors among others that say so.
func (s *Store) noteDamage(r *replica, err error) {
	if fault.KindOf(err) == fault.Corrupt {
		s.damage(r, err)
	}
}

// damage has r refuse everything from now on, and tells who is to know if r is an open shard.
func (s *Store) damage(r *replica, err error) {
	if !r.damage.CompareAndSwap(nil, fault.From(err)) {
		return
	}
	s.mu.RLock()
	open := s.mu.shards[r.id] == r
	s.mu.RUnlock()
	if open {
		s.options.Damaged(r.id, err)
	}
}

// retire ends the use of a replica that is not open any more, whose flush is locked: its statements
// stop, and its memory is free.
func (s *Store) retire(r *replica) {
	r.retired = true
	r.end(errReplaced)
	r.file.Lock()
	r.gone = true
	r.file.Unlock()
	r.accounted.Lock()
	s.active.Add(-r.accounted.Active)
	s.bytes.Add(-r.accounted.Active - r.accounted.Sealed)
	r.accounted.Active, r.accounted.Sealed = 0, 0
	r.accounted.Unlock()
	s.wake()
}

// detachFile takes a file away from DuckDB. Statements that are kept do not hold on to it.
func (s *Store) detachFile(r *replica) error {
	err := s.with(s.closing, forFlushes, func(ctx context.Context, c *engine.Conn) error { return detach(ctx, c, r.catalog) })
	if errors.Is(err, errReplaced) {
		return nil // DuckDB was started anew, without that file.
	}
	return err
}

// Destroy implements outbound.ShardRemover.
func (s *Store) Destroy(ctx context.Context, id shard.ID) error {
	if err := s.remove(ctx, id, folder.destroy); err != nil {
		return fmt.Errorf("destroy shard %d: %w", id, err)
	}
	return nil
}

// Quarantine implements outbound.ShardRemover. It takes no more room than the damaged file does, for
// as long as the shard lives or until the next Quarantine.
func (s *Store) Quarantine(ctx context.Context, id shard.ID) error {
	if err := s.remove(ctx, id, folder.quarantine); err != nil {
		return fmt.Errorf("quarantine shard %d: %w", id, err)
	}
	return nil
}

// remove closes the shard, if it is open, and then has its files taken away.
func (s *Store) remove(ctx context.Context, id shard.ID, takeAway func(folder) error) error {
	_, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	r, err := s.replica(id)
	if err == nil {
		r.flush.Lock()
		defer r.flush.Unlock()
		if r.retired {
			return errClosedShard(id)
		}
		s.mu.Lock()
		s.mu.shards[id] = nil
		s.mu.Unlock()
	} else if err := s.reserve(id); err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.mu.shards, id)
	}()
	s.kept.Release(id)
	if r != nil {
		s.retire(r)
		if err := s.detachFile(r); err != nil {
			return fmt.Errorf("detach: %w", err)
		}
	}
	return takeAway(s.folder(id))
}

// destroy removes the directory, in one step as a crash sees it.
func (f folder) destroy() error {
	gone, parent := f.path+destroyedSuffix, filepath.Dir(f.path)
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(f.path, gone); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := syncFolder(parent); err != nil {
		return err
	}
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	return syncFolder(parent)
}

// removeDestroyed finishes what a crash kept destroy from.
func removeDestroyed(shards string) error {
	leftovers, err := filepath.Glob(filepath.Join(shards, "*"+destroyedSuffix))
	if err != nil {
		return fmt.Errorf("find destroyed shards: %w", err)
	}
	for _, path := range leftovers {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove a destroyed shard: %w", err)
		}
	}
	return nil
}

// quarantine moves the shard's file, and what lies beside it but for snapshots, into a directory of its own,
// the pointer last: as long as it is there, and its file is not, the shard is Corrupt and to be
// quarantined again.
func (f folder) quarantine() error {
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	next, err := f.nextGeneration()
	if err != nil {
		return err
	}
	w, ok, err := f.received()
	if err != nil {
		return err
	}
	// The number is above those of all files inside, so that none of their names comes back.
	target := filepath.Join(f.path, quarantinePrefix+strconv.FormatUint(next, 10))
	if err := os.Mkdir(target, folderMode); err != nil {
		return err
	}
	var old []string
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(f.path, e.Name())
		generation, isFile := generationOf(name)
		switch {
		case strings.HasPrefix(name, quarantinePrefix):
			old = append(old, path)
		case strings.HasPrefix(name, pinPrefix), name == receivingName, name == openingName:
			if err := os.Remove(path); err != nil {
				return err
			}
		case name == pointerName, ok && (name == receivedName || isFile && generation == w.generation):
		default:
			if err := os.Rename(path, filepath.Join(target, name)); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(syncFolder(target), syncFolder(f.path)); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(f.path, pointerName), filepath.Join(target, pointerName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(target), syncFolder(f.path))
}
