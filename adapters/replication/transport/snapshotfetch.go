package transport

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// SnapshotFetcher pulls snapshots from other nodes, one at a time; further calls wait.
type SnapshotFetcher struct {
	dial func(ctx context.Context, node cluster.NodeID) (net.Conn, error)
	turn chan struct{}
}

// NewSnapshotFetcher returns a fetcher; dial opens an authenticated connection to a node's
// SnapshotSender.
func NewSnapshotFetcher(dial func(ctx context.Context, node cluster.NodeID) (net.Conn, error)) *SnapshotFetcher {
	return &SnapshotFetcher{dial: dial, turn: make(chan struct{}, 1)}
}

var errSnapshot = fault.New(fault.Corrupt, "snapshot_damaged", "a snapshot's file arrived with another digest than its sender gave")

// Fetch brings the data of the shard's snapshot that manifest describes from node into sink and commits
// it: on nil it is durable. Otherwise sink was aborted. Memory use does not depend on the snapshot's
// size. It ends when ctx does, or when nothing came for SnapshotStallMax.
func (f *SnapshotFetcher) Fetch(ctx context.Context, node cluster.NodeID, id shard.ID, manifest []byte, sink SnapshotSink) error {
	err := f.fetch(ctx, node, id, manifest, sink)
	if err == nil {
		err = sink.Commit()
	} else {
		err = errors.Join(err, sink.Abort())
	}
	if err != nil {
		return fmt.Errorf("fetch snapshot of shard %s from node %s: %w", id, node, err)
	}
	return nil
}

func (f *SnapshotFetcher) fetch(ctx context.Context, node cluster.NodeID, id shard.ID, manifest []byte, sink SnapshotSink) error {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if len(manifest) > manifestBytesMax/2 { // it grows by a third as text
		return fmt.Errorf("a manifest of %d bytes exceeds %d", len(manifest), manifestBytesMax/2)
	}
	dialing, cancel := context.WithTimeout(ctx, dialMax)
	conn, err := f.dial(dialing, node)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all is read, or given up
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	err = receiveSnapshot(conn, snapshotRequest{Shard: id, Manifest: manifest}, sink)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func receiveSnapshot(conn net.Conn, request snapshotRequest, sink SnapshotSink) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	w := snapshotWriter{conn: conn}
	if err := w.write(frameSnapshotRequest, body); err != nil {
		return err
	}
	r := snapshotReader{frames: frameReader{from: bufio.NewReaderSize(stallGuard{conn}, readBufferBytes)}}
	listing, err := r.expect(frameSnapshotListing)
	if err != nil {
		return err
	}
	var files []SnapshotFile
	if err := json.Unmarshal(listing, &files); err != nil {
		return fmt.Errorf("listing: %w", errFrame)
	}
	if err := checkListing(files); err != nil {
		return err
	}
	for _, file := range files {
		if err := r.receiveFile(file, sink); err != nil {
			return fmt.Errorf("file %s: %w", file.Name, err)
		}
	}
	_, err = r.expect(frameSnapshotEnd)
	return err
}

type snapshotReader struct{ frames frameReader }

// expect returns the payload of the next frame, which must be of kind, or the sender's failure.
func (r *snapshotReader) expect(want frameKind) ([]byte, error) {
	kind, payload, err := r.frames.next()
	if err != nil {
		return nil, err
	}
	switch kind {
	case want:
		return payload, nil
	case frameSnapshotFailure:
		var f snapshotFailure
		if err := json.Unmarshal(payload, &f); err != nil {
			return nil, fmt.Errorf("failure: %w", errFrame)
		}
		return nil, fault.New(f.Kind, f.Code, f.Message)
	default:
		return nil, fmt.Errorf("kind %d: %w", kind, errFrame)
	}
}

func (r *snapshotReader) receiveFile(file SnapshotFile, sink SnapshotSink) (err error) {
	out, err := sink.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	digest := sha256.New()
	to := io.MultiWriter(digest, out)
	for left := file.Bytes; left > 0; {
		chunk, err := r.expect(frameSnapshotChunk)
		if err != nil {
			return err
		}
		if len(chunk) == 0 || int64(len(chunk)) > left {
			return fmt.Errorf("a chunk of %d bytes where %d are left: %w", len(chunk), left, errFrame)
		}
		if _, err := to.Write(chunk); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		left -= int64(len(chunk))
	}
	if [32]byte(digest.Sum(nil)) != file.SHA256 {
		return errSnapshot
	}
	return nil
}
