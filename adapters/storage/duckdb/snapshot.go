package duckdb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// errNone is for a shard of which nothing was flushed.
var errNone = fault.New(fault.Conflict, "snapshot_none", "nothing of the shard is durable yet")

// copyBytes is how much is copied or summed up between two looks at the context.
const copyBytes = 8 << 20

// MakeSnapshot implements outbound.SnapshotMaker: it copies the file as of its last checkpoint while the
// shard's flush waits, and reads the copy through, so that no damage is passed on.
func (s *Store) MakeSnapshot(ctx context.Context, id shard.ID) (outbound.ShardSnapshot, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return outbound.ShardSnapshot{}, fmt.Errorf("make snapshot of shard %d: %w", id, err)
	}
	defer end()
	r, err := s.usable(id)
	if err != nil {
		return outbound.ShardSnapshot{}, err
	}
	r.snapshots.Lock()
	defer r.snapshots.Unlock()
	made, err := s.makeSnapshot(running, r)
	if err != nil {
		s.noteDamage(r, err)
		return outbound.ShardSnapshot{}, fmt.Errorf("make snapshot of shard %d: %w", id, err)
	}
	return made, nil
}

func (s *Store) makeSnapshot(ctx context.Context, r *replica) (outbound.ShardSnapshot, error) {
	path := filepath.Join(s.folder(r.id).path, pinPrefix+strconv.FormatUint(s.serial.Add(1), 10))
	bytes, made, err := s.copyFile(ctx, r, path)
	if err != nil || made.Manifest != nil {
		return made, err
	}
	state, err := s.inspect(ctx, r, path)
	m := snapshot.Manifest{Format: snapshot.FormatDuckDB, Shard: r.id, Index: state.Index, Term: state.Term, Bytes: bytes}
	if err == nil {
		m.SHA256, err = sumFile(ctx, path)
	}
	if err != nil {
		return outbound.ShardSnapshot{}, errors.Join(err, os.Remove(path))
	}
	s.kept.Add(m, state, snapshot.Source{
		Open:   func() (io.ReadCloser, error) { return os.Open(path) },
		Remove: func() { _ = os.Remove(path) }, // Otherwise the next opening of the shard does.
	})
	return outbound.ShardSnapshot{State: state, Manifest: m.Encode()}, nil
}

// copyFile copies the file of r to path, unless a snapshot of the same state is kept, which it returns.
func (s *Store) copyFile(ctx context.Context, r *replica, path string) (bytes int64, kept outbound.ShardSnapshot, err error) {
	r.flush.Lock()
	defer r.flush.Unlock()
	if r.retired {
		return 0, kept, errClosedShard(r.id)
	}
	_, _, durable := r.takeCut()
	if durable == 0 {
		return 0, kept, errNone
	}
	if kept, ok := s.kept.At(r.id, durable); ok {
		return 0, kept, nil
	}
	if err := s.kept.MakeRoom(r.id); err != nil {
		return 0, kept, err
	}
	// Nobody attaches the file anew meanwhile.
	r.file.RLock()
	defer r.file.RUnlock()
	from, err := os.Open(s.folder(r.id).file(r.generation))
	if err != nil {
		return 0, kept, err
	}
	defer func() { _ = from.Close() }() // It was only read.
	info, err := from.Stat()
	if err != nil {
		return 0, kept, err
	}
	if err := s.hasRoom(info.Size()); err != nil {
		return 0, kept, err
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return 0, kept, err
	}
	bytes, err = copyAll(ctx, to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return 0, kept, errors.Join(diskError(err), os.Remove(path))
	}
	return bytes, kept, nil
}

// copyAll copies from to to, by the system itself where both are files.
func copyAll(ctx context.Context, to io.Writer, from io.Reader) (bytes int64, err error) {
	for {
		if ctx.Err() != nil {
			return bytes, context.Cause(ctx)
		}
		n, err := io.CopyN(to, from, copyBytes)
		bytes += n
		if errors.Is(err, io.EOF) {
			return bytes, nil
		}
		if err != nil {
			return bytes, err
		}
	}
}

func sumFile(ctx context.Context, path string) (sum [sha256.Size]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer func() { _ = file.Close() }() // It was only read.
	hash := sha256.New()
	if _, err := copyAll(ctx, hash, file); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// hasRoom returns an error unless the disk takes bytes more and stays above the low-water mark.
func (s *Store) hasRoom(bytes int64) error {
	free, err := s.options.Disk.FreeBytes()
	if err != nil {
		return err
	}
	if free-bytes < s.options.DiskFreeBytesMin {
		return errDiskFull
	}
	return nil
}

// inspect reads the whole file at path, which is a copy of another of shard r.id, and returns its state.
// Corrupt when anything in it fails its check.
func (s *Store) inspect(ctx context.Context, r *replica, path string) (outbound.AppliedState, error) {
	look := &replica{id: r.id, catalog: "look" + strconv.FormatUint(s.serial.Add(1), 10)}
	var state stateRecord
	err := s.with(ctx, forFlushes, func(ctx context.Context, c *engine.Conn) error {
		err := attach(ctx, c, path, look.catalog, "READ_ONLY")
		if err == nil {
			state, err = s.readThrough(ctx, c, look)
		}
		err = asDamage(ctx, r.id, err)
		return errors.Join(err, detach(ctx, c, look.catalog))
	}, look)
	return state.AppliedState, err
}

// readThrough has DuckDB read, and so check, every column of every table.
func (s *Store) readThrough(ctx context.Context, c *engine.Conn, r *replica) (stateRecord, error) {
	format, err := s.checkIdentity(ctx, c, r)
	if err != nil {
		return stateRecord{}, err
	}
	for _, t := range tables {
		name := t.name
		if format == 1 && slices.Contains(tablesSince2, name) {
			if name != tablesSince2[0] {
				continue
			}
			name = "samples"
		}
		text := "SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM " + r.catalog + "." + name
		if err := c.Query(ctx, text, nil, nil); err != nil {
			return stateRecord{}, fmt.Errorf("read through: %w", err)
		}
	}
	return readState(ctx, c, r.catalog)
}

// OpenSnapshot implements outbound.SnapshotMaker.
func (s *Store) OpenSnapshot(_ context.Context, id shard.ID, manifest []byte) (outbound.SnapshotData, error) {
	data, err := s.kept.Open(id, manifest)
	if err != nil {
		return outbound.SnapshotData{}, fmt.Errorf("open snapshot of shard %d: %w", id, err)
	}
	return data, nil
}

// ReleaseSnapshots implements outbound.SnapshotMaker.
func (s *Store) ReleaseSnapshots(id shard.ID) { s.kept.Release(id) }
