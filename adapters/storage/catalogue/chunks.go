package catalogue

// chunkLen is how many items lie in one piece of memory: a power of two.
const chunkLen = 256

// chunks is a list that only grows, in pieces that never move: growing copies nothing and leaves no memory
// behind that older copies of the list would hold on to. A copy is the list as it was then, immutable, and may be
// read while the list grows.
type chunks[T any] struct {
	pieces []*[chunkLen]T
	len    int
}

func (c *chunks[T]) add(item T) {
	if c.len%chunkLen == 0 {
		c.pieces = append(c.pieces, new([chunkLen]T))
	}
	c.pieces[c.len/chunkLen][c.len%chunkLen] = item
	c.len++
}

func (c *chunks[T]) at(i uint32) *T { return &c.pieces[i/chunkLen][i%chunkLen] }
