package snapshot

import (
	"io"
	"slices"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// KeptPerShardMax bounds the snapshots that are kept of one shard.
	KeptPerShardMax = 2
	// UnusedMax is how long a snapshot is kept that nobody reads.
	UnusedMax = 10 * time.Minute
)

// Source is the data of a snapshot.
type Source struct {
	// Open returns the data from its beginning; it may be called several times at once.
	Open func() (io.ReadCloser, error)
	// Remove frees what the snapshot occupies; nothing is open any more. It is called once.
	Remove func()
}

// Kept is the set of snapshots that a store keeps for others. It is safe for concurrent use.
type Kept struct {
	unusedMax time.Duration
	mu        struct {
		sync.Mutex
		closed bool
		shards map[shard.ID][]*kept // oldest first
	}
}

// kept is one snapshot. Its fields are guarded by the set's mutex.
type kept struct {
	set      *Kept
	manifest Manifest
	state    outbound.AppliedState
	source   Source
	readers  int
	uses     int  // counts openings, so that a timer tells whether there was one meanwhile
	released bool // not in the set any more; removed with the last reader
	timer    *time.Timer
}

// NewKept returns an empty set.
func NewKept() *Kept {
	k := &Kept{unusedMax: UnusedMax}
	k.mu.shards = map[shard.ID][]*kept{}
	return k
}

var errTooMany = fault.New(fault.Exhausted, "snapshots_kept", "the shard's snapshots are all being read; try again").WithRetryAfter(time.Second)

// MakeRoom gives up the oldest snapshot of the shard that nobody reads, if there are as many as may be.
// Exhausted when all are being read. Who makes snapshots of one shard must do so one at a time.
func (k *Kept) MakeRoom(id shard.ID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.mu.shards[id]
	if len(list) < KeptPerShardMax {
		return nil
	}
	i := slices.IndexFunc(list, func(s *kept) bool { return s.readers == 0 })
	if i < 0 {
		return errTooMany
	}
	k.releaseLocked(list[i])
	return nil
}

// Add keeps a snapshot, until it is unused for too long or released.
func (k *Kept) Add(m Manifest, state outbound.AppliedState, source Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.closed {
		source.Remove()
		return
	}
	s := &kept{set: k, manifest: m, state: state, source: source}
	k.mu.shards[m.Shard] = append(k.mu.shards[m.Shard], s)
	k.watchLocked(s)
}

// At returns the snapshot of the shard at exactly this index, and keeps it as if it had been added now.
func (k *Kept) At(id shard.ID, index uint64) (outbound.ShardSnapshot, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.mu.shards[id] {
		if s.manifest.Index == index {
			s.uses++
			if s.readers == 0 {
				k.watchLocked(s)
			}
			return outbound.ShardSnapshot{State: s.state, Manifest: s.manifest.Encode()}, true
		}
	}
	return outbound.ShardSnapshot{}, false
}

var errGone = fault.New(fault.NotFound, "snapshot_gone", "the snapshot is not kept any more; another one will be offered")

// Open returns the data of the snapshot that manifest describes. NotFound when it is not kept.
func (k *Kept) Open(id shard.ID, manifest []byte) (outbound.SnapshotData, error) {
	m, err := Decode(manifest)
	if err != nil {
		return outbound.SnapshotData{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.mu.shards[id], func(s *kept) bool { return s.manifest == m })
	if i < 0 {
		return outbound.SnapshotData{}, errGone
	}
	s := k.mu.shards[id][i]
	data, err := s.source.Open()
	if err != nil {
		return outbound.SnapshotData{}, err
	}
	s.readers++
	s.uses++
	return outbound.SnapshotData{ReadCloser: &reader{ReadCloser: data, of: s}, Bytes: m.Bytes, SHA256: m.SHA256}, nil
}

// reader is one opened snapshot.
type reader struct {
	io.ReadCloser
	of   *kept
	once sync.Once
	err  error
}

// Close ends the reading; later calls do nothing.
func (r *reader) Close() error {
	r.once.Do(func() {
		r.err = r.ReadCloser.Close()
		k := r.of.set
		k.mu.Lock()
		defer k.mu.Unlock()
		r.of.readers--
		switch {
		case r.of.readers > 0:
		case r.of.released:
			r.of.source.Remove()
		default:
			k.watchLocked(r.of)
		}
	})
	return r.err
}

// Release gives up all snapshots of the shard.
func (k *Kept) Release(id shard.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range slices.Clone(k.mu.shards[id]) {
		k.releaseLocked(s)
	}
}

// Close gives up everything; nothing is kept afterwards.
func (k *Kept) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.closed = true
	for _, list := range k.mu.shards {
		for _, s := range slices.Clone(list) {
			k.releaseLocked(s)
		}
	}
}

// releaseLocked takes s out of the set and frees it as soon as nobody reads it.
func (k *Kept) releaseLocked(s *kept) {
	id := s.manifest.Shard
	k.mu.shards[id] = slices.DeleteFunc(k.mu.shards[id], func(o *kept) bool { return o == s })
	if len(k.mu.shards[id]) == 0 {
		delete(k.mu.shards, id)
	}
	s.released = true
	s.timer.Stop()
	if s.readers == 0 {
		s.source.Remove()
	}
}

// watchLocked gives s up when nobody opens it for too long from now on.
func (k *Kept) watchLocked(s *kept) {
	if s.timer != nil {
		s.timer.Stop()
	}
	uses := s.uses
	s.timer = time.AfterFunc(k.unusedMax, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !s.released && s.readers == 0 && s.uses == uses {
			k.releaseLocked(s)
		}
	})
}
