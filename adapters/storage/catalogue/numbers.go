package catalogue

import (
	"hash/maphash"
	"strings"
)

// numbers finds the numbers of things by their hashes: of series by their keys, of metrics, tags and sets of
// tags. It holds none of them: a slot is the upper 32 bits of a hash and the number plus one, 0 for a free slot;
// the hash's bits tell the first slot to look at, and what others took is in the next ones. That is 11 to 21
// bytes a thing, without a pointer, where a map takes 40 and the thing. Order never shows, so the seed of
// hashes may differ from one process to the next.
type numbers struct {
	slots []uint64 // a power of two, at most three quarters taken
	taken int
}

const slotsMin = 64

// find returns the number with this hash that is the one looked for.
func (t *numbers) find(hash uint64, is func(n uint32) bool) (uint32, bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	hash = hash >> 32 << 32
	mask := uint64(len(t.slots) - 1)
	for i := hash >> 32 & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if slot := t.slots[i]; slot>>32<<32 == hash {
			if n := uint32(slot) - 1; is(n) {
				return n, true
			}
		}
	}
	return 0, false
}

// add adds the number of a thing that is not there.
func (t *numbers) add(hash uint64, n uint32) {
	if t.taken++; t.taken > len(t.slots)/4*3 {
		slots := t.slots
		t.slots = make([]uint64, max(slotsMin, 2*len(slots)))
		for _, slot := range slots {
			if slot != 0 {
				t.put(slot)
			}
		}
	}
	t.put(hash>>32<<32 | uint64(n+1))
}

func (t *numbers) put(slot uint64) {
	mask := uint64(len(t.slots) - 1)
	i := slot >> 32 & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot
}

// hashTag returns a tag's hash.
func hashTag(seed maphash.Seed, key, value string) uint64 {
	return 31*maphash.String(seed, key) + maphash.String(seed, value)
}

// texts keeps texts side by side, where each on its own would take what the allocator rounds it up to. A piece
// goes when none of its texts is held any more.
type texts struct{ piece *strings.Builder }

// textBytes is the size of a piece.
const textBytes = 8 << 10

// keep returns text in memory of its own.
func (t *texts) keep(text string) string {
	if len(text) > textBytes/8 {
		return strings.Clone(text) // It would waste the rest of a piece.
	}
	if t.piece == nil || t.piece.Cap()-t.piece.Len() < len(text) {
		t.piece = &strings.Builder{} // Not reset: the texts of the last one are strings in its memory.
		t.piece.Grow(textBytes)
	}
	at := t.piece.Len()
	t.piece.WriteString(text)
	return t.piece.String()[at:]
}
