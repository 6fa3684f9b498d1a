// Package memory is the storage adapter that keeps every shard in memory: for tests, the simulation,
// and servers whose data may end with the process.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.ShardOpener    = (*Store)(nil)
	_ outbound.SampleAppender = (*Store)(nil)
	_ outbound.StateCutter    = (*Store)(nil)
	_ outbound.StateFlusher   = (*Store)(nil)
	_ outbound.PartialReader  = (*Store)(nil)
	_ outbound.LatestReader   = (*Store)(nil)
	_ outbound.WriteGate      = (*Store)(nil)
	_ outbound.ContentPinner  = (*Store)(nil)
	_ outbound.SampleRemover  = (*Store)(nil)
	_ outbound.SeriesLister   = (*Store)(nil)
	_ outbound.RunMerger      = (*Store)(nil)
)

// Defaults and advice.
const (
	// BytesMaxDefault bounds the samples and series of all shards when nothing is said.
	BytesMaxDefault = 1 << 30
	// CutBytesDefault is how many bytes of recent samples make a shard want a cut.
	CutBytesDefault = 8 << 20
	// retryAfter is the advice to clients when memory is full: nothing here frees itself.
	retryAfter = 30 * time.Second
)

// Options configure a Store. The zero Options is usable.
type Options struct {
	// Disk is what a Flush writes to and Open reads; nil means one of the Store's own, so that the
	// data lives as long as the Store. The log must not live longer than the Disk, for a Flush lets
	// it be truncated.
	Disk *Disk
	// BytesMax bounds the memory for samples and series of all shards; 0 means BytesMaxDefault.
	BytesMax int64
	// CutBytes is how many bytes of recent samples make a shard want a cut; 0 means CutBytesDefault.
	CutBytes int64
	// SeriesMax bounds the series of a shard; 0 means metric.SeriesPerShardMax.
	SeriesMax int
}

// Store keeps shards in memory. Flushed samples stay readable where they are: a flush sorts them,
// merges them with older ones and notes them on the Disk.
type Store struct {
	options Options
	kept    *snapshot.Kept
	mu      struct {
		sync.RWMutex
		shards map[shard.ID]*replica
	}
}

// replica is one open shard.
type replica struct {
	table     *memtable.Table
	snapshots sync.Mutex  // held while one is made
	receiving atomic.Bool // a snapshot is being received
	flush     struct {
		sync.Mutex // held during a flush and while the replica is replaced; taken before mu
		kept       []*memtable.Generation
	}
	retired bool // the shard was closed or replaced; guarded by flush
	mu      struct {
		sync.Mutex
		cut     *outbound.AppliedState // the newest state that is cut and not durable, or nil
		durable uint64
	}
}

// New returns a store without open shards.
func New(options Options) *Store {
	if options.Disk == nil {
		options.Disk = NewDisk()
	}
	if options.BytesMax <= 0 {
		options.BytesMax = BytesMaxDefault
	}
	if options.CutBytes <= 0 {
		options.CutBytes = CutBytesDefault
	}
	s := &Store{options: options, kept: snapshot.NewKept()}
	s.mu.shards = map[shard.ID]*replica{}
	return s
}

