package memtable

import (
	"cmp"
	"slices"
)

// Effect says what a sample does to those of its series and timestamp that come before it in the log.
type Effect uint8

const (
	// Adds means that it counts beside them.
	Adds Effect = iota
	// Replaces means that it takes the place of all of them; but where the last that counts has an equal
	// value nothing changes, and it does not count itself: what outbound.Columns.Replace records.
	Replaces
	// Wipes means that it takes the place of all of them, whatever the last is. Nobody records such a
	// sample: it is what resolving some samples leaves to be done with those before them.
	Wipes
)

// Resolve works out which samples of one series count. points are ascending by time, ties in log order;
// effects are theirs, nil where all add. Both are changed in place and returned shortened: what is left
// counts, and only the first of a timestamp may still have an effect, namely upon samples that come
// before all of points. Whoever knows that there are none ignores effects. Without any effect left
// effects are nil. Resolving in parts gives the same: of earlier samples, then of what is left of them
// (as Adds) and later ones, by Overlay.
func Resolve(points []Point, effects []Effect) ([]Point, []Effect) {
	if effects == nil {
		return points, nil
	}
	kept, open := 0, false
	for i := 0; i < len(points); {
		first := kept // of this timestamp, among those kept
		for at := points[i].At; i < len(points) && points[i].At == at; i++ {
			p, e := points[i], effects[i]
			switch {
			case e == Adds:
			case kept == first: // It may meet what is not here.
			case e == Replaces && points[kept-1].Value == p.Value:
				continue
			default:
				kept, e = first, Wipes
			}
			points[kept], effects[kept] = p, e
			kept++
		}
		open = open || effects[first] != Adds
	}
	if !open {
		return points[:kept], nil
	}
	return points[:kept], effects[:kept]
}

// Overlay appends to scratch[:0] what counts of stored and recent samples of one series together: both
// ascending by time, stored ones earlier in the log and resolved, recent ones as Resolve returns them.
func Overlay(scratch, stored, recent []Point, effects []Effect) []Point {
	all := scratch[:0]
	for len(recent) > 0 {
		at := recent[0].At
		n := 0
		for n < len(stored) && stored[n].At < at {
			n++
		}
		all = append(all, stored[:n]...)
		stored = stored[n:]
		for n = 0; n < len(stored) && stored[n].At == at; {
			n++
		}
		same := stored[:n]
		stored = stored[n:]
		for n = 1; n < len(recent) && recent[n].At == at; {
			n++
		}
		e := Adds
		if effects != nil {
			e, effects = effects[0], effects[n:]
		}
		first := 0 // of recent that counts
		switch {
		case e == Wipes, e == Replaces && (len(same) == 0 || same[len(same)-1].Value != recent[0].Value):
			same = nil
		case e == Replaces:
			first = 1
		}
		all = append(append(all, same...), recent[first:n]...)
		recent = recent[n:]
	}
	return append(all, stored...)
}

// gathered collects one series' samples of several columns, in log order.
type gathered struct {
	points  []Point
	effects []Effect // as long as points, or nil while all add
	ordered bool     // times never fall
}

func (g *gathered) reset() {
	g.points, g.effects, g.ordered = g.points[:0], nil, true
}

// add appends what counts of c: samples in [from, to] that none of dead forgets.
func (g *gathered) add(c *column, from, to int64, dead []Tombstone) {
	if !c.overlaps(from, to) {
		return
	}
	before := len(g.points)
	if !c.marked && len(dead) == 0 && c.oldest >= from && c.newest.At <= to {
		g.ordered = g.ordered && c.ordered && (before == 0 || g.points[before-1].At <= c.oldest)
		g.points = c.appendTo(g.points)
		g.pad()
		return
	}
	e := Adds
	for piece := range c.pieces() {
		for _, p := range piece {
			if p.At == markAt {
				e = Effect(p.Value)
				continue
			}
			if p.At >= from && p.At <= to && !forgotten(dead, p.At) {
				g.point(p, e)
			}
			e = Adds
		}
	}
}

func (g *gathered) point(p Point, e Effect) {
	if n := len(g.points); n > 0 && g.points[n-1].At > p.At {
		g.ordered = false
	}
	if e != Adds && g.effects == nil {
		g.effects = make([]Effect, len(g.points), len(g.points)+1)
	}
	g.points = append(g.points, p)
	if g.effects != nil {
		g.effects = append(g.effects, e)
	}
}

// pad brings effects to the length of points.
func (g *gathered) pad() {
	if g.effects != nil {
		g.effects = append(g.effects, make([]Effect, len(g.points)-len(g.effects))...)
	}
}

// sort sorts by time, ties in log order.
func (g *gathered) sort() {
	switch {
	case g.ordered:
	case g.effects == nil:
		sortPoints(g.points)
	default:
		type pair struct {
			p Point
			e Effect
		}
		pairs := make([]pair, len(g.points))
		for i, p := range g.points {
			pairs[i] = pair{p, g.effects[i]}
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.p.At, b.p.At) })
		for i, x := range pairs {
			g.points[i], g.effects[i] = x.p, x.e
		}
	}
	g.ordered = true
}

// resolve sorts and resolves; what is left has no effect where nothing comes before.
func (g *gathered) resolve(nothingBefore bool) ([]Point, []Effect) {
	g.sort()
	g.points, g.effects = Resolve(g.points, g.effects)
	if nothingBefore {
		g.effects = nil
	}
	return g.points, g.effects
}
