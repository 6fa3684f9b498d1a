// Package duckdb is the storage adapter that keeps every shard in a memtable and one DuckDB file.
package duckdb

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.ShardOpener    = (*Store)(nil)
	_ outbound.SampleAppender = (*Store)(nil)
	_ outbound.SampleRemover  = (*Store)(nil)
	_ outbound.RunMerger      = (*Store)(nil)
	_ outbound.StateCutter    = (*Store)(nil)
	_ outbound.StateFlusher   = (*Store)(nil)
	_ outbound.PartialReader  = (*Store)(nil)
	_ outbound.LatestReader   = (*Store)(nil)
	_ outbound.WriteGate      = (*Store)(nil)
	_ outbound.ContentPinner  = (*Store)(nil)

	_ outbound.SnapshotMaker     = (*Store)(nil)
	_ outbound.SnapshotInstaller = (*Store)(nil)
	_ outbound.ShardRemover      = (*Store)(nil)
)

// Defaults of Options.
const (
	MemtableBytesMaxDefault = 256 << 20
	MemoryBytesMaxDefault   = 1 << 30
	TempBytesMaxDefault     = 4 << 30
	ThreadsDefault          = 2
	DiskFreeBytesMinDefault = 512 << 20
	CacheBytesMaxDefault    = 256 << 20
)

// flushesMax bounds the flushes that run at one time: each holds one connection and as much of the
// buffer pool as what it writes.
const flushesMax = 2

// Options configure a Store. Only Directory is needed; zero means the default.
type Options struct {
	// Directory is the node's DATA_DIR. The store owns "shards" and "duckdb-temp" in it.
	Directory string
	// Cluster is written into every shard file; a file with another one is refused.
	Cluster string
	// MemtableBytesMax bounds the samples in memory of all shards together (MEMTABLE_MEMORY_LIMIT).
	MemtableBytesMax int64
	// MemoryBytesMax bounds DuckDB's buffer pool (DUCKDB_MEMORY_LIMIT).
	MemoryBytesMax int64
	// TempBytesMax bounds what DuckDB spills to disk.
	TempBytesMax int64
	// Threads is how many threads DuckDB computes with (DUCKDB_THREADS).
	Threads int
	// QueriesMax bounds the statements that compute at one time; others wait. 0 means twice Threads.
	QueriesMax int
	// CacheBytesMax bounds the memory for what files hold and queries ask for again and again, decoded
	// (QUERY_CACHE_MEMORY_LIMIT); 0 means the default, less than 0 none.
	CacheBytesMax int64
	// SeriesMax bounds the series of a shard; 0 means metric.SeriesPerShardMax.
	SeriesMax int
	// Disk tells how much room is left; nil means the file system of Directory.
	Disk DiskGauge
	// DiskFreeBytesMin is the low-water mark below which writes are refused.
	DiskFreeBytesMin int64
	// Damaged is told, once, of each open shard whose file turns out to be damaged: found by a query, a
	// flush or a snapshot, or the cause of a fatal error of DuckDB. That shard refuses everything but
	// Append and Cut from then on, as Corrupt, until it has been quarantined and opened again. Damaged is
	// called with locks held: it must return at once and not call the store. nil means nobody.
	Damaged func(id shard.ID, err error)

	fault       func(statement string) string // engine.Options.Fault
	rewriteFrom int64                         // how many free bytes are worth rewriting a file
}

func (o Options) withDefaults() Options {
	setDefault(&o.MemtableBytesMax, MemtableBytesMaxDefault)
	setDefault(&o.MemoryBytesMax, MemoryBytesMaxDefault)
	setDefault(&o.TempBytesMax, TempBytesMaxDefault)
	setDefault(&o.Threads, ThreadsDefault)
	setDefault(&o.QueriesMax, 2*o.Threads)
	setDefault(&o.DiskFreeBytesMin, DiskFreeBytesMinDefault)
	setDefault(&o.rewriteFrom, rewriteFreeBytesMin)
	if o.CacheBytesMax == 0 {
		o.CacheBytesMax = CacheBytesMaxDefault
	}
	o.CacheBytesMax = max(0, o.CacheBytesMax)
	if o.Damaged == nil {
		o.Damaged = func(shard.ID, error) {}
	}
	if o.Disk == nil {
		o.Disk = fileSystem{path: o.Directory}
	}
	return o
}

