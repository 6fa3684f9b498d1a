package memtable

import (
	"cmp"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
)

// Generation is the samples between two freezes, or, merged, of several neighbouring ones. Once
// frozen it is immutable.
type Generation struct {
	first, last uint64
	slots       []uint32 // by series id: index into columns plus one, 0 for none
	columns     []column // in order of first touch
	samples     int
	bytes       int64
	series      catalogue.List // all series as of the freeze
}

func newGeneration(number uint64) *Generation {
	return &Generation{first: number, last: number}
}

// First returns the number of the oldest generation inside.
func (g *Generation) First() uint64 { return g.first }

// Last returns the number of the newest generation inside.
func (g *Generation) Last() uint64 { return g.last }

// Samples returns the number of samples.
func (g *Generation) Samples() int { return g.samples }

// Bytes returns the memory in use, the catalogue's apart.
func (g *Generation) Bytes() int64 { return g.bytes }

// Series returns all series of the shard as of the freeze, those without samples here included.
func (g *Generation) Series() catalogue.List { return g.series }

// column returns the series' column, or nil.
func (g *Generation) column(id catalogue.SeriesID) *column {
	if int(id) >= len(g.slots) || g.slots[id] == 0 {
		return nil
	}
	return &g.columns[g.slots[id]-1]
}

// slot returns the index in columns of the series' column, which it creates when there is none.
func (g *Generation) slot(id catalogue.SeriesID) uint32 {
	if int(id) >= len(g.slots) {
		g.slots = append(g.slots, make([]uint32, int(id)+1-len(g.slots))...)
	}
	if g.slots[id] == 0 {
		g.columns = append(g.columns, column{series: id})
		g.slots[id] = uint32(len(g.columns))
		g.bytes += columnBytes
	}
	return g.slots[id] - 1
}

// Merge returns one generation with the samples of generations, which are frozen, neighbouring and
// ascending; at least one. Each series is sorted by time, ties in log order, in one piece.
func Merge(generations []*Generation) *Generation {
	newest := generations[len(generations)-1]
	merged := &Generation{first: generations[0].first, last: newest.last, series: newest.series}
	_ = EachSeries(generations, func(id catalogue.SeriesID, points []Point) error {
		c := &merged.columns[merged.slot(id)]
		c.tail = slices.Clone(points)
		c.newest, c.oldest, c.ordered = points[len(points)-1], points[0].At, true
		merged.samples += len(points)
		merged.bytes += int64(cap(c.tail)) * pointBytes
		return nil
	})
	return merged
}

// EachSeries calls use for every series that has samples in generations, which are frozen,
// neighbouring and ascending: in the order of metric id, then series id, with the samples sorted by
// time, ties in log order. The points are valid until use returns, whose error ends the walk.
func EachSeries(generations []*Generation, use func(id catalogue.SeriesID, points []Point) error) error {
	var scratch []Point
	for _, id := range seriesOf(generations) {
		scratch = scratch[:0]
		ordered := true
		for _, g := range generations {
			c := g.column(id)
			if c == nil {
				continue
			}
			ordered = ordered && c.ordered && (len(scratch) == 0 || scratch[len(scratch)-1].At <= c.oldest)
			scratch = c.appendTo(scratch)
		}
		if !ordered {
			sortPoints(scratch)
		}
		if err := use(id, scratch); err != nil {
			return err
		}
	}
	return nil
}

// seriesOf returns the series that have samples in generations, by metric id, then series id.
func seriesOf(generations []*Generation) []catalogue.SeriesID {
	if len(generations) == 0 {
		return nil
	}
	list := generations[len(generations)-1].series
	seen := make([]bool, list.Len())
	var ids []catalogue.SeriesID
	for _, g := range generations {
		for i := range g.columns {
			if id := g.columns[i].series; !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, func(a, b catalogue.SeriesID) int {
		_, ma := list.At(a)
		_, mb := list.At(b)
		return cmp.Or(cmp.Compare(ma, mb), cmp.Compare(a, b))
	})
	return ids
}
