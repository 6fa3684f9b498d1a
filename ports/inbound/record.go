// Package inbound holds what adapters may ask of the application: one small interface a use case.
// Every method is safe for concurrent use, honours its context's deadline and returns errors that
// fault.From understands.
package inbound

import (
	"context"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// IdempotencyKeyBytesMax bounds a client's Idempotency-Key, in bytes.
const IdempotencyKeyBytesMax = 255

// Idempotency identifies a write that its client may send again.
type Idempotency struct {
	Key    string   // 1 to IdempotencyKeyBytesMax bytes of printable ASCII, as the client sent it
	Digest [32]byte // SHA-256 of the raw request: content type and body as sent
}

// RecordRequest is one write. The application only reads it and keeps no slice after Record returns.
type RecordRequest struct {
	Observations []metric.Observation // 1 to metric.BatchSamplesMax
	Idempotency  *Idempotency         // nil: the client does not promise to send equal content again
	Replace      bool                 // by the rule of outbound.Columns
}

// RecordReply tells what was stored.
type RecordReply struct {
	// Received is the timestamp that observations without their own took: o.At(Received) is the
	// sample as stored. A retry under the same key gets the first attempt's.
	Received metric.Timestamp
	// Stored is the number of samples stored by this write, its earlier attempts included.
	Stored int
}

// Recorder stores samples.
type Recorder interface {
	// Record returns once every sample is durable on a majority and visible to reads. A refused
	// write (Invalid, Exhausted, DiskFull, …) stored nothing unless the error carries the details
	// stored, not_stored and unknown (numbers of samples): a batch is not atomic across shards.
	// Codes of its own: idempotency_key_reused (Unprocessable: same key, other digest),
	// idempotency_window_full (Exhausted), idempotency_key_expired (Conflict), series_limit
	// (Unprocessable), no_leader (Unavailable), write_timeout (Timeout→Unavailable).
	Record(ctx context.Context, req RecordRequest) (RecordReply, error)
}

// DeleteRequest names samples to be forgotten: those of Metric in Range.
type DeleteRequest struct {
	Metric metric.Name
	Range  aggregate.Range
}

// Deleter forgets samples.
type Deleter interface {
	// Delete returns once every sample that was acknowledged before the call is forgotten, durably on a
	// majority and for all reads from then on. NotFound (metric_not_found) when the metric has no series.
	// Deleting again is harmless, so an error of kind Unavailable asks for just that.
	Delete(ctx context.Context, req DeleteRequest) error
}
