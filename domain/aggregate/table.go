package aggregate

import (
	"cmp"
	"slices"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Cell is the partial of one group in one window.
type Cell struct {
	Start   metric.Timestamp // the window's start; 0 without windows
	Partial Partial
}

// Group is the cells of one combination of group_by values, ascending by Start, no empty partial.
type Group struct {
	Tags  []string // values of the query's GroupBy keys, in that order
	Cells []Cell
}

// Table is what one node answers to a Query: the mergeable result. Groups are ascending by Tags.
// SeriesKnown tells that the metric has at least one series, whether or not it was selected.
type Table struct {
	SeriesKnown bool
	Groups      []Group
}

// Builder collects partials into a Table. It is not safe for concurrent use.
type Builder struct {
	query  Query
	known  bool
	groups map[string]*groupBuilder
	cells  int
	slab   []Cell // where the next cells come from
	newest *groupBuilder
	usual  int // how many cells the group before the newest has

	fold  Fold        // the one in progress
	alone GroupHandle // of the last fold: without group_by that of all
	left  int64       // how many more samples folds may read
	room  int         // how many more values and counters details may hold
	err   error       // what the end of a fold met, for who comes next

	passed []float64 // see Fold.passing
}

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

// slabMax bounds how many cells are allocated at one time.
const slabMax = 256

// add adds a cell that find did not find.
func (b *Builder) add(g *groupBuilder, start metric.Timestamp) *Cell {
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
		// Groups mostly have as many cells as the one before.
		g.pieces = append(g.pieces, b.piece(min(slabMax, max(1, n, b.usual-n))))
		last++
	}
	g.pieces[last] = append(g.pieces[last], Cell{Start: start}) // within its capacity, so that cells stay where they are
	c := &g.pieces[last][len(g.pieces[last])-1]
	g.cells = append(g.cells, c)
	return c
}

// piece returns room for n cells.
func (b *Builder) piece(n int) []Cell {
	if cap(b.slab)-len(b.slab) < n {
		b.slab = make([]Cell, 0, max(n, min(slabMax, b.cells)))
	}
	at := len(b.slab)
	b.slab = b.slab[:at+n]
	return b.slab[at : at : at+n]
}

// table returns the cells that have samples, ascending.
func (g *groupBuilder) table() []Cell {
	empty := func(c Cell) bool { return c.Partial.count == 0 }
	var cells []Cell
	if len(g.pieces) == 1 {
		cells = g.pieces[0]
	} else {
		cells = slices.Concat(g.pieces...)
	}
	if slices.ContainsFunc(cells, empty) {
		cells = slices.DeleteFunc(cells, empty)
	}
	if g.byStart != nil {
		slices.SortFunc(cells, func(a, b Cell) int { return cmp.Compare(a.Start, b.Start) })
	}
	return cells
}

// NewBuilder returns an empty builder for the answers to q.
func NewBuilder(q Query) *Builder {
	return &Builder{query: q, groups: map[string]*groupBuilder{}, left: SamplesMax, room: HeldMax}
}

// Query returns what is asked.
func (b *Builder) Query() Query { return b.query }

// hold notes that details grew by n.
func (b *Builder) hold(n int) error {
	if b.room -= n; b.room < 0 {
		return ErrTooManyHeld.WithDetail("limit", HeldMax)
	}
	return nil
}

// MarkKnown records that the metric has a series.
func (b *Builder) MarkKnown() { b.known = true }

// GroupHandle addresses one group of a Builder, so that its key is not looked up for every sample.
type GroupHandle struct {
	b *Builder
	g *groupBuilder
}

// Group returns the handle for the group with these values of the GroupBy keys, which it may keep.
// A group without samples does not reach the Table. It returns ErrTooManyGroups over the limit.
func (b *Builder) Group(tags []string) (GroupHandle, error) {
	key := groupKey(tags)
	g, ok := b.groups[key]
	if !ok {
		if len(b.groups) >= GroupsMax {
			return GroupHandle{}, ErrTooManyGroups.WithDetail("limit", GroupsMax)
		}
		g = &groupBuilder{key: key, tags: tags}
		b.groups[key] = g
		if b.newest != nil {
			b.usual = len(b.newest.cells)
		}
		b.newest = g
	}
	return GroupHandle{b: b, g: g}, nil
}

// Cell returns the partial of the window that starts at start, to Add to or Merge into. The pointer
// stays valid for the builder's life. It returns ErrTooManyCells or ErrTooManyWindows over a limit.
func (h GroupHandle) Cell(start metric.Timestamp) (*Partial, error) {
	g := h.g
	if i := g.find(start); i >= 0 {
		g.recent = i
		return &g.cells[i].Partial, nil
	}
	if len(g.cells) >= WindowsMax {
		return nil, ErrTooManyWindows.WithDetail("limit", WindowsMax)
	}
	if h.b.cells >= CellsMax {
		return nil, ErrTooManyCells.WithDetail("limit", CellsMax)
	}
	h.b.cells++
	g.recent = len(g.cells)
	return &h.b.add(g, start).Partial, nil
}

// Add takes one sample's value into the window that holds at.
func (h GroupHandle) Add(at metric.Timestamp, value float64) error {
	p, err := h.Cell(h.b.query.window.Start(at))
	if err != nil {
		return err
	}
	p.Add(value)
	return nil
}

// Merge takes all of t, the answer of a node that shares no sample with what the builder holds. Details of
// its partials belong to the builder afterwards.
func (b *Builder) Merge(t Table) error {
	b.known = b.known || t.SeriesKnown
	for _, g := range t.Groups {
		h, err := b.Group(g.Tags)
		if err != nil {
			return err
		}
		for _, c := range g.Cells {
			p, err := h.Cell(c.Start)
			if err != nil {
				return err
			}
			if err := b.take(p, c.Partial); err != nil {
				return err
			}
		}
	}
	return nil
}

// take merges o, whose details it may keep, into a cell.
func (b *Builder) take(p *Partial, o Partial) error {
	before := 0
	switch {
	case p.count == 0:
		*p = o // the usual case: a group's series mostly live on one node
	case p.more == nil:
		p.Merge(o)
	default:
		before = p.more.held()
		p.Merge(o)
	}
	if p.more == nil {
		return nil
	}
	return b.hold(p.more.held() - before)
}

// Table returns what was collected, in order. The builder must not be used afterwards.
func (b *Builder) Table() Table {
	b.endFold()
	t := Table{SeriesKnown: b.known, Groups: make([]Group, 0, len(b.groups))}
	for _, g := range b.groups {
		cells := g.table()
		if len(cells) == 0 {
			continue
		}
		t.Groups = append(t.Groups, Group{Tags: g.tags, Cells: cells})
	}
	slices.SortFunc(t.Groups, func(a, b Group) int { return slices.Compare(a.Tags, b.Tags) })
	return t
}

// groupKey joins values that hold no control characters.
func groupKey(tags []string) string { return strings.Join(tags, "\x00") }
