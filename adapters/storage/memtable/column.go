package memtable

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"sort"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
)

// Point is one sample of a known series.
type Point struct {
	At    int64 // metric.Timestamp: microseconds
	Value float64
}

const (
	// chunkPoints is the length of a full chunk: 4 KiB, an allocator size class, so that a long
	// series wastes less than that and is never copied again.
	chunkPoints = 256
	// chunkPointsFirst is the first allocation of a series: most series of a wide shard hold few
	// samples between two flushes.
	chunkPointsFirst = 2
	pointBytes       = int64(unsafe.Sizeof(Point{}))
	columnBytes      = int64(unsafe.Sizeof(column{})) + 4 // with its slot
)

// column holds one series' samples of one generation in log order: full chunks, then a growing one.
// A copy of the struct taken under the table's lock is an immutable snapshot, since appending only
// writes beyond the lengths that the copy has seen.
type column struct {
	tail    []Point
	full    *[][]Point // never changed in place, and nil in the short columns that there are most of
	newest  Point      // the last in the log of those with the latest timestamp
	oldest  int64
	series  catalogue.SeriesID
	ordered bool // timestamps never fall
	marked  bool // some samples have an effect, see mark
}

// markAt is the time of no sample: a point with it tells the Effect, its value, of the sample behind it.
// So what is rare costs nothing where it does not occur.
const markAt = math.MinInt64

// mark tells that the sample that is appended next has an effect, and returns how many bytes were
// allocated.
func (c *column) mark(e Effect) (grown int64) {
	if len(c.tail) == cap(c.tail) {
		grown = c.grow(2)
	}
	c.marked = true
	c.tail = append(c.tail, Point{At: markAt, Value: float64(e)})
	return grown
}

// append adds a sample and returns how many bytes were allocated for it.
func (c *column) append(p Point) (grown int64) {
	if len(c.tail) == cap(c.tail) {
		grown = c.grow(1)
	}
	switch {
	case c.empty():
		c.newest, c.oldest, c.ordered = p, p.At, true
	case p.At >= c.newest.At:
		c.newest = p
	default:
		c.ordered = false
		c.oldest = min(c.oldest, p.At)
	}
	c.tail = append(c.tail, p)
	return grown
}

// empty reports whether there is no sample yet, though perhaps a mark of the first.
func (c *column) empty() bool {
	return c.full == nil && (len(c.tail) == 0 || c.marked && len(c.tail) == 1)
}

// appendRun appends samples, at least one, and returns how many bytes were allocated for them.
func (c *column) appendRun(times []int64, values []float64) (grown int64) {
	if !c.empty() && times[0] < c.newest.At || !rises(times) {
		for i := range times {
			grown += c.append(Point{At: times[i], Value: values[i]})
		}
		return grown
	}
	if c.empty() {
		c.oldest, c.ordered = times[0], true
	}
	last := len(times) - 1
	c.newest = Point{At: times[last], Value: values[last]}
	for len(times) > 0 {
		if len(c.tail) == cap(c.tail) {
			grown += c.grow(len(times))
		}
		n := min(cap(c.tail)-len(c.tail), len(times))
		room := c.tail[len(c.tail) : len(c.tail)+n]
		for i := range room {
			room[i] = Point{At: times[i], Value: values[i]}
		}
		c.tail = c.tail[:len(c.tail)+n]
		times, values = times[n:], values[n:]
	}
	return grown
}

// rises reports whether times never fall.
func rises(times []int64) bool {
	for i := 1; i < len(times); i++ {
		if times[i] < times[i-1] {
			return false
		}
	}
	return true
}

// grow makes room for a sample at least, where so many are to come.
func (c *column) grow(expected int) int64 {
	before := cap(c.tail)
	if before >= chunkPoints {
		full := append(c.chunks(), c.tail)
		c.full = &full
		c.tail = make([]Point, 0, chunkPoints)
		return chunkPoints * pointBytes
	}
	size := max(chunkPointsFirst, 2*before)
	for size < min(before+expected, chunkPoints) {
		size *= 2
	}
	larger := make([]Point, len(c.tail), size)
	copy(larger, c.tail)
	c.tail = larger
	return int64(cap(larger)-before) * pointBytes
}

// overlaps reports whether a sample may lie in [from, to].
func (c *column) overlaps(from, to int64) bool { return c.oldest <= to && c.newest.At >= from }

// chunks returns the full chunks.
func (c *column) chunks() [][]Point {
	if c.full == nil {
		return nil
	}
	return *c.full
}

// pieces returns all samples and marks in log order.
func (c *column) pieces() iter.Seq[[]Point] {
	return func(yield func([]Point) bool) {
		for _, chunk := range c.chunks() {
			if !yield(chunk) {
				return
			}
		}
		yield(c.tail)
	}
}

// each calls use with pieces that together hold every sample in [from, to], in log order. Pieces of
// an ordered column are cut to the range, others may hold samples outside it. c is not marked.
func (c *column) each(from, to int64, use func([]Point) error) error {
	for piece := range c.pieces() {
		if c.ordered {
			piece = clip(piece, from, to)
		}
		if len(piece) == 0 {
			continue
		}
		if err := use(piece); err != nil {
			return err
		}
	}
	return nil
}

// clip cuts points, ascending in time, to [from, to].
func clip(points []Point, from, to int64) []Point {
	if len(points) == 0 || points[len(points)-1].At < from || points[0].At > to {
		return nil
	}
	if points[0].At < from {
		points = points[sort.Search(len(points), func(i int) bool { return points[i].At >= from }):]
	}
	if points[len(points)-1].At > to {
		points = points[:sort.Search(len(points), func(i int) bool { return points[i].At > to })]
	}
	return points
}

// appendTo appends all samples to points, in log order. c is not marked.
func (c *column) appendTo(points []Point) []Point {
	for piece := range c.pieces() {
		points = append(points, piece...)
	}
	return points
}

// sortPoints sorts by time, keeping the log order of equal timestamps.
func sortPoints(points []Point) {
	slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.At, b.At) })
}