func setDefault[T int | int64](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Store keeps shards: recent samples in memory, flushed ones in one file a shard. Close ends it.
type Store struct {
	options Options
	kept    *snapshot.Kept
	serial  atomic.Uint64 // tells temporary names apart
	bytes   atomic.Int64  // samples in memory, all shards
	active  atomic.Int64  // of these the ones that a cut would freeze
	tidied  tidied
	cache   *warm.Cache
	cold    chan struct{} // holds one for each cold step under way, see awaitCold

	closing context.Context //nolint:containedctx // ends when Close begins, so that statements stop
	close   context.CancelCauseFunc
	running sync.WaitGroup // statements between begin and its end

	engine struct {
		sync.RWMutex // read-locked by whatever uses a connection; taken after flush, before file
		session      *session
		failed       error     // why there is no session any more
		reopenings   int       // without a long quiet between any two
		reopened     time.Time // the last of them
	}
	mu struct {
		sync.RWMutex
		closed bool
		shards map[shard.ID]*replica // nil while opening or being removed
		freed  chan struct{}         // closed and replaced when memory becomes free
	}
}

// replica is one open shard.
type replica struct {
	id          shard.ID
	generation  uint64 // of the file
	catalog     string // name of the attached file in SQL
	table       *memtable.Table
	stored      atomic.Bool            // the file may hold samples
	retention   atomic.Pointer[string] // the cut-offs in the file, encoded
	runs        atomic.Pointer[[]run]  // see runList; never changed in place, set by opening, flushes and merges
	rewriteFrom int64                  // Options.rewriteFrom
	space       atomic.Pointer[space]  // of the file, as of the newest checkpoint
	rewrittenAt atomic.Int64           // when the file was last rewritten, in ns since 1970
	rewrites    rewrites               // tells readers that rows were taken away
	extents     atomic.Pointer[extent]
	owner       atomic.Uint64 // the replica's number in the cache, 0 until it needs one

	ended     context.Context //nolint:containedctx // ends when the replica is taken away, so that its statements stop
	end       context.CancelCauseFunc
	damage    atomic.Pointer[fault.Error] // why nothing is read or flushed any more, or nil
	snapshots sync.Mutex                  // held while one is made; taken before flush
	receiving atomic.Bool                 // a snapshot is being received
	digests   atomic.Int64                // digests being computed
	pinnedAt  atomic.Int64                // when content was last pinned, in ns since 1970

	// file is read-locked by statements that read the file, in ascending order of the shards, and
	// locked to attach it anew or for good. Taken after flush, before mu.
	file sync.RWMutex
	gone bool // the file is not attached any more; guarded by file

	accounted struct { // what the store's sums hold of this shard
		sync.Mutex
		memtable.Usage
	}
	flush   sync.Mutex              // held during a flush or merge and while the replica is replaced; taken first
	retired bool                    // the shard was closed or replaced; guarded by flush
	expired atomic.Pointer[[]int64] // by metric: the cut-off up to which windows were dropped; set under flush
	mu      struct {
		sync.Mutex
		cut     *outbound.AppliedState // the newest state that is cut and not durable, or nil
		durable uint64
	}
}

// errClosed ends what still runs when the store closes.
var errClosed = fault.New(fault.Unavailable, "stopping", "the node is stopping; try another one")

// New starts DuckDB for the shards below Directory, without opening any.
func New(options Options) (*Store, error) {
	o := options.withDefaults()
	directory, err := filepath.Abs(o.Directory)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	o.Directory = directory
	if err := removeDestroyed(filepath.Join(directory, shardsFolder)); err != nil {
		return nil, err
	}
	shards, temp := filepath.Join(directory, shardsFolder), filepath.Join(directory, tempFolder)
	if err := os.RemoveAll(temp); err != nil {
		return nil, fmt.Errorf("empty the temporary directory: %w", err)
	}
	for _, folder := range []string{shards, temp} {
		if err := makeFolder(folder); err != nil {
			return nil, err
		}
	}
	e, err := newSession(o)
	if err != nil {
		return nil, err
	}
	s := &Store{options: o, kept: snapshot.NewKept(), cache: warm.New(o.CacheBytesMax), cold: make(chan struct{}, coldStepsMax)}
	s.engine.session = e
	s.closing, s.close = context.WithCancelCause(context.Background())
	s.mu.shards = map[shard.ID]*replica{}
	s.mu.freed = make(chan struct{})
	return s, nil
}

// Close stops what runs, waits for it, and ends DuckDB. What is not flushed is lost here and comes
// back from the log. Nothing may be called afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.closed = true
	s.mu.Unlock()
	s.close(errClosed)
	s.running.Wait()
	s.kept.Close()
	s.engine.Lock()
	defer s.engine.Unlock()
	if s.engine.session != nil {
		s.engine.session.close()
	}
	return nil
}

// begin starts something that Close must stop and wait for. end must be called.
func (s *Store) begin(ctx context.Context) (running context.Context, end func(), err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.mu.closed {
		return nil, nil, errClosed
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	s.running.Add(1)
	running, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(s.closing, func() { cancel(errClosed) })
	return running, func() {
		release()
		cancel(nil)
		s.running.Done()
	}, nil
}

// usable returns an open shard that is not known to be damaged.
func (s *Store) usable(id shard.ID) (*replica, error) {
	r, err := s.replica(id)
	if err != nil {
		return nil, err
	}
	if damage := r.damage.Load(); damage != nil {
		return nil, damage
	}
	return r, nil
}

// open returns the shards that are open and not known to be damaged.
func (s *Store) open() []*replica {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*replica
	for _, r := range s.mu.shards {
		if r != nil && r.damage.Load() == nil {
			all = append(all, r)
		}
	}
	return all
}

// replica returns an open shard.
func (s *Store) replica(id shard.ID) (*replica, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.mu.shards[id]; r != nil {
		return r, nil
	}
	return nil, errClosedShard(id)
}

func errClosedShard(id shard.ID) error {
	return fault.Newf(fault.Unavailable, "shard_closed", "shard %d is not open on this node", id)
}

// Append implements outbound.SampleAppender.
func (s *Store) Append(_ context.Context, id shard.ID, columns outbound.Columns) error {
	r, err := s.replica(id)
	if err != nil {
		return err
	}
	if err := r.table.Append(columns); err != nil {
		return fmt.Errorf("append to shard %d: %w", id, err)
	}
	s.account(r)
	return nil
}

// Cut implements outbound.StateCutter. The shard must be open.
func (s *Store) Cut(id shard.ID, state outbound.AppliedState) {
	r, err := s.replica(id)
	if err != nil {
		panic(fmt.Sprintf("duckdb: cut of shard %d at index %d: %v", id, state.Index, err))
	}
	state.Membership, state.Machine = bytes.Clone(state.Membership), bytes.Clone(state.Machine)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.Freeze()
	r.mu.cut = &state
	s.account(r)
}
