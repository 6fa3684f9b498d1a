package catalogue

import "math/bits"

// set is a set of places.
type set []uint64

func newSet(size int, full bool) set {
	s := make(set, (size+63)/64)
	if full {
		for i := range s {
			s[i] = ^uint64(0)
		}
	}
	return s
}

func (s set) add(places []uint32) {
	for _, p := range places {
		s[p/64] |= 1 << (p % 64)
	}
}

func (s set) remove(places []uint32) {
	for _, p := range places {
		s[p/64] &^= 1 << (p % 64)
	}
}

func (s set) intersect(o set) {
	for i := range s {
		s[i] &= o[i]
	}
}

// pick returns the ids at the places in s.
func (s set) pick(ids []SeriesID) []SeriesID {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	picked := make([]SeriesID, 0, n)
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			if place := i*64 + bits.TrailingZeros64(word); place < len(ids) {
				picked = append(picked, ids[place])
			}
		}
	}
	return picked
}
