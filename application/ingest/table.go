package ingest

import (
	"hash/maphash"
	"math/bits"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// table is a hash table with open addressing whose owner compares what it finds. It is at most half full.
type table struct {
	slots []slot // a power of two
	mask  uint32
	used  int
}

type slot struct {
	hash  uint32
	index uint32 // the owner's, 0 for an empty slot
}

// tableFirst is the least number of slots.
const tableFirst = 256

// at returns the slot that a search comes to at i, its hash at first, then one more each time.
func (t *table) at(i uint32) slot { return t.slots[i&t.mask] }

// reset empties the table and makes it fit for about as many entries as there were.
func (t *table) reset(entries int) {
	size := max(tableFirst, 2<<bits.Len(uint(entries)))
	if cap(t.slots) < size {
		t.slots = make([]slot, size)
	} else {
		t.slots = t.slots[:size]
		clear(t.slots)
	}
	t.mask, t.used = uint32(size-1), 0
}

// add puts an entry that is not there.
func (t *table) add(hash, index uint32) {
	if 2*(t.used+1) > len(t.slots) {
		t.grow()
	}
	t.used++
	t.put(slot{hash: hash, index: index})
}

func (t *table) put(s slot) {
	i := s.hash
	for t.slots[i&t.mask].index != 0 {
		i++
	}
	t.slots[i&t.mask] = s
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	t.mask = uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.index != 0 {
			t.put(s)
		}
	}
}

// seed makes the table's collisions unpredictable for whoever chooses the tags.
var seed = maphash.MakeSeed()

// spread is an odd number without pattern: the golden ratio's fraction in 64 bits (Knuth, TAOCP 6.4).
const spread = 0x9e3779b97f4a7c15

// hashHandle hashes the address of a handle's data, which tells handles apart and is nobody's choice.
func hashHandle(series metric.Series) uint32 {
	address := *(*uintptr)(unsafe.Pointer(&series)) //nolint:gosec // read as a number; a Series is one pointer
	return uint32(uint64(address) * spread >> 32)
}

func hashNumber(part, number uint32) uint32 {
	return uint32((uint64(part+1)<<32 | uint64(number)) * spread >> 32)
}

func hashKey(key string) uint32 { return uint32(maphash.String(seed, key) >> 32) }
