// Package outbound holds what the application needs of the world: small interfaces that adapters
// implement. Unless a method says otherwise it is safe for concurrent use and honours its context.
package outbound

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// AppliedState says up to where a shard's log is contained in its storage, and carries what must be
// stored in the same step as the samples.
type AppliedState struct {
	Index      uint64
	Term       uint64
	LogTime    time.Duration
	Membership []byte // replication's voter configuration as of Index; nil before the first
	Machine    []byte // the state machine's own state (sessions, keys) as of Index, versioned by it
}

// Columns are samples of one shard in log order, as parallel columns of equal length. Series[i] is
// an index into Keys. Whoever receives Columns must not keep or change the slices or the strings'
// backing memory beyond the call (copy a key before keeping it).
type Columns struct {
	Keys       []string  // canonical series keys, each once
	Series     []uint32  // per sample: index into Keys
	Timestamps []int64   // per sample: metric.Timestamp
	Values     []float64 // per sample: finite
}

// SampleAppender is the write side of a shard's storage.
type SampleAppender interface {
	// Append adds samples, visible to queries on return, durable with a later Cut and Flush. Calls
	// for one shard are serial. It defines series it has not seen, with ids in order of appearance.
	// When that would exceed the series limit it returns an error of kind Unprocessable with code
	// series_limit and changes nothing; equal content gives an equal verdict on every replica. Any
	// other error means that the shard's storage is broken.
	Append(ctx context.Context, id shard.ID, columns Columns) error
}

// StateCutter freezes a shard's recent samples so that they can be made durable together with the
// state that belongs to them.
type StateCutter interface {
	// WantsCut reports, at once, that the shard's recent samples have grown large enough to freeze.
	WantsCut(id shard.ID) bool
	// Cut freezes everything appended so far as state's content. It must not run beside Append of
	// the same shard; it returns at once and does no I/O. Where the cut before is still unflushed
	// the two become one.
	Cut(id shard.ID, state AppliedState)
}

// StateFlusher makes cuts durable.
type StateFlusher interface {
	// Flush writes what is cut of the shard, with its state, in one atomic step that survives power
	// loss once Flush returns; it returns the newest durable state's index. Without anything cut it
	// returns at once. An error leaves the cut in place, readable and to be flushed again, unless
	// its kind is Corrupt.
	Flush(ctx context.Context, id shard.ID) (durable uint64, err error)
}

// ShardOpener brings a shard's storage up.
type ShardOpener interface {
	// Open opens the shard's storage, creating it when there is none, and returns the durable
	// applied state, zero for a new one. Corrupt when what is stored fails its check.
	Open(ctx context.Context, id shard.ID) (AppliedState, error)
}

// PartialReader computes over stored samples.
type PartialReader interface {
	// Partials returns the merged table of all samples in shards that q selects: each sample appended
	// before the call exactly once, none half. It stops when ctx ends. Limits give the errors of
	// package aggregate.
	Partials(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error)
}

// LatestReader finds newest samples.
type LatestReader interface {
	// Latest returns the newest sample of the metric's selected series in shards, by the rule of
	// inbound.LatestReader, and whether there is one.
	Latest(ctx context.Context, shards []shard.ID, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error)
}

// ContentPinner holds a shard's content fast so that it can be summed up while writes go on.
type ContentPinner interface {
	// PinContent returns, at once, a function that computes the digest of everything appended to the
	// shard so far, whatever is appended, cut or flushed later; it may be called once, beside anything.
	// PinContent must not run beside Append of the same shard. The digest depends on the samples and
	// their order alone. What is pinned holds memory until the function is let go of.
	PinContent(id shard.ID) (digest func(ctx context.Context) ([]byte, error), err error)
}

// WriteGate says whether there is room for a write before it is proposed; once proposed it cannot be
// refused any more.
type WriteGate interface {
	// Admit waits, within ctx, until bytes more of recent samples fit in memory. It returns an error
	// of kind Exhausted (memtable_full) with advice to retry when ctx ends first, or DiskFull
	// (disk_full) at once while the disk is below its low-water mark.
	Admit(ctx context.Context, bytes int) error
}
