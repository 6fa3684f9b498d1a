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

	fold  Fold        // the one in progress
	alone GroupHandle // of the last fold: without group_by that of all
	left  int64       // how many more samples folds may read
	room  int         // how many more values and counters details may hold
	err   error       // what the end of a fold met, for who comes next

	passed []float64 // see Fold.passing
}

type groupBuilder struct {
	key   string
	tags  []string
	cells map[metric.Timestamp]*Partial
	last  *Partial // the cell written last: samples come in time order, so it is mostly the same
	at    metric.Timestamp
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
		g = &groupBuilder{key: key, tags: tags, cells: map[metric.Timestamp]*Partial{}}
		b.groups[key] = g
	}
	return GroupHandle{b: b, g: g}, nil
}

// Cell returns the partial of the window that starts at start, to Add to or Merge into. The pointer
// stays valid for the builder's life. It returns ErrTooManyCells or ErrTooManyWindows over a limit.
func (h GroupHandle) Cell(start metric.Timestamp) (*Partial, error) {
	g := h.g
	if g.last != nil && g.at == start {
		return g.last, nil
	}
	p, ok := g.cells[start]
	if !ok {
		if len(g.cells) >= WindowsMax {
			return nil, ErrTooManyWindows.WithDetail("limit", WindowsMax)
		}
		if h.b.cells >= CellsMax {
			return nil, ErrTooManyCells.WithDetail("limit", CellsMax)
		}
		h.b.cells++
		p = &Partial{}
		g.cells[start] = p
	}
	g.last, g.at = p, start
	return p, nil
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

// Merge takes all of t, the answer of a node that shares no sample with what the builder holds.
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
			before := 0
			if p.more != nil {
				before = p.more.held()
			}
			if p.Merge(c.Partial); p.more == nil {
				continue
			}
			if err := b.hold(p.more.held() - before); err != nil {
				return err
			}
		}
	}
	return nil
}

// Table returns what was collected, in order. The builder must not be used afterwards.
func (b *Builder) Table() Table {
	b.endFold()
	t := Table{SeriesKnown: b.known, Groups: make([]Group, 0, len(b.groups))}
	for _, g := range b.groups {
		cells := make([]Cell, 0, len(g.cells))
		for start, p := range g.cells {
			if p.count > 0 {
				cells = append(cells, Cell{Start: start, Partial: *p})
			}
		}
		if len(cells) == 0 {
			continue
		}
		slices.SortFunc(cells, func(a, b Cell) int { return cmp.Compare(a.Start, b.Start) })
		t.Groups = append(t.Groups, Group{Tags: g.tags, Cells: cells})
	}
	slices.SortFunc(t.Groups, func(a, b Group) int { return slices.Compare(a.Tags, b.Tags) })
	return t
}

// groupKey joins values that hold no control characters.
func groupKey(tags []string) string { return strings.Join(tags, "\x00") }
