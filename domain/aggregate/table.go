package aggregate

import (
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
	order  []*groupBuilder // as they came
	cells  int
	usual  int // how many cells the group before the newest has
	slabs  slabs
	key    []byte // scratch of GroupOf

	fold  Fold        // the one in progress
	alone GroupHandle // of the last fold: without group_by that of all
	left  int64       // how many more samples folds may read
	lent  int64       // how many those were at first, of a branch
	room  int         // how many more values and counters details may hold
	err   error       // what the end of a fold met, for who comes next

	passed []float64 // see Fold.passing
}

// slabs are where a builder's groups and cells come from.
type slabs struct {
	tags   slab[string]
	groups slab[groupBuilder]
	index  slab[*Cell]
	pieces slab[[]Cell]
	cells  slab[Cell]
	extras extraSlabs
}

// NewBuilder returns an empty builder for the answers to q.
func NewBuilder(q Query) *Builder {
	return &Builder{query: q, groups: map[string]*groupBuilder{}, left: SamplesMax, room: HeldMax}
}

// Branch returns an empty builder for a share of the samples, to be used on another goroutine and then handed
// to Absorb.
func (b *Builder) Branch() *Builder {
	branch := NewBuilder(b.query)
	branch.left, branch.lent = b.left, b.left
	return branch
}

// Absorb ends a Branch of b and merges its table. It returns what Merge does, and ErrTooManySamples when all
// branches together read more than SamplesMax.
func (b *Builder) Absorb(branch *Builder) error {
	if b.left -= branch.lent - branch.left; b.left < 0 {
		return ErrTooManySamples.WithDetail("limit", SamplesMax)
	}
	return b.Merge(branch.Table())
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
	if g, ok := b.groups[key]; ok {
		return GroupHandle{b: b, g: g}, nil
	}
	return b.add(key, tags)
}

// GroupOf is Group for the tags of a series, of which it takes the values itself: without memory of its own
// for a group that is known already.
func (b *Builder) GroupOf(series metric.Tags) (GroupHandle, error) {
	b.key = b.key[:0]
	for i, key := range b.query.groupBy {
		if i > 0 {
			b.key = append(b.key, keySeparator...)
		}
		value, _ := series.Get(key)
		b.key = append(b.key, value...)
	}
	if g, ok := b.groups[string(b.key)]; ok {
		return GroupHandle{b: b, g: g}, nil
	}
	tags := b.slabs.tags.room(len(b.query.groupBy))
	for _, key := range b.query.groupBy {
		value, _ := series.Get(key)
		tags = append(tags, value)
	}
	return b.add(groupKey(tags), tags)
}

// add adds a group that is not there.
func (b *Builder) add(key string, tags []string) (GroupHandle, error) {
	if len(b.order) >= GroupsMax {
		return GroupHandle{}, ErrTooManyGroups.WithDetail("limit", GroupsMax)
	}
	if n := len(b.order); n > 0 {
		b.usual = len(b.order[n-1].cells)
	}
	g := b.slabs.groups.one()
	g.key, g.tags, g.cells = key, tags, b.slabs.index.room(b.usual)
	b.groups[key] = g
	b.order = append(b.order, g)
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
	return &g.add(start, h.b.usual, &h.b.slabs).Partial, nil
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
	if len(b.order) == 0 {
		b.expect(t)
	}
	next := 0 // of b.order: tables that share groups have them in the same order
	for i := range t.Groups {
		g := &t.Groups[i]
		var h GroupHandle
		if next < len(b.order) && slices.Equal(b.order[next].tags, g.Tags) {
			h = GroupHandle{b: b, g: b.order[next]}
			next++
		} else {
			var err error
			if h, err = b.Group(g.Tags); err != nil {
				return err
			}
		}
		if err := b.takeCells(h, g.Cells); err != nil {
			return err
		}
	}
	return nil
}

// takeCells merges cells, ascending, into a group.
func (b *Builder) takeCells(h GroupHandle, cells []Cell) error {
	h.g.recent = 0 // the cells that are there ascend as well
	for i := range cells {
		p, err := h.Cell(cells[i].Start)
		if err != nil {
			return err
		}
		if err := b.take(p, &cells[i].Partial); err != nil {
			return err
		}
	}
	return nil
}

// expect makes room for what t has.
func (b *Builder) expect(t Table) {
	groups, cells := len(t.Groups), 0
	for i := range t.Groups {
		cells += len(t.Groups[i].Cells)
	}
	b.groups, b.order = make(map[string]*groupBuilder, groups), make([]*groupBuilder, 0, groups)
	b.slabs.groups.expected, b.slabs.pieces.expected = groups, groups
	b.slabs.index.expected, b.slabs.cells.expected = cells, cells
}

// take merges o, whose details it may keep, into a cell.
func (b *Builder) take(p, o *Partial) error {
	before := 0
	switch {
	case p.count == 0:
		*p = *o // the usual case: a group's series mostly live on one node
	case p.more == nil:
		p.Merge(*o)
	default:
		before = p.more.held()
		p.Merge(*o)
	}
	if p.more == nil {
		return nil
	}
	return b.hold(p.more.held() - before)
}

// Table returns what was collected, in order. The builder must not be used afterwards.
func (b *Builder) Table() Table {
	b.endFold()
	// Keys are in the order of their tags, because what separates those comes before all that they hold.
	slices.SortFunc(b.order, func(a, b *groupBuilder) int { return strings.Compare(a.key, b.key) })
	t := Table{SeriesKnown: b.known, Groups: make([]Group, 0, len(b.order))}
	for _, g := range b.order {
		cells := g.table()
		if len(cells) == 0 {
			continue
		}
		t.Groups = append(t.Groups, Group{Tags: g.tags, Cells: cells})
	}
	return t
}

// keySeparator stands between values, which hold no control characters.
const keySeparator = "\x00"

func groupKey(tags []string) string { return strings.Join(tags, keySeparator) }
