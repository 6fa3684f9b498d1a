// Package seriescache remembers which series a client's spelling of a name and tags stands for, so that
// a decoder pays for one lookup where it would otherwise parse, check, sort and hash again.
package seriescache

import (
	"errors"
	"hash/maphash"
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// shardCount spreads the locks; a power of two.
	shardCount = 64
	// entryOverheadBytes is roughly what one entry costs beside its texts: the map's slot, the series
	// and its tag slice.
	entryOverheadBytes = 256
	// EntriesMaxDefault is Config.EntriesMax when nothing is said.
	EntriesMaxDefault = 200_000
	// BytesMaxDefault is Config.BytesMax when nothing is said.
	BytesMaxDefault = 96 << 20
)

// Config bounds a Cache; zero fields take the defaults.
type Config struct {
	EntriesMax int   // entries held at most
	BytesMax   int64 // estimated bytes held at most
}

// Cache maps spellings to series.
type Cache = Of[metric.Series]

// Of maps spellings to values of type V. Each of its shards keeps two generations: a new entry goes to the
// young one; when that holds half of what the shard may, it becomes the old one and the previous old one
// is dropped; an entry found in the old one moves to the young one. So what is in use stays, at no cost
// for a hit but a read lock. It is safe for concurrent use.
type Of[V any] struct {
	seed            maphash.Seed
	entriesYoungMax int
	bytesYoungMax   int64
	bytesOf         func(V) int
	shards          [shardCount]cacheShard[V]
}

type cacheShard[V any] struct {
	mu struct {
		sync.RWMutex
		young, old map[string]V
		youngBytes int64
	}
}

// New returns an empty cache of series. Bounds too small to give every shard room are refused.
func New(config Config) (*Cache, error) {
	return NewOf(config, func(series metric.Series) int { return 2 * len(series.Key()) })
}

// NewOf returns an empty cache of values that take bytesOf them, beside the spelling and what every
// entry takes.
func NewOf[V any](config Config, bytesOf func(V) int) (*Of[V], error) {
	if config.EntriesMax == 0 {
		config.EntriesMax = EntriesMaxDefault
	}
	if config.BytesMax == 0 {
		config.BytesMax = BytesMaxDefault
	}
	if config.EntriesMax < 2*shardCount || config.BytesMax < 2*shardCount*entryOverheadBytes {
		return nil, errors.New("series cache: bounds leave no room for an entry in each shard")
	}
	return &Of[V]{
		bytesOf:         bytesOf,
		seed:            maphash.MakeSeed(),
		entriesYoungMax: config.EntriesMax / (2 * shardCount),
		bytesYoungMax:   config.BytesMax / (2 * shardCount),
	}, nil
}

// Hash returns a hash of spelling, the same for the life of the cache.
func (c *Of[V]) Hash(spelling []byte) uint64 { return maphash.Bytes(c.seed, spelling) }

// Get returns the value that Put recorded for spelling. It does not keep spelling.
func (c *Of[V]) Get(spelling []byte) (V, bool) { return c.GetHashed(c.Hash(spelling), spelling) }

// GetHashed is Get for a spelling whose Hash is known.
func (c *Of[V]) GetHashed(hash uint64, spelling []byte) (V, bool) {
	s := &c.shards[hash%shardCount]
	s.mu.RLock()
	value, ok := s.mu.young[string(spelling)]
	var promote bool
	if !ok {
		value, promote = s.mu.old[string(spelling)]
	}
	s.mu.RUnlock()
	if promote {
		c.put(s, spelling, value, false)
	}
	return value, ok || promote
}

// Put records that spelling stands for value, unless it stands for one already. It copies spelling. What
// is too large for a shard is not recorded.
func (c *Of[V]) Put(spelling []byte, value V) { c.put(c.shard(spelling), spelling, value, false) }

// Replace is Put that puts value in the place of another.
func (c *Of[V]) Replace(spelling []byte, value V) { c.put(c.shard(spelling), spelling, value, true) }

func (c *Of[V]) put(s *cacheShard[V], spelling []byte, value V, replace bool) {
	cost := c.cost(spelling, value)
	if cost > c.bytesYoungMax {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if present, ok := s.mu.young[string(spelling)]; ok {
		if !replace {
			return
		}
		delete(s.mu.young, string(spelling))
		s.mu.youngBytes -= c.cost(spelling, present)
	}
	if s.mu.young == nil || len(s.mu.young) >= c.entriesYoungMax || s.mu.youngBytes+cost > c.bytesYoungMax {
		s.mu.old, s.mu.young, s.mu.youngBytes = s.mu.young, make(map[string]V), 0
	}
	s.mu.young[string(spelling)] = value
	s.mu.youngBytes += cost
}

func (c *Of[V]) cost(spelling []byte, value V) int64 {
	return int64(len(spelling) + c.bytesOf(value) + entryOverheadBytes)
}

// Len returns the number of entries held; one in both generations of a shard counts twice.
func (c *Of[V]) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.mu.young) + len(s.mu.old)
		s.mu.RUnlock()
	}
	return n
}

func (c *Of[V]) shard(spelling []byte) *cacheShard[V] {
	return &c.shards[c.Hash(spelling)%shardCount]
}
