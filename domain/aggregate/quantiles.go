package aggregate

import (
	"cmp"
	"math"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// roundsMax bounds the rounds of one search. Without writes in between a search of any values ends
	// after two linear and at most eleven ordinal rounds.
	roundsMax = 24
	// keepUsual is the most values that a span is usually asked for, below SpanValuesMax because more
	// may be written meanwhile.
	keepUsual = SpanValuesMax / 2
	// binsLeast is the least number of bins that is worth a round; binValues is how many values should
	// be left in a bin.
	binsLeast, binValues = 16, 1024
	// valuesHeldMax and binsHeldMax share HeldMax.
	valuesHeldMax, binsHeldMax = HeldMax / 2, HeldMax / 2 / binNumbers
)

// ErrQuantileUnsettled is returned where writes beside a search kept it from ending.
var ErrQuantileUnsettled = fault.Newf(fault.Unavailable, "quantile_unsettled",
	"the values changed faster than their quantile could be found in %d rounds; try again, or ask for a range that ends in the past", roundsMax)

// quantiles finds exact quantiles of many cells in rounds. The first table's counts and extremes say
// where to look; each round asks for spans in which the sought values lie, counted by comparison, until
// the values themselves are few enough to be asked for. A round's answer is complete by itself: count,
// values below a span, values inside. So samples that come or go between rounds can make the search
// longer, never its result wrong: it is a quantile as of the cell's last round.
type quantiles struct {
	functions []Function
	cells     []quantileCell
	index     map[string]map[metric.Timestamp]int // group and window to cells
	open      int                                 // cells still sought in
	rounds    int
}

type quantileCell struct {
	tags    []string
	start   metric.Timestamp
	targets []target // of functions
	open    int
	planned []Span // of the round
}

// target is one quantile of one cell, and what is known of where it lies.
type target struct {
	found     bool
	null      bool // the cell's samples went away
	value     float64
	low, high float64
	inside    uint64 // about how many values from low to high
	poor      int    // how many rounds have left most of them
	span      int    // index into planned
}

// newQuantiles begins a search for the quantiles functions of t's cells.
func newQuantiles(t Table, functions []Function) (*quantiles, error) {
	s := &quantiles{functions: functions, index: make(map[string]map[metric.Timestamp]int, len(t.Groups))}
	total := 0
	for i := range t.Groups {
		total += len(t.Groups[i].Cells)
	}
	s.cells = make([]quantileCell, 0, total)
	targets := slab[target]{expected: total * len(functions)}
	for _, g := range t.Groups {
		starts := make(map[metric.Timestamp]int, len(g.Cells))
		s.index[groupKey(g.Tags)] = starts
		for _, c := range g.Cells {
			starts[c.Start] = len(s.cells)
			cell := quantileCell{tags: g.Tags, start: c.Start, targets: targets.room(len(functions))[:len(functions)]}
			for i, f := range functions {
				t := &cell.targets[i]
				t.low, t.high, t.inside = c.Partial.Min(), c.Partial.Max(), c.Partial.Count()
				switch f.Rank(t.inside) {
				case 1:
					t.found, t.value = true, t.low
				case t.inside:
					t.found, t.value = true, t.high
				default:
					t.settle(t.low, t.high, t.inside)
				}
				if !t.found {
					cell.open++
				}
			}
			if cell.open > 0 {
				s.open++
			}
			s.cells = append(s.cells, cell)
		}
	}
	if s.open > PlannedCellsMax {
		return nil, ErrTooManyPlanned.WithDetail("limit", PlannedCellsMax)
	}
	return s, nil
}

// settle says that the sought value lies from low to high.
func (t *target) settle(low, high float64, inside uint64) {
	t.low, t.high, t.inside = low, high, inside
	if low == high {
		t.found, t.value = true, low
	}
}

// values returns what was found in a cell, in the order of the functions.
func (s *quantiles) values(group string, start metric.Timestamp) []target {
	if i, ok := s.index[group][start]; ok {
		return s.cells[i].targets
	}
	return nil
}

// next plans a round; false when there is nothing left to find.
func (s *quantiles) next() (Narrowing, bool, error) {
	if s.open == 0 {
		return Narrowing{}, false, nil
	}
	if s.rounds++; s.rounds > roundsMax {
		return Narrowing{}, false, ErrQuantileUnsettled
	}
	plan := make([]PlannedCell, 0, s.open)
	var counts []uint64 // about how many values in each span of the plan
	for i := range s.cells {
		if c := &s.cells[i]; c.open > 0 {
			counts = c.plan(counts)
			plan = append(plan, PlannedCell{Tags: c.tags, Start: c.start, Spans: c.planned})
		}
	}
	keep, share, err := budget(counts)
	if err != nil {
		return Narrowing{}, false, err
	}
	i := 0
	for _, c := range plan {
		for j := range c.Spans {
			if n := counts[i]; n > keep {
				c.Spans[j] = c.Spans[j].Binned(binsFor(n, share), c.Spans[j].Scale)
			} else {
				c.Spans[j].Scale = Values
			}
			i++
		}
	}
	n, err := NewNarrowing(plan)
	return n, true, err
}

// plan makes disjoint spans of what is sought, with the scale that bins would have, and appends to
// counts about how many values each holds.
func (c *quantileCell) plan(counts []uint64) []uint64 {
	order := make([]*target, 0, c.open)
	for i := range c.targets {
		if !c.targets[i].found {
			order = append(order, &c.targets[i])
		}
	}
	slices.SortFunc(order, func(a, b *target) int { return cmp.Compare(a.low, b.low) })
	c.planned = nil
	var before *target
	for _, t := range order {
		last := len(c.planned) - 1
		scale := Linear
		if t.poor > 1 {
			scale = Ordinal
		}
		switch {
		case last < 0 || t.low > c.planned[last].High:
			c.planned = append(c.planned, Span{Low: t.low, High: t.high, Scale: scale})
			counts = append(counts, t.inside)
			last++
		case before.low != t.low || before.high != t.high:
			c.planned[last].High = max(c.planned[last].High, t.high)
			counts[len(counts)-1] += t.inside
		}
		before, t.span = t, last
	}
	return counts
}

