package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.SnapshotMaker     = (*Store)(nil)
	_ outbound.SnapshotInstaller = (*Store)(nil)
	_ outbound.ShardRemover      = (*Store)(nil)
)

// errNone is for a shard of which nothing was flushed.
var errNone = fault.New(fault.Conflict, "snapshot_none", "nothing of the shard is durable yet")

// MakeSnapshot implements outbound.SnapshotMaker. The image is shared, not copied.
func (s *Store) MakeSnapshot(ctx context.Context, id shard.ID) (outbound.ShardSnapshot, error) {
	r, err := s.replica(id)
	if err != nil {
		return outbound.ShardSnapshot{}, err
	}
	r.snapshots.Lock()
	defer r.snapshots.Unlock()
	if ctx.Err() != nil {
		return outbound.ShardSnapshot{}, fmt.Errorf("make snapshot of shard %d: %w", id, context.Cause(ctx))
	}
	i := s.options.Disk.load(id)
	if i.state.Index == 0 {
		return outbound.ShardSnapshot{}, errNone
	}
	if made, ok := s.kept.At(id, i.state.Index); ok {
		return made, nil
	}
	if err := s.kept.MakeRoom(id); err != nil {
		return outbound.ShardSnapshot{}, err
	}
	m := snapshot.Manifest{Format: snapshot.FormatMemory, Shard: id, Index: i.state.Index, Term: i.state.Term}
	sum := sha256.New()
	for part := range i.parts() {
		m.Bytes += int64(len(part))
		sum.Write(part)
	}
	m.SHA256 = [sha256.Size]byte(sum.Sum(nil))
	s.kept.Add(m, i.state, snapshot.Source{
		Open:   func() (io.ReadCloser, error) { return newImageReader(i), nil },
		Remove: func() {},
	})
	return outbound.ShardSnapshot{State: i.state, Manifest: m.Encode()}, nil
}

// OpenSnapshot implements outbound.SnapshotMaker.
func (s *Store) OpenSnapshot(_ context.Context, id shard.ID, manifest []byte) (outbound.SnapshotData, error) {
	return s.kept.Open(id, manifest)
}

// ReleaseSnapshots implements outbound.SnapshotMaker.
func (s *Store) ReleaseSnapshots(id shard.ID) { s.kept.Release(id) }

// ReceiveSnapshot implements outbound.SnapshotInstaller.
func (s *Store) ReceiveSnapshot(_ context.Context, id shard.ID, manifest []byte) (outbound.SnapshotWriter, error) {
	r, err := s.replica(id)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.DecodeFor(manifest, snapshot.FormatMemory, id)
	if err != nil {
		return nil, err
	}
	if m.Bytes > s.options.BytesMax {
		return nil, fault.Newf(fault.DiskFull, "disk_full", "the snapshot has %d bytes, and memory may take %d", m.Bytes, s.options.BytesMax)
	}
	if !r.receiving.CompareAndSwap(false, true) {
		return nil, fault.Newf(fault.Conflict, "snapshot_receiving", "a snapshot of shard %d is being received already", id)
	}
	w := &receiver{store: s, replica: r, manifest: m}
	w.checker = snapshot.NewChecker(&w.data, m)
	return w, nil
}

// receiver collects a snapshot's data in memory, where it is to be.
type receiver struct {
	store    *Store
	replica  *replica
	manifest snapshot.Manifest
	data     bytes.Buffer
	checker  *snapshot.Checker
}

// Write implements outbound.SnapshotWriter.
func (w *receiver) Write(b []byte) (int, error) { return w.checker.Write(b) }

// Commit implements outbound.SnapshotWriter.
func (w *receiver) Commit(context.Context) error {
	defer w.replica.receiving.Store(false)
	if err := w.checker.Check(); err != nil {
		return err
	}
	i, err := decodeImage(w.data.Bytes(), w.store.options.SeriesMax)
	if err != nil {
		return err
	}
	if i.state.Index != w.manifest.Index || i.state.Term != w.manifest.Term {
		return errImage
	}
	id := w.manifest.Shard
	if r, err := w.store.replica(id); err != nil || r != w.replica {
		return fault.Newf(fault.Unavailable, "shard_closed", "shard %d was closed or replaced meanwhile", id)
	}
	w.store.options.Disk.receive(id, received{manifest: w.manifest, image: i})
	return nil
}

// Abort implements outbound.SnapshotWriter.
func (w *receiver) Abort() error {
	w.replica.receiving.Store(false)
	return nil
}

// ReceivedSnapshot implements outbound.SnapshotInstaller.
func (s *Store) ReceivedSnapshot(_ context.Context, id shard.ID) (outbound.ShardSnapshot, bool, error) {
	if _, err := s.replica(id); err != nil {
		return outbound.ShardSnapshot{}, false, err
	}
	got, ok := s.options.Disk.received(id)
	if !ok {
		return outbound.ShardSnapshot{}, false, nil
	}
	return got.manifest.Describe(), true, nil
}

// InstallSnapshot implements outbound.SnapshotInstaller.
func (s *Store) InstallSnapshot(ctx context.Context, id shard.ID, manifest []byte) (outbound.AppliedState, error) {
	old, err := s.replica(id)
	if err != nil {
		return outbound.AppliedState{}, err
	}
	m, err := snapshot.DecodeFor(manifest, snapshot.FormatMemory, id)
	if err != nil {
		return outbound.AppliedState{}, err
	}
	old.flush.Lock()
	defer old.flush.Unlock()
	if err := ctx.Err(); err != nil {
		return outbound.AppliedState{}, fmt.Errorf("install snapshot of shard %d: %w", id, context.Cause(ctx))
	}
	got, ok := s.options.Disk.received(id)
	if !ok || got.manifest != m {
		return outbound.AppliedState{}, fault.Newf(fault.NotFound, "snapshot_gone", "no such snapshot of shard %d was received", id)
	}
	r, err := newReplica(got.image, s.options.SeriesMax)
	if err != nil {
		return outbound.AppliedState{}, fmt.Errorf("install snapshot of shard %d: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.shards[id] != old {
		return outbound.AppliedState{}, errClosedShard(id)
	}
	s.options.Disk.install(id)
	old.retired = true
	s.mu.shards[id] = r
	s.kept.Release(id)
	return cloneState(got.image.state), nil
}

// Destroy implements outbound.ShardRemover.
func (s *Store) Destroy(_ context.Context, id shard.ID) error {
	s.remove(id, s.options.Disk.destroy)
	return nil
}

// Quarantine implements outbound.ShardRemover. Memory is not inspected later, so nothing is kept of the
// damaged content.
func (s *Store) Quarantine(_ context.Context, id shard.ID) error {
	s.remove(id, s.options.Disk.empty)
	return nil
}

// remove closes the shard, if it is open, and has the disk forget it.
func (s *Store) remove(id shard.ID, forget func(shard.ID)) {
	if r, err := s.replica(id); err == nil {
		r.flush.Lock()
		defer r.flush.Unlock()
		r.retired = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.shards, id)
	forget(id)
	s.kept.Release(id)
}
