package warm

import (
	"slices"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
)

// Content is what a block keeps of one series: Hours or a Column.
type Content interface {
	Hours | Column
}

// Version says what a block was read from: rows of generations up to Generation, after Rewrites
// changes of stored rows.
type Version struct {
	Generation uint64
	Rewrites   uint64
}

// Block is what is known of one metric's stored samples in one window of time, a day mostly. It is immutable.
type Block[T Content] struct {
	version Version
	ids     []catalogue.SeriesID // ascending
	items   []T                  // of ids; one without samples is zero
	all     bool                 // a series that is not in ids has no samples
	bytes   int64
}

// NewBlock returns a block; ids are ascending. With all, a series not among ids has no samples.
func NewBlock[T Content](version Version, ids []catalogue.SeriesID, items []T, all bool) *Block[T] {
	b := &Block[T]{version: version, ids: ids, items: items, all: all}
	b.bytes = int64(unsafe.Sizeof(*b)) + blockBytes + int64(cap(ids))*int64(unsafe.Sizeof(ids[0])) +
		int64(cap(items))*int64(unsafe.Sizeof(items[0]))
	for i := range items {
		b.bytes += contentBytes(&items[i])
	}
	return b
}

// blockBytes is what the cache's books take for a block, roughly.
const blockBytes = 256

func contentBytes[T Content](item *T) int64 {
	switch v := any(item).(type) {
	case *Hours:
		return v.Bytes()
	case *Column:
		return v.Bytes()
	}
	return 0
}

// Version returns what the block was read from.
func (b *Block[T]) Version() Version { return b.version }

// Bytes returns the memory in use.
func (b *Block[T]) Bytes() int64 { return b.bytes }

// Cursor finds series in a block, quickly when they are asked for in ascending order.
type Cursor[T Content] struct {
	block *Block[T]
	next  int
}

// Cursor returns a cursor at the beginning.
func (b *Block[T]) Cursor() Cursor[T] { return Cursor[T]{block: b} }

// Find returns a series' content, nil where it has no samples, and whether the block knows that.
func (c *Cursor[T]) Find(id catalogue.SeriesID) (item *T, known bool) {
	b := c.block
	i := c.next
	if i >= len(b.ids) || b.ids[i] != id {
		var found bool
		if i, found = slices.BinarySearch(b.ids, id); !found {
			return nil, b.all
		}
	}
	c.next = i + 1
	return &b.items[i], true
}

// Knows reports whether the block knows each of ids, ascending.
func (b *Block[T]) Knows(ids []catalogue.SeriesID) bool {
	if b.all {
		return true
	}
	c := b.Cursor()
	for _, id := range ids {
		if _, known := c.Find(id); !known {
			return false
		}
	}
	return true
}

// union returns a block with what a and b know, b first where both know. Both have one content.
func union[T Content](a, b *Block[T]) *Block[T] {
	if b.all || len(a.ids) == 0 {
		return b
	}
	if a.all {
		return a
	}
	ids := make([]catalogue.SeriesID, 0, len(a.ids)+len(b.ids))
	items := make([]T, 0, cap(ids))
	i := 0
	for j, id := range b.ids {
		for ; i < len(a.ids) && a.ids[i] <= id; i++ {
			if a.ids[i] != id {
				ids, items = append(ids, a.ids[i]), append(items, a.items[i])
			}
		}
		ids, items = append(ids, id), append(items, b.items[j])
	}
	ids, items = append(ids, a.ids[i:]...), append(items, a.items[i:]...)
	return NewBlock(b.version, ids, items, false)
}