// budget says, for spans with so many values, up to how many values they are kept, and how many bins the
// others may have.
func budget(counts []uint64) (keep uint64, bins int, err error) {
	keep = keepUsual
	for ; ; keep /= 2 {
		values, binned := uint64(0), 0
		for _, n := range counts {
			if n <= keep {
				values += n
			} else {
				binned++
			}
		}
		bins = binsHeldMax / max(1, binned)
		if values <= valuesHeldMax {
			break
		}
	}
	if bins < binsLeast {
		return 0, 0, ErrTooManyHeld.WithDetail("limit", HeldMax)
	}
	return keep, min(bins, BinsMax), nil
}

// binsFor returns how many bins suit n values.
func binsFor(n uint64, most int) int {
	return int(min(max(n/binValues, 4*binsLeast), uint64(most)))
}

// take reads a round's answer.
func (s *quantiles) take(t Table) error {
	found := 0
	for _, g := range t.Groups {
		starts := s.index[groupKey(g.Tags)]
		for _, cell := range g.Cells {
			i, ok := starts[cell.Start]
			if !ok || s.cells[i].open == 0 {
				continue
			}
			c := &s.cells[i]
			if err := c.take(cell.Partial, s.functions); err != nil {
				return err
			}
			found++
			if c.open == 0 {
				s.open--
			}
		}
	}
	s.dropMissing()
	return nil
}

// dropMissing ends the search in cells of which the round's answer had nothing: their samples are gone.
func (s *quantiles) dropMissing() {
	for i := range s.cells {
		c := &s.cells[i]
		if c.open == 0 || c.planned == nil {
			continue
		}
		for j := range c.targets {
			if t := &c.targets[j]; !t.found {
				t.found, t.null = true, true
			}
		}
		c.open, c.planned = 0, nil
		s.open--
	}
}

func (c *quantileCell) take(p Partial, functions []Function) error {
	if p.more == nil || len(p.more.Spans) != len(c.planned) {
		return ErrNoDetail
	}
	for i := range c.targets {
		t := &c.targets[i]
		if t.found {
			continue
		}
		span := &p.more.Spans[t.span]
		t.take(p, functions[i].Rank(p.Count()), c.planned[t.span], span)
		if t.found {
			c.open--
		}
	}
	c.planned = nil
	return nil
}

// take learns where the value of rank among p's lies, from what span, of which count tells, says.
func (t *target) take(p Partial, rank uint64, span Span, count *SpanCount) {
	switch upTo := count.Below + count.Inside; {
	case rank <= count.Below: // values came below or went away since
		t.poor = 0
		t.settle(p.Min(), math.Nextafter(span.Low, math.Inf(-1)), count.Below)
	case rank > upTo:
		t.poor = 0
		t.settle(math.Nextafter(span.High, math.Inf(1)), p.Max(), p.Count()-upTo)
	case span.Low == span.High:
		t.settle(span.Low, span.High, count.Inside)
	case count.Bins != nil:
		t.takeBins(rank-count.Below, count)
	case count.Values == nil: // more came than are kept
		t.settle(span.Low, span.High, count.Inside)
	default:
		t.found, t.value = true, selectRank(count.Values, int(rank-count.Below))
	}
}

// takeBins finds the bin of the rank-th value inside a span.
func (t *target) takeBins(rank uint64, count *SpanCount) {
	i := 0
	for ; i < len(count.Bins)-1 && rank > count.Bins[i].Count; i++ {
		rank -= count.Bins[i].Count
	}
	bin := count.Bins[i]
	if bin.Count > count.Inside/4 {
		t.poor++
	}
	if bin.Min == bin.Max && !apart(count.Bins, i) {
		// Parts were not binned alike: only comparing decides, with a little room to look at.
		t.low, t.high, t.inside = math.Nextafter(bin.Min, math.Inf(-1)), math.Nextafter(bin.Max, math.Inf(1)), bin.Count
		return
	}
	t.settle(bin.Min, bin.Max, bin.Count)
}

// apart reports whether all values in lower bins are less, and all in higher bins greater, than those of
// the i-th: then its place in the order is known.
func apart(bins []Bin, i int) bool {
	for j := range bins {
		if j < i && bins[j].Max >= bins[i].Min || j > i && bins[j].Min <= bins[i].Max {
			return false
		}
	}
	return true
}

// selectRank returns the rank-th least of values, from 1, whose order it changes: Hoare's selection (CACM 4,
// 1961) with the median of three as pivot. Where pivots turn out badly it sorts instead.
func selectRank(values []float64, rank int) float64 {
	k := rank - 1
	for tries := 0; len(values) > 12 && tries < 32; tries++ {
		n := len(values)
		pivot := median(values[0], values[n/2], values[n-1])
		i, j := 0, n-1
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for values[j] > pivot {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i++
				j--
			}
		}
		switch { // [0,j] are at most the pivot, [i,n) at least
		case k <= j:
			values = values[:j+1]
		case k >= i:
			values = values[i:]
			k -= i
		default:
			return pivot
		}
	}
	slices.Sort(values)
	return values[k]
}

func median(a, b, c float64) float64 {
	return max(min(a, b), min(max(a, b), c))
}
