package aggregate

import (
	"cmp"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// groupBuilder is the cells of one group as they come.
type groupBuilder struct {
	key  string
	tags []string
	// cells come mostly ascending, series by series, so most are where the one before was or next to it.
	cells   []*Cell
	pieces  [][]Cell                 // where they are, in that order
	recent  int                      // index of the cell asked for last
	byStart map[metric.Timestamp]int // index by start; nil while cells are ascending
}

// find returns the index of a cell, or -1.
func (g *groupBuilder) find(start metric.Timestamp) int {
	for i := g.recent; i < min(g.recent+2, len(g.cells)); i++ {
		if g.cells[i].Start == start {
			return i
		}
	}
	if g.byStart != nil {
		if i, ok := g.byStart[start]; ok {
			return i
		}
		return -1
	}
	if i, ok := slices.BinarySearchFunc(g.cells, start, byStart); ok {
		return i
	}
	return -1
}

func byStart(c *Cell, start metric.Timestamp) int { return cmp.Compare(c.Start, start) }

// add adds a cell that find did not find; usual is how many groups have of them.
func (g *groupBuilder) add(start metric.Timestamp, usual int, from *slabs) *Cell {
	n, last := len(g.cells), len(g.pieces)-1
	if n > 0 && g.byStart == nil && start < g.cells[n-1].Start {
		g.byStart = make(map[metric.Timestamp]int, 2*n)
		for i, c := range g.cells {
			g.byStart[c.Start] = i
		}
	}
	if g.byStart != nil {
		g.byStart[start] = n
	}
	if last < 0 || len(g.pieces[last]) == cap(g.pieces[last]) {
		if last < 0 {
			g.pieces = from.pieces.room(1)
		}
		// Groups mostly have as many cells as the one before.
		g.pieces = append(g.pieces, from.cells.room(min(slabMax, max(1, n, usual-n))))
		last++
	}
	at := len(g.pieces[last])
	g.pieces[last] = g.pieces[last][:at+1] // within its capacity, so that cells stay where they are
	c := &g.pieces[last][at]
	c.Start = start
	g.cells = append(g.cells, c)
	return c
}

// table returns the cells that have samples, ascending.
func (g *groupBuilder) table() []Cell {
	var cells []Cell
	if len(g.pieces) == 1 {
		cells = g.pieces[0]
	} else {
		cells = slices.Concat(g.pieces...)
	}
	if slices.ContainsFunc(g.cells, func(c *Cell) bool { return c.Partial.count == 0 }) {
		cells = slices.DeleteFunc(cells, func(c Cell) bool { return c.Partial.count == 0 })
	}
	if g.byStart != nil {
		slices.SortFunc(cells, func(a, b Cell) int { return cmp.Compare(a.Start, b.Start) })
	}
	return cells
}
