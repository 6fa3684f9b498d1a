package catalogue

import "hash/maphash"

// keyTable finds series by their keys. It holds no keys itself, for the series have them: a slot is the
// upper 32 bits of the key's hash and the series' number plus one, 0 for a free slot; the hash's bits
// tell the first slot to look at, and what others took is in the next ones. That is 11 to 21 bytes a
// series, without a pointer, where a map takes 40. Order never shows, so the seed may differ.
type keyTable struct {
	seed  maphash.Seed
	slots []uint64 // a power of two, at most three quarters taken
	taken int
}

const keySlotsMin = 64

func newKeyTable() keyTable {
	return keyTable{seed: maphash.MakeSeed(), slots: make([]uint64, keySlotsMin)}
}

func (t *keyTable) hash(key string) uint64 { return maphash.String(t.seed, key) >> 32 << 32 }

// find returns the series with this key among entries.
func (t *keyTable) find(key string, entries []entry) (SeriesID, bool) {
	hash := t.hash(key)
	mask := uint64(len(t.slots) - 1)
	for i := hash >> 32 & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if slot := t.slots[i]; slot>>32<<32 == hash {
			if id := SeriesID(uint32(slot) - 1); entries[id].series.Key() == key {
				return id, true
			}
		}
	}
	return 0, false
}

// add adds a series whose key is not there.
func (t *keyTable) add(key string, id SeriesID) {
	if t.taken++; t.taken > len(t.slots)/4*3 {
		slots := t.slots
		t.slots = make([]uint64, 2*len(slots))
		for _, slot := range slots {
			if slot != 0 {
				t.put(slot)
			}
		}
	}
	t.put(t.hash(key) | uint64(id+1))
}

func (t *keyTable) put(slot uint64) {
	mask := uint64(len(t.slots) - 1)
	i := slot >> 32 & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot
}
