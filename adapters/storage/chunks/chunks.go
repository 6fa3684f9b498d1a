// Package chunks has lists that only grow, in pieces that never move.
package chunks

// pieceLen is how many items lie in one piece of memory: a power of two, with which an item of a cache line makes
// 32 KiB, the least that Go's allocator gives with pointers and without a header, which would round 16 KiB up to 18.
const pieceLen = 512

// RunMax is how many items AddRun takes.
const RunMax = pieceLen

// List is a list that only grows: that copies no items, wastes less than one piece, and leaves no memory
// behind that older copies of the list would hold on to. A copy is the list as it was then, and may be read while
// the list grows; only items that its owner changes change in it, too. The zero List is empty.
type List[T any] struct {
	pieces []*[pieceLen]T
	len    int
}

// Len returns the number of items.
func (l *List[T]) Len() int { return l.len }

// At returns the place of an item, below Len. It stays the same.
func (l *List[T]) At(i uint32) *T { return &l.pieces[i/pieceLen][i%pieceLen] }

// Add adds an item.
func (l *List[T]) Add(item T) {
	if l.len%pieceLen == 0 {
		l.pieces = append(l.pieces, new([pieceLen]T))
	}
	l.pieces[l.len/pieceLen][l.len%pieceLen] = item
	l.len++
}

// AddRun adds up to RunMax items side by side in one piece, so that Run finds them, and returns where the
// first is. Zero items fill the place before them that is too small.
func (l *List[T]) AddRun(items []T) (first uint32) {
	if used := l.len % pieceLen; used+len(items) > pieceLen {
		l.len += pieceLen - used
	}
	first = uint32(l.len)
	for _, item := range items {
		l.Add(item)
	}
	return first
}

// Run returns count items from first on, all of one AddRun or at most one of any. They are the list's own.
func (l *List[T]) Run(first uint32, count int) []T {
	i := int(first % pieceLen)
	return l.pieces[first/pieceLen][i : i+count : i+count]
}

// All calls use for the place of every item, in order.
func (l *List[T]) All(use func(*T)) {
	for i := range l.len {
		use(l.At(uint32(i)))
	}
}
