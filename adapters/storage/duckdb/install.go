package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// ReceiveSnapshot implements outbound.SnapshotInstaller.
func (s *Store) ReceiveSnapshot(_ context.Context, id shard.ID, manifest []byte) (outbound.SnapshotWriter, error) {
	r, err := s.replica(id)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.DecodeFor(manifest, snapshot.FormatDuckDB, id)
	if err != nil {
		return nil, fmt.Errorf("receive snapshot of shard %d: %w", id, err)
	}
	if err := s.hasRoom(m.Bytes); err != nil {
		return nil, fmt.Errorf("receive snapshot of shard %d: %w", id, err)
	}
	if !r.receiving.CompareAndSwap(false, true) {
		return nil, fault.Newf(fault.Conflict, "snapshot_receiving", "a snapshot of shard %d is being received already", id)
	}
	path := filepath.Join(s.folder(id).path, receivingName)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		r.receiving.Store(false)
		return nil, fmt.Errorf("receive snapshot of shard %d: %w", id, err)
	}
	return &receiver{store: s, replica: r, manifest: m, file: file, checker: snapshot.NewChecker(file, m)}, nil
}

// receiver writes a snapshot's data to a file beside the shard's.
type receiver struct {
	store    *Store
	replica  *replica
	manifest snapshot.Manifest
	file     *os.File
	checker  *snapshot.Checker
}

// Write implements outbound.SnapshotWriter.
func (w *receiver) Write(b []byte) (int, error) {
	n, err := w.checker.Write(b)
	return n, diskError(err)
}

// Abort implements outbound.SnapshotWriter.
func (w *receiver) Abort() error {
	defer w.replica.receiving.Store(false)
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

// Commit implements outbound.SnapshotWriter.
func (w *receiver) Commit(ctx context.Context) error {
	defer w.replica.receiving.Store(false)
	running, end, err := w.store.begin(ctx)
	if err == nil {
		defer end()
		err = w.commit(running)
	}
	if err != nil {
		// Where it has its final name already without a note of it, the next opening removes it.
		_ = w.file.Close()
		_ = os.Remove(w.file.Name())
		return fmt.Errorf("receive snapshot of shard %d: %w", w.replica.id, err)
	}
	return nil
}

func (w *receiver) commit(ctx context.Context) error {
	if err := w.checker.Check(); err != nil {
		return err
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		return diskError(err)
	}
	state, err := w.store.inspect(ctx, w.replica, w.file.Name())
	if err != nil {
		return err
	}
	if state.Index != w.manifest.Index || state.Term != w.manifest.Term {
		return corrupt(w.replica.id, fmt.Errorf("the snapshot is at %d/%d, its manifest says %d/%d: %w",
			state.Term, state.Index, w.manifest.Term, w.manifest.Index, errContent))
	}
	r := w.replica
	r.flush.Lock()
	defer r.flush.Unlock()
	if r.retired {
		return errClosedShard(r.id)
	}
	return w.store.folder(r.id).accept(w.manifest, r.generation)
}

// ReceivedSnapshot implements outbound.SnapshotInstaller.
func (s *Store) ReceivedSnapshot(_ context.Context, id shard.ID) (outbound.ShardSnapshot, bool, error) {
	r, err := s.replica(id)
	if err != nil {
		return outbound.ShardSnapshot{}, false, err
	}
	r.flush.Lock()
	defer r.flush.Unlock()
	w, ok, err := s.folder(id).received()
	if err != nil || !ok || w.generation == r.generation {
		return outbound.ShardSnapshot{}, false, err
	}
	return w.manifest.Describe(), true, nil
}

// InstallSnapshot implements outbound.SnapshotInstaller. The received file has its final name already;
// the pointer switches to it.
func (s *Store) InstallSnapshot(ctx context.Context, id shard.ID, manifest []byte) (outbound.AppliedState, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return outbound.AppliedState{}, fmt.Errorf("install snapshot of shard %d: %w", id, err)
	}
	defer end()
	old, err := s.replica(id)
	if err != nil {
		return outbound.AppliedState{}, err
	}
	old.flush.Lock()
	defer old.flush.Unlock()
	if old.retired {
		return outbound.AppliedState{}, errClosedShard(id)
	}
	state, err := s.install(running, old, manifest)
	if err != nil {
		return outbound.AppliedState{}, fmt.Errorf("install snapshot of shard %d: %w", id, err)
	}
	return state, nil
}

// install switches from old, whose flush is locked, to the received snapshot.
func (s *Store) install(ctx context.Context, old *replica, manifest []byte) (outbound.AppliedState, error) {
	none := outbound.AppliedState{}
	m, err := snapshot.DecodeFor(manifest, snapshot.FormatDuckDB, old.id)
	if err != nil {
		return none, err
	}
	f := s.folder(old.id)
	w, ok, err := f.received()
	if err != nil {
		return none, err
	}
	if !ok || w.manifest != m || w.generation == old.generation {
		return none, fault.Newf(fault.NotFound, "snapshot_gone", "no such snapshot of shard %d was received", old.id)
	}
	r, state, err := s.prepare(ctx, old.id, w)
	if err != nil {
		return none, err
	}
	if err := f.point(w.generation); err != nil {
		// Which of the two is valid after a crash is not known, so nothing of the old one may be
		// reported durable any more.
		s.damage(old, corrupt(old.id, err))
		return none, errors.Join(err, s.detachFile(r))
	}
	s.mu.Lock()
	s.mu.shards[old.id] = r
	s.mu.Unlock()
	s.retire(old)
	s.kept.Release(old.id)
	_ = s.detachFile(old) // It was only the old content, and keeps nobody from the new.
	// What stays behind here the next opening removes.
	_ = os.Remove(filepath.Join(f.path, receivedName))
	_ = os.Remove(f.file(old.generation))
	_ = f.dropLog(old.generation)
	return state, nil
}

// prepare attaches the file of a received snapshot beside the shard's own.
func (s *Store) prepare(ctx context.Context, id shard.ID, w waiting) (r *replica, state outbound.AppliedState, err error) {
	for attempt := 1; ; attempt++ {
		r = s.newReplica(id)
		r.setGeneration(w.generation)
		err = s.with(ctx, forFlushes, func(ctx context.Context, c *engine.Conn) error {
			state, err = s.attach(ctx, c, r, s.folder(id))
			if err == nil && (state.Index != w.manifest.Index || state.Term != w.manifest.Term) {
				err = corrupt(id, errContent)
			}
			if err != nil {
				return errors.Join(err, detach(ctx, c, r.catalog))
			}
			return nil
		}, r)
		if !errors.Is(err, errReplaced) || attempt == attemptsMax {
			return r, state, err
		}
	}
}