// Open implements outbound.ShardOpener. A shard that is open already is a Conflict.
func (s *Store) Open(ctx context.Context, id shard.ID) (outbound.AppliedState, error) {
	if err := ctx.Err(); err != nil {
		return outbound.AppliedState{}, fmt.Errorf("open shard %d: %w", id, context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.shards[id] != nil {
		return outbound.AppliedState{}, fault.Newf(fault.Conflict, "shard_open", "shard %d is open already", id)
	}
	s.options.Disk.outdate(id)
	image := s.options.Disk.load(id)
	r, err := newReplica(image, s.options.SeriesMax)
	if err != nil {
		return outbound.AppliedState{}, fmt.Errorf("open shard %d: %w", id, err)
	}
	s.mu.shards[id] = r
	return image.state, nil
}

// newReplica opens what an image holds.
func newReplica(i image, seriesMax int) (*replica, error) {
	table, err := restore(i, seriesMax)
	if err != nil {
		return nil, err
	}
	r := &replica{table: table}
	r.flush.kept = i.generations
	r.mu.durable = i.state.Index
	return r, nil
}

// restore builds the table that an image describes.
func restore(i image, seriesMax int) (*memtable.Table, error) {
	durable := uint64(0)
	if n := len(i.generations); n > 0 {
		durable = i.generations[n-1].Last()
	}
	table := memtable.New(durable, seriesMax)
	keys := make([]string, 0, i.series.Len())
	for id := range catalogue.SeriesID(i.series.Len()) {
		keys = append(keys, string(i.series.AppendKey(nil, id)))
	}
	if err := table.Define(keys); err != nil {
		return nil, fmt.Errorf("restore series: %w", err)
	}
	table.RestoreRetention(i.retention)
	for _, g := range i.generations {
		table.Keep(g)
	}
	return table, memtable.EachSeries(i.generations, func(id catalogue.SeriesID, points []memtable.Point) error {
		table.Observe(id, points[len(points)-1])
		return nil
	})
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
	return r.table.Append(columns)
}

// WantsCut implements outbound.StateCutter; a shard that is not open wants none.
func (s *Store) WantsCut(id shard.ID) bool {
	r, err := s.replica(id)
	return err == nil && r.table.Usage().Active >= s.options.CutBytes
}

// Cut implements outbound.StateCutter. The shard must be open.
func (s *Store) Cut(id shard.ID, state outbound.AppliedState) {
	r, err := s.replica(id)
	if err != nil {
		panic(fmt.Sprintf("memory: cut of shard %d at index %d: %v", id, state.Index, err))
	}
	state = cloneState(state)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.Freeze()
	r.mu.cut = &state
}

// Flush implements outbound.StateFlusher.
func (s *Store) Flush(ctx context.Context, id shard.ID) (uint64, error) {
	r, err := s.replica(id)
	if err != nil {
		return 0, err
	}
	r.flush.Lock()
	defer r.flush.Unlock()
	if err := ctx.Err(); err != nil {
		return r.durable(), fmt.Errorf("flush shard %d: %w", id, context.Cause(ctx))
	}
	if r.retired {
		return r.durable(), errClosedShard(id)
	}
	state, frozen, durable := r.takeCut()
	if state == nil {
		return durable, nil
	}
	before := s.options.Disk.load(id)
	image := image{state: *state, generations: r.flush.kept, series: before.series, retention: before.retention}
	if len(frozen) > 0 {
		newest := frozen[len(frozen)-1]
		image.series, image.retention = newest.Series(), newest.Retention()
		image.generations = r.merge(frozen, !image.retention.Equal(before.retention))
	}
	s.options.Disk.store(id, image)
	if len(frozen) > 0 {
		r.flush.kept = image.generations
		r.table.Keep(image.generations[len(image.generations)-1])
	}
	r.settle(state)
	return state.Index, nil
}

func (r *replica) durable() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.durable
}

// takeCut returns the newest cut and the generations that belong to it, of one instant.
func (r *replica) takeCut() (*outbound.AppliedState, []*memtable.Generation, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.cut, r.table.Frozen(), r.mu.durable
}

// merge returns the kept generations with the frozen ones merged into them. Where samples are forgotten
// all become one, for that frees their memory and leaves no deletion to remember.
func (r *replica) merge(frozen []*memtable.Generation, expired bool) []*memtable.Generation {
	all := slices.Concat(r.flush.kept, frozen)
	first := 0
	if !expired && len(memtable.Tombstones(frozen)) == 0 {
		first = mergeFrom(all, len(r.flush.kept))
	}
	return append(slices.Clone(all[:first]), memtable.Merge(all[first:]))
}

// settle notes that state is durable; a cut made meanwhile stays.
func (r *replica) settle(state *outbound.AppliedState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.durable = state.Index
	if r.mu.cut == state {
		r.mu.cut = nil
	}
}

// Partials implements outbound.PartialReader.
func (s *Store) Partials(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
	b := aggregate.NewBuilder(q)
	for _, id := range shards {
		if ctx.Err() != nil {
			return aggregate.Table{}, fmt.Errorf("read shard %d: %w", id, context.Cause(ctx))
		}
		r, err := s.replica(id)
		if err != nil {
			return aggregate.Table{}, err
		}
		if err := r.table.View(q).AddTo(ctx, b); err != nil {
			return aggregate.Table{}, fmt.Errorf("read shard %d: %w", id, err)
		}
	}
	return b.Table(), nil
}

// Latest implements outbound.LatestReader.
func (s *Store) Latest(ctx context.Context, shards []shard.ID, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	return memtable.LatestOf(ctx, shards, s.table, name, matchers)
}

// ListSeries implements outbound.SeriesLister.
func (s *Store) ListSeries(ctx context.Context, shards []shard.ID, l metric.Listing) ([]string, error) {
	return memtable.ListOf(ctx, shards, s.table, l)
}

// table returns an open shard's table.
func (s *Store) table(id shard.ID) (*memtable.Table, error) {
	r, err := s.replica(id)
	if err != nil {
		return nil, err
	}
	return r.table, nil
}

// Admit implements outbound.WriteGate. It never waits: nothing that is kept in memory makes room by
// itself, so over the limit the answer is memtable_full at once.
func (s *Store) Admit(ctx context.Context, bytes int) error {
	if ctx.Err() != nil {
		return fmt.Errorf("admit a write: %w", context.Cause(ctx))
	}
	if s.MemtableBytes()+int64(bytes) > s.options.BytesMax {
		return fault.Newf(fault.Exhausted, "memtable_full",
			"the samples in memory would exceed %d bytes; raise the limit or use the storage on disk", s.options.BytesMax).
			WithRetryAfter(retryAfter)
	}
	return nil
}

// MemtableBytes returns, at once, what the samples and series of all shards take in memory.
func (s *Store) MemtableBytes() (total int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.mu.shards {
		usage := r.table.Usage()
		total += usage.Active + usage.Sealed + usage.Catalogue
	}
	return total
}

// Walk calls use for every series of an open shard, as memtable.Table.Walk does.
func (s *Store) Walk(id shard.ID, use func(series metric.Series, points []memtable.Point) error) error {
	r, err := s.replica(id)
	if err != nil {
		return err
	}
	return r.table.Walk(use)
}

// Digest returns the memtable.Digest of an open shard's content.
func (s *Store) Digest(id shard.ID) ([32]byte, error) {
	r, err := s.replica(id)
	if err != nil {
		return [32]byte{}, err
	}
	return digestOf(context.Background(), r.table.Pin())
}

// PinContent implements outbound.ContentPinner; the digest is that of Digest.
func (s *Store) PinContent(id shard.ID) (func(context.Context) ([]byte, error), error) {
	r, err := s.replica(id)
	if err != nil {
		return nil, err
	}
	pinned := r.table.Pin()
	return func(ctx context.Context) ([]byte, error) {
		sum, err := digestOf(ctx, pinned)
		return sum[:], err
	}, nil
}

func digestOf(ctx context.Context, pinned *memtable.Pinned) ([32]byte, error) {
	digest, each := memtable.NewDigest(), memtable.NewPointsDigest()
	var key []byte
	err := pinned.Walk(func(id catalogue.SeriesID, points []memtable.Point) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		each.Add(points)
		key = pinned.Series().AppendKey(key[:0], id)
		digest.Series(key, each.Sum())
		return nil
	})
	return digest.Sum(), err
}
