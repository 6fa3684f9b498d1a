package warm

import (
	"container/list"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
)

// Key names a block.
type Key struct {
	Owner  uint64 // the file, told apart from every other that this process has opened
	Metric catalogue.MetricID
	Day    int64 // when the window of time begins, in days since 1970
	Days   int64 // how wide it is
	kind   kind
}

// kind tells blocks of different content apart.
type kind uint8

const (
	hours kind = iota + 1
	columns
)

func kindOf[T Content]() kind {
	var zero T
	if _, is := any(zero).(Hours); is {
		return hours
	}
	return columns
}

// shareMax: a block takes at most this part of the cache, and all reads under way together as much, so
// that one question does not push everything else out.
const shareMax = 4

// touchesMax bounds the memory of what was asked for and not kept.
const touchesMax = 4096

// Cache keeps blocks up to a number of bytes, what is being read included; the block unused for
// longest goes first. It is safe for concurrent use.
type Cache struct {
	bytesMax int64

	mu struct {
		sync.Mutex
		blocks  map[Key]*list.Element
		recent  *list.List // of *kept, the most recently used in front
		bytes   int64      // of blocks
		reading int64      // reserved for what is being read
		touched map[Key]struct{}
		stats   Stats
	}
}

type kept struct {
	key   Key
	block block
}

// block is a Block of any content.
type block interface {
	Bytes() int64
	Version() Version
}

// Stats say how a cache does.
type Stats struct {
	Hits, Misses, Evictions uint64
	Bytes                   int64
}

// New returns an empty cache of up to bytesMax bytes; with 0 it keeps nothing.
func New(bytesMax int64) *Cache {
	c := &Cache{bytesMax: bytesMax}
	c.mu.blocks, c.mu.recent, c.mu.touched = map[Key]*list.Element{}, list.New(), map[Key]struct{}{}
	return c
}

// Stats returns the state of the cache.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.mu.stats
	s.Bytes = c.mu.bytes
	return s
}

// Get returns the block of key that is valid and knows ids, ascending, or nil. A block that is not valid
// any more goes.
func Get[T Content](c *Cache, key Key, ids []catalogue.SeriesID, valid func(Version) bool) *Block[T] {
	key.kind = kindOf[T]()
	c.mu.Lock()
	defer c.mu.Unlock()
	b := find[T](c, key, valid)
	if b == nil || !b.Knows(ids) {
		c.mu.stats.Misses++
		return nil
	}
	c.mu.stats.Hits++
	return b
}

// find returns the valid block of key, or nil, with the lock held.
func find[T Content](c *Cache, key Key, valid func(Version) bool) *Block[T] {
	e, ok := c.mu.blocks[key]
	if !ok {
		return nil
	}
	k, _ := e.Value.(*kept)
	b, _ := k.block.(*Block[T])
	if !valid(b.version) {
		c.drop(e)
		return nil
	}
	c.mu.recent.MoveToFront(e)
	return b
}

// Put keeps b, together with what the cache knows of key's other series where that is as valid as b,
// unless that is too large.
func Put[T Content](c *Cache, key Key, b *Block[T], valid func(Version) bool) {
	key.kind = kindOf[T]()
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := find[T](c, key, valid); old != nil {
		if joined := union(old, b); joined.bytes <= c.bytesMax/shareMax {
			b = joined
		}
	}
	if e, ok := c.mu.blocks[key]; ok {
		c.drop(e)
	}
	if b.bytes > c.bytesMax/shareMax || !c.makeRoom(b.bytes) {
		return
	}
	c.mu.blocks[key] = c.mu.recent.PushFront(&kept{key: key, block: b})
	c.mu.bytes += b.bytes
}

// Reserve makes room for bytes that are about to be read, until release is called. ok is false, and
// nothing is reserved, where that is too much.
func (c *Cache) Reserve(bytes int64) (release func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.reading+bytes > c.bytesMax/shareMax || !c.makeRoom(bytes) {
		return nil, false
	}
	c.mu.reading += bytes
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.reading -= bytes
	}, true
}

// Touched notes that columns of key were asked for and reports whether they had been before: what is asked for
// once, as by a walk over everything, is not worth keeping.
func (c *Cache) Touched(key Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, before := c.mu.touched[key]; before {
		return true
	}
	if len(c.mu.touched) >= touchesMax {
		clear(c.mu.touched)
	}
	c.mu.touched[key] = struct{}{}
	return false
}

// makeRoom evicts until bytes more fit, with the lock held; false when they never will.
func (c *Cache) makeRoom(bytes int64) bool {
	if c.mu.reading+bytes > c.bytesMax {
		return false
	}
	for c.mu.bytes+c.mu.reading+bytes > c.bytesMax {
		c.drop(c.mu.recent.Back())
		c.mu.stats.Evictions++
	}
	return true
}

func (c *Cache) drop(e *list.Element) {
	k, _ := c.mu.recent.Remove(e).(*kept)
	delete(c.mu.blocks, k.key)
	c.mu.bytes -= k.block.Bytes()
}
