// Package outbound holds what the application needs of the world: small interfaces that adapters
// implement. Unless a method says otherwise it is safe for concurrent use and honours its context.
package outbound

import (
	"context"
	"io"
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
// an index into Keys. Samples of one series mostly stand side by side. Whoever receives Columns must not
// keep or change the slices or the strings' backing memory beyond the call (copy a key before keeping it).
type Columns struct {
	Keys []string // canonical series keys, each once; "" for a series that Numbers tells
	// Numbers, unless nil, holds for each of Keys one more than the number that the shard gave the series
	// when it was defined, or 0 for a series told by its key. A number that is told belongs to a series
	// that was defined earlier in the log, see SeriesNumberer.
	Numbers    []uint32
	Series     []uint32  // per sample: index into Keys
	Timestamps []int64   // per sample: metric.Timestamp
	Values     []float64 // per sample: finite
	// Replace says that a sample replaces all samples of its series and timestamp that came before it
	// in the log, the earlier ones of these columns included; but if the last of them has an equal
	// value nothing changes. (What Influx and Prometheus promise their clients.)
	Replace bool
}

// Deletion names samples to be forgotten: those of Metric in Range.
type Deletion struct {
	Metric metric.Name
	Range  aggregate.Range
}

// SampleRemover forgets samples. Calls for one shard are serial with its Appends. What it did is visible
// on return and durable with a later Cut and Flush, which also give the space back in time.
type SampleRemover interface {
	// Delete forgets the samples that came before it in the log; later ones with such timestamps count
	// again. It reports whether the metric had a series with samples before, alike on every replica. A
	// series without samples is one that the shard does not have, until a sample brings it back.
	Delete(ctx context.Context, id shard.ID, d Deletion) (existed bool, err error)
	// Retain moves cut-offs: a metric's samples before its cut-off are forgotten, whenever they came or
	// come, and never come back: a metric's cut-off, that of a metric yet unknown included, only rises.
	Retain(ctx context.Context, id shard.ID, cutoffs metric.Cutoffs) error
}

// SeriesLister tells which series there are.
type SeriesLister interface {
	// ListSeries returns what l asks for in shards, ascending bytewise, each once: all there is or, of
	// more than l.Limit, the first l.Limit+1. Series without samples do not count.
	ListSeries(ctx context.Context, shards []shard.ID, l metric.Listing) ([]string, error)
}

// RunMerger tidies up what flushes have written. Writes, flushes and queries of the shard go on meanwhile.
type RunMerger interface {
	// WantsMerge reports, at once, that the shard's stored samples lie in more pieces than is good for
	// queries, or hold space that could be given back.
	WantsMerge(id shard.ID) bool
	// Merge does one bounded step of that and reports whether there is more to do. With all it merges
	// whatever can be merged. It stops early, with nothing lost, when ctx ends.
	Merge(ctx context.Context, id shard.ID, all bool) (more bool, err error)
}

// SampleAppender is the write side of a shard's storage.
type SampleAppender interface {
	// Append adds samples, visible to queries on return, durable with a later Cut and Flush. Calls
	// for one shard are serial. It defines series it has not seen, with numbers in order of appearance. A
	// number that was never given means that this replica's series are not those of the others: Corrupt.
	// When that would exceed the series limit it returns an error of kind Unprocessable with code
	// series_limit and changes nothing; equal content gives an equal verdict on every replica. Any
	// other error means that the shard's storage is broken.
	Append(ctx context.Context, id shard.ID, columns Columns) error
}

// SeriesNumberer tells the numbers that shards have given their series, see Columns. A series has the
// same number on every replica, for good: it is defined where it first stands in the log. So what one
// replica knows because it applied it may be told in any later proposal, to any leader: an entry behind a
// committed one finds the same definitions everywhere.
type SeriesNumberer interface {
	// SeriesEra names, at once, what holds the shard's series on this node: numbers told in an era are
	// right as long as it lasts. Eras are unique in a process; 0 while the shard is not open here.
	SeriesEra(id shard.ID) uint32
	// NumberSeries sets each of numbers to one more than the number of the series with the key at its
	// place in keys, or to 0 where the shard has not applied it here; numbers is as long as keys. It
	// returns the era that the numbers belong to.
	NumberSeries(id shard.ID, keys []string, numbers []uint32) (era uint32)
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

// ShardSnapshot is a shard's content as of a durable applied state, for another replica to install.
type ShardSnapshot struct {
	State AppliedState
	// Manifest describes the data: format, shard, index, term, size and SHA-256. It is small, carries
	// its own version and checksum, and means something to storage alone.
	Manifest []byte
}

// SnapshotData is the data of a snapshot, read from its beginning. Whoever gets it must close it.
type SnapshotData struct {
	io.ReadCloser
	Bytes  int64
	SHA256 [32]byte
}

// SnapshotMaker holds snapshots of a shard fast for others to read.
type SnapshotMaker interface {
	// MakeSnapshot keeps the shard's newest durable state as a snapshot, which no later write, flush or
	// install disturbs. Only this shard's Flush waits meanwhile. It contains exactly what Flush made
	// durable: a caller that needs a newer index, or gets a Conflict with code snapshot_none because
	// nothing is durable yet, cuts and flushes first. At most two snapshots of a shard are kept; making
	// another gives up the oldest that nobody reads, or is refused as Exhausted. One that nobody reads
	// for a time is given up as well, and none outlives the process.
	MakeSnapshot(ctx context.Context, id shard.ID) (ShardSnapshot, error)
	// OpenSnapshot returns the data of a snapshot that is kept, which then stays until it is closed.
	// NotFound when it is gone, or when manifest is none of this node's.
	OpenSnapshot(ctx context.Context, id shard.ID, manifest []byte) (SnapshotData, error)
	// ReleaseSnapshots gives up all snapshots of the shard, those that are being read when they are closed.
	ReleaseSnapshots(id shard.ID)
}

// SnapshotWriter takes the data of one snapshot. It is for one goroutine; Commit or Abort is its last call.
type SnapshotWriter interface {
	// Write takes the next bytes; more than the manifest announces are Corrupt.
	io.Writer
	// Commit checks size, SHA-256 and content, and makes the snapshot durable as the shard's received
	// one, in one step as a crash sees it. Corrupt when a check fails. After an error nothing is left.
	Commit(ctx context.Context) error
	// Abort throws everything away.
	Abort() error
}

// SnapshotInstaller switches a shard, which must be open, to another replica's snapshot.
type SnapshotInstaller interface {
	// ReceiveSnapshot begins to take a snapshot's data beside the shard's own, which is not touched.
	// Only one may be received at a time: Conflict. Corrupt for a manifest that fails its check,
	// Conflict for one of another shard or an unknown format, DiskFull without room for the data.
	ReceiveSnapshot(ctx context.Context, id shard.ID, manifest []byte) (SnapshotWriter, error)
	// ReceivedSnapshot returns the snapshot that was committed last and is neither installed nor older
	// than the shard was when opened; of its state only Index and Term are set. It survives restarts, so that
	// an installation that a crash prevented can be made up for. false without one.
	ReceivedSnapshot(ctx context.Context, id shard.ID) (ShardSnapshot, bool, error)
	// InstallSnapshot replaces the shard's whole content, in memory and on disk, with the received
	// snapshot that manifest describes, and returns its state. It must not run beside Append or Cut of
	// the shard. Durable on return; a crash before leaves all of the old content or all of the new.
	// Queries that began before are answered from the old content or, where they take long, fail with a
	// retryable error. NotFound when no such snapshot was received; after an error the old content stands.
	InstallSnapshot(ctx context.Context, id shard.ID, manifest []byte) (AppliedState, error)
}

// ShardRemover takes a shard's storage away. Neither method may run beside Append or Cut of the shard;
// queries that run fail with a retryable error. Afterwards the shard is not open, and Open starts empty.
type ShardRemover interface {
	// Destroy removes everything stored of the shard, open or not, durable on return. What a crash
	// leaves is empty or untouched.
	Destroy(ctx context.Context, id shard.ID) error
	// Quarantine sets a damaged shard's data aside, open or not, where it is kept for inspection until
	// the next Quarantine or Destroy of the shard. A received snapshot stays. To be called again when a
	// crash prevented its return.
	Quarantine(ctx context.Context, id shard.ID) error
}

// WriteGate says whether there is room for a write before it is proposed; once proposed it cannot be
// refused any more.
type WriteGate interface {
	// Admit waits, within ctx, until bytes more of recent samples fit in memory. It returns an error
	// of kind Exhausted (memtable_full) with advice to retry when ctx ends first, or DiskFull
	// (disk_full) at once while the disk is below its low-water mark.
	Admit(ctx context.Context, bytes int) error
}
