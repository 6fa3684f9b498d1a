package memtable

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/chunks"
)

// Generation is the samples between two freezes, or, merged, of several neighbouring ones. Once
// frozen it is immutable.
type Generation struct {
	first, last uint64
	slots       []uint32            // by series id: index into columns plus one, 0 for none
	columns     chunks.List[column] // in order of first touch
	samples     int
	bytes       int64
	series      catalogue.List // all series as of the freeze
	retention   Retention      // as of the freeze
	deleted     *Tombstone     // the deletion that ended it, or nil
}

// firstGeneration is the number of the first generation of a shard's life: before it there is nothing.
const firstGeneration = 1

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

// Retention returns the shard's cut-offs as of the freeze.
func (g *Generation) Retention() Retention { return g.retention }

// column returns the series' column, or nil.
func (g *Generation) column(id catalogue.SeriesID) *column {
	if int(id) >= len(g.slots) || g.slots[id] == 0 {
		return nil
	}
	return g.columns.At(g.slots[id] - 1)
}

// slot returns the index in columns of the series' column, which it creates when there is none.
func (g *Generation) slot(id catalogue.SeriesID) uint32 {
	if int(id) >= len(g.slots) {
		g.slots = append(g.slots, make([]uint32, int(id)+1-len(g.slots))...)
	}
	if g.slots[id] == 0 {
		g.columns.Add(column{series: id})
		g.slots[id] = uint32(g.columns.Len())
		g.bytes += columnBytes
	}
	return g.slots[id] - 1
}

// Merge returns one generation with the samples of generations, which are frozen, neighbouring and
// ascending; at least one. Each series is sorted by time, ties in log order, in one piece, without what
// deletions in generations and the cut-offs of the last forget, and resolved. Generations with deletions
// must be all from the first on, for the deletions apply to those before them and are not kept.
func Merge(generations []*Generation) *Generation {
	if generations[0].first > firstGeneration && len(Tombstones(generations)) > 0 {
		panic(fmt.Sprintf("memtable: a merge from generation %d on would lose deletions", generations[0].first))
	}
	newest := generations[len(generations)-1]
	merged := &Generation{first: generations[0].first, last: newest.last, series: newest.series, retention: newest.retention}
	_ = EachResolved(generations, func(id catalogue.SeriesID, points []Point, effects []Effect) error {
		c := merged.columns.At(merged.slot(id))
		c.tail = make([]Point, 0, len(points))
		for i, p := range points {
			if effects != nil && effects[i] != Adds {
				c.mark(effects[i])
			}
			c.append(p)
		}
		merged.samples += len(points)
		merged.bytes += int64(cap(c.tail)) * pointBytes
		return nil
	})
	return merged
}

// EachSeries is EachResolved for those to whom nothing else counts.
func EachSeries(generations []*Generation, use func(id catalogue.SeriesID, points []Point) error) error {
	return EachResolved(generations, func(id catalogue.SeriesID, points []Point, _ []Effect) error { return use(id, points) })
}

// EachResolved calls use for every series that has samples in generations, which are frozen,
// neighbouring and ascending: in the order of metric id, then series id, with the samples that count
// (see Resolve), sorted by time, ties in log order. Deletions in generations and the cut-offs of the last
// are respected. effects is nil or tells which points must replace samples stored before generations:
// the first of a timestamp may be Replaces or Wipes. Points and effects are valid until use returns, whose
// error ends the walk.
func EachResolved(generations []*Generation, use func(id catalogue.SeriesID, points []Point, effects []Effect) error) error {
	if len(generations) == 0 {
		return nil
	}
	nothingBefore := generations[0].first <= firstGeneration
	tombstones := Tombstones(generations)
	newest := generations[len(generations)-1]
	var w gathered
	var dead []Tombstone
	from, to := everything()
	of := catalogue.MetricID(math.MaxUint32)
	for _, id := range seriesOf(generations) {
		if m := newest.series.MetricOf(id); m != of {
			of, dead = m, deadOf(tombstones, m)
			from = int64(newest.retention.Of(newest.series.Name(m)))
		}
		w.reset()
		for _, g := range generations {
			if c := g.column(id); c != nil {
				w.add(c, from, to, deadFrom(dead, g.last))
			}
		}
		if len(w.points) == 0 {
			continue
		}
		points, effects := w.resolve(nothingBefore)
		if err := use(id, points, effects); err != nil {
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
		g.columns.All(func(c *column) {
			if !seen[c.series] {
				seen[c.series] = true
				ids = append(ids, c.series)
			}
		})
	}
	slices.SortFunc(ids, func(a, b catalogue.SeriesID) int {
		return cmp.Or(cmp.Compare(list.MetricOf(a), list.MetricOf(b)), cmp.Compare(a, b))
	})
	return ids
}
