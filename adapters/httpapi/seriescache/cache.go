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

// Cache maps spellings to series. Each of its shards keeps two generations: a new entry goes to the
// young one; when that holds half of what the shard may, it becomes the old one and the previous old one
// is dropped; an entry found in the old one moves to the young one. So what is in use stays, at no cost
// for a hit but a read lock. It is safe for concurrent use.
type Cache struct {
	seed            maphash.Seed
	entriesYoungMax int
	bytesYoungMax   int64
	shards          [shardCount]cacheShard
}

type cacheShard struct {
	mu struct {
		sync.RWMutex
		young, old map[string]metric.Series
		youngBytes int64
	}
}

// New returns an empty cache. Bounds too small to give every shard room are refused.
func New(config Config) (*Cache, error) {
	if config.EntriesMax == 0 {
		config.EntriesMax = EntriesMaxDefault
	}
	if config.BytesMax == 0 {
		config.BytesMax = BytesMaxDefault
	}
	if config.EntriesMax < 2*shardCount || config.BytesMax < 2*shardCount*entryOverheadBytes {
		return nil, errors.New("series cache: bounds leave no room for an entry in each shard")
	}
	return &Cache{
		seed:            maphash.MakeSeed(),
		entriesYoungMax: config.EntriesMax / (2 * shardCount),
		bytesYoungMax:   config.BytesMax / (2 * shardCount),
	}, nil
}

// Get returns the series that Put recorded for spelling. It does not keep spelling.
func (c *Cache) Get(spelling []byte) (metric.Series, bool) {
	s := c.shard(spelling)
	s.mu.RLock()
	series, ok := s.mu.young[string(spelling)]
	var promote bool
	if !ok {
		series, promote = s.mu.old[string(spelling)]
	}
	s.mu.RUnlock()
	if promote {
		c.put(s, spelling, series)
	}
	return series, ok || promote
}

// Put records that spelling stands for series. It copies spelling. A spelling too long for a shard is
// not recorded.
func (c *Cache) Put(spelling []byte, series metric.Series) {
	c.put(c.shard(spelling), spelling, series)
}

func (c *Cache) put(s *cacheShard, spelling []byte, series metric.Series) {
	cost := int64(len(spelling) + 2*len(series.Key()) + entryOverheadBytes)
	if cost > c.bytesYoungMax {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.mu.young[string(spelling)]; ok {
		return
	}
	if s.mu.young == nil || len(s.mu.young) >= c.entriesYoungMax || s.mu.youngBytes+cost > c.bytesYoungMax {
		s.mu.old, s.mu.young, s.mu.youngBytes = s.mu.young, make(map[string]metric.Series), 0
	}
	s.mu.young[string(spelling)] = series
	s.mu.youngBytes += cost
}

// Len returns the number of entries held; one in both generations of a shard counts twice.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.mu.young) + len(s.mu.old)
		s.mu.RUnlock()
	}
	return n
}

func (c *Cache) shard(spelling []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, spelling)%shardCount]
}
