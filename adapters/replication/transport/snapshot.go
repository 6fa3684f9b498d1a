package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// A snapshot's data travels on a connection of its own, pulled by its receiver:
//
//	receiver                           sender
//	request{shard, manifest}  →
//	                          ←  listing{files}
//	                          ←  chunk …, file after file
//	                          ←  end
//
// or a failure in place of anything the sender sends. Every chunk has its frame's checksum, every
// file its SHA-256 in the listing.
const (
	// SnapshotStallMax is how long either end waits for the other to make progress.
	SnapshotStallMax = 30 * time.Second
	// SnapshotsSentMax bounds the transfers that a node sends at a time; a receiver takes one.
	SnapshotsSentMax = 4
	// SnapshotRateDefault is how many bytes a second a node sends in all its transfers.
	SnapshotRateDefault = 64 << 20
	// SnapshotFilesMax bounds the files of a snapshot.
	SnapshotFilesMax = 1024

	// failureMax bounds telling the receiver of a failure.
	failureMax = time.Second

	chunkBytes       = 256 << 10
	manifestBytesMax = 1 << 20
	listingBytesMax  = 1 << 20
	failureBytesMax  = 4 << 10
)

// SnapshotFile is one file of a snapshot. Name is local (filepath.IsLocal) and holds no separator.
type SnapshotFile struct {
	Name   string   `json:"name"`
	Bytes  int64    `json:"bytes"`
	SHA256 [32]byte `json:"sha256"`
}

// SnapshotSource opens the snapshots that this node offered.
type SnapshotSource interface {
	// OpenSnapshot returns the data of the shard's snapshot that manifest describes and keeps it in
	// existence until it is closed. NotFound when it is gone; the receiver then asks raft for another.
	OpenSnapshot(ctx context.Context, id shard.ID, manifest []byte) (OpenedSnapshot, error)
}

// OpenedSnapshot is a snapshot's data.
type OpenedSnapshot interface {
	// Files returns what the snapshot consists of, 1 to SnapshotFilesMax.
	Files() []SnapshotFile
	// Open reads the i-th of Files.
	Open(i int) (io.ReadCloser, error)
	Close() error
}

// SnapshotSink takes a snapshot's data. Calls are serial; Commit or Abort is the last.
type SnapshotSink interface {
	// Create begins the next file, which is closed before the next call.
	Create(file SnapshotFile) (io.WriteCloser, error)
	// Commit makes everything durable under its final name, in one step as a crash sees it.
	Commit() error
	// Abort throws everything away.
	Abort() error
}

func checkListing(files []SnapshotFile) error {
	if len(files) == 0 || len(files) > SnapshotFilesMax {
		return fmt.Errorf("a snapshot of %d files: %w", len(files), errFrame)
	}
	seen := map[string]bool{}
	for _, f := range files {
		if f.Bytes < 0 || seen[f.Name] || !filepath.IsLocal(f.Name) || f.Name != filepath.Base(f.Name) || f.Name == "." {
			return fmt.Errorf("a snapshot's file %q of %d bytes: %w", f.Name, f.Bytes, errFrame)
		}
		seen[f.Name] = true
	}
	return nil
}

// SnapshotSender serves this node's snapshots to others.
type SnapshotSender struct {
	source  SnapshotSource
	sending chan struct{}
	pace    pace
}

// NewSnapshotSender returns a sender that sends bytesPerSecond in all its transfers, 0 for
// SnapshotRateDefault.
func NewSnapshotSender(source SnapshotSource, bytesPerSecond int64) *SnapshotSender {
	if bytesPerSecond == 0 {
		bytesPerSecond = SnapshotRateDefault
	}
	return &SnapshotSender{source: source, sending: make(chan struct{}, SnapshotsSentMax), pace: pace{bytesPerSecond: bytesPerSecond}}
}

var errSending = fault.New(fault.Exhausted, "snapshots_sent", "the node sends too many snapshots at this time; try again")

// Serve answers the one request that comes over conn, which it closes, until all is sent, the other
// end makes no progress for SnapshotStallMax, or ctx ends.
func (s *SnapshotSender) Serve(ctx context.Context, conn net.Conn) error {
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	w := &snapshotWriter{conn: conn}
	err := s.serve(ctx, w)
	if err != nil {
		w.fail(err)
	}
	_ = conn.Close() // everything is sent, or given up
	return err
}

