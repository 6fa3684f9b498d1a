package aggregate

// Questions with many groups would spend their time on one small allocation a group and a window: they take
// memory for many at once instead.

const (
	// slabMax bounds how much a slab takes at one time without knowing how much will be used.
	slabMax = 256
	// slabKnownMax bounds how much it takes where that is known, so that a huge answer is not one piece of memory.
	slabKnownMax = 1 << 16
)

// slab hands out pieces of arrays. The zero slab takes at most as much again as it has handed out; what was
// handed out stays where it is, and is kept in memory as long as any of its array.
type slab[T any] struct {
	free     []T
	taken    int
	expected int // how much more will be taken, as far as that is known
}

// room returns an empty slice, never nil, with room for exactly n: appending more moves it, and never overruns another.
func (s *slab[T]) room(n int) []T {
	if s.free == nil || len(s.free) < n {
		s.free = make([]T, max(n, min(s.taken, slabMax), min(s.expected, slabKnownMax)))
	}
	s.taken += n
	s.expected -= n
	room := s.free[:0:n]
	s.free = s.free[n:]
	return room
}

// one returns a zero value of its own.
func (s *slab[T]) one() *T { return &s.room(1)[:1][0] }