func (s *SnapshotSender) serve(ctx context.Context, w *snapshotWriter) error {
	r := frameReader{from: stallGuard{w.conn}}
	kind, payload, err := r.next()
	if err != nil {
		return fmt.Errorf("send snapshot: %w", err)
	}
	if kind != frameSnapshotRequest {
		return fmt.Errorf("send snapshot: kind %d: %w", kind, errFrame)
	}
	var request snapshotRequest
	if err := json.Unmarshal(payload, &request); err != nil {
		return fmt.Errorf("send snapshot: request: %w", errFrame)
	}
	select {
	case s.sending <- struct{}{}:
		defer func() { <-s.sending }()
	default:
		return errSending
	}
	opened, err := s.source.OpenSnapshot(ctx, request.Shard, request.Manifest)
	if err != nil {
		return fmt.Errorf("open snapshot of shard %s: %w", request.Shard, err)
	}
	defer func() { _ = opened.Close() }() // it was only read
	files := opened.Files()
	if err := checkListing(files); err != nil {
		return err
	}
	listing, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("send snapshot: %w", err)
	}
	if err := w.write(frameSnapshotListing, listing); err != nil {
		return err
	}
	for i, f := range files {
		if err := s.sendFile(ctx, w, opened, i, f); err != nil {
			return fmt.Errorf("send snapshot of shard %s: file %s: %w", request.Shard, f.Name, err)
		}
	}
	return w.write(frameSnapshotEnd, nil)
}

func (s *SnapshotSender) sendFile(ctx context.Context, w *snapshotWriter, opened OpenedSnapshot, i int, f SnapshotFile) error {
	file, err := opened.Open(i)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	buf := make([]byte, chunkBytes)
	for left := f.Bytes; left > 0; {
		n := min(left, chunkBytes)
		if _, err := io.ReadFull(file, buf[:n]); err != nil {
			return err
		}
		if err := s.pace.wait(ctx, n); err != nil {
			return err
		}
		if err := w.write(frameSnapshotChunk, buf[:n]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// snapshotRequest is JSON: it is small and rare.
type snapshotRequest struct {
	Shard    shard.ID `json:"shard"`
	Manifest []byte   `json:"manifest"`
}

type snapshotWriter struct {
	conn  net.Conn
	frame []byte
}

func (w *snapshotWriter) write(kind frameKind, payload []byte) error {
	if uint64(len(payload)) > uint64(payloadBytesMax[kind]) {
		return fmt.Errorf("write frame: kind %d of %d bytes: %w", kind, len(payload), errFrame)
	}
	w.frame = append(appendFrameHead(w.frame[:0], kind), payload...)
	sealFrame(w.frame)
	_, err := stallGuard{w.conn}.Write(w.frame)
	return err
}

// fail tells the receiver why nothing more comes.
func (w *snapshotWriter) fail(cause error) {
	f := fault.From(cause)
	text, err := json.Marshal(snapshotFailure{Kind: f.Kind(), Code: f.Code(), Message: f.Message()})
	if err != nil || len(text) > failureBytesMax {
		return // the end of the connection must be enough
	}
	w.frame = append(appendFrameHead(w.frame[:0], frameSnapshotFailure), text...)
	sealFrame(w.frame)
	_ = w.conn.SetWriteDeadline(time.Now().Add(failureMax))
	_, _ = w.conn.Write(w.frame) // the connection may be what failed
}

type snapshotFailure struct {
	Kind    fault.Kind `json:"kind"`
	Code    string     `json:"code"`
	Message string     `json:"message"`
}

// stallGuard gives every read and write SnapshotStallMax.
type stallGuard struct{ net.Conn }

func (g stallGuard) Read(b []byte) (int, error) {
	if err := g.SetReadDeadline(time.Now().Add(SnapshotStallMax)); err != nil {
		return 0, err
	}
	return g.Conn.Read(b)
}

func (g stallGuard) Write(b []byte) (int, error) {
	if err := g.SetWriteDeadline(time.Now().Add(SnapshotStallMax)); err != nil {
		return 0, err
	}
	return g.Conn.Write(b)
}

// pace spreads bytes over time, for all who wait on it together.
type pace struct {
	bytesPerSecond int64
	mu             struct {
		sync.Mutex
		free time.Time // when everything granted so far is paid for
	}
}

// wait returns when n bytes more may be sent.
func (p *pace) wait(ctx context.Context, n int64) error {
	p.mu.Lock()
	now := time.Now()
	if p.mu.free.Before(now) {
		p.mu.free = now
	}
	delay := p.mu.free.Sub(now)
	p.mu.free = p.mu.free.Add(time.Duration(n * int64(time.Second) / p.bytesPerSecond))
	p.mu.Unlock()
	if delay == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
