package aggregate

import (
	"math"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Limits on what finding quantiles may hold in memory.
const (
	// PlannedCellsMax bounds the cells of a Narrowing.
	PlannedCellsMax = 100_000
	// SpansMax bounds the spans of one cell.
	SpansMax = FunctionsMax
	// PlannedSpansMax bounds the spans of a Narrowing.
	PlannedSpansMax = 4 * PlannedCellsMax
	// BinsMax bounds the bins of one span.
	BinsMax = 4096
	// SpanValuesMax bounds the values that one span keeps; of more it only keeps the number.
	SpanValuesMax = 8192
	// HeldMax bounds the numbers that one table holds for quantiles: values, and three for each bin.
	HeldMax = 4 << 20
	// binNumbers is what a bin counts as.
	binNumbers = 3
)

// ErrTooManyPlanned and ErrTooManyHeld are what quantiles of too many cells get.
var (
	ErrTooManyPlanned = fault.Newf(fault.Unprocessable, "too_many_quantile_cells",
		"exact quantiles of more than %d values of group and window; ask for fewer groups, wider windows, or approx=1", PlannedCellsMax)
	ErrTooManyHeld = fault.Newf(fault.Unprocessable, "too_many_held",
		"quantiles would hold more than %d values and counters in memory; ask for fewer groups or wider windows", HeldMax)
)

// Scale says how a Span is cut into bins.
type Scale uint8

// The scales. The numbers travel between nodes.
const (
	// Values: no bins; the values themselves are kept.
	Values Scale = iota
	// Linear: bins of equal width: the bin of v is ⌊(v−Low)·Factor⌋, at most Bins−1.
	Linear
	// Ordinal: bins of equally many different floats: the bin of v is (Ordinal(v)−Ordinal(Low)) shifted
	// right by Shift bits. It narrows any distribution in a few rounds.
	Ordinal
)

// Span asks about the values from Low to High, both inclusive, of one cell: how many are below Low, how
// many inside, and either the bins' counts or the values. Below and inside are decided by comparing
// values with Low and High and nothing else; these decide the answer. Into which bin a value at a
// bin's edge falls only guides the next round, so that storage may compute bins as it likes, SQL's
// floor((value-low)*factor) included, as long as a greater value never falls into a lower bin.
//
// The frequent question, and the one worth a fast path, is one cell (no group, no window) with one
// Linear span in the first round and then a few Values spans.
type Span struct { //nolint:recvcheck // built by value, looked at in place by loops over values
	Low, High float64 // finite, Low <= High
	Scale     Scale
	Bins      int     // with Linear and Ordinal
	Factor    float64 // with Linear: bins a unit of value, finite and above 0
	Shift     uint8   // with Ordinal
}

// Binned returns s cut into at most bins bins: linear ones, where its width allows, or ordinal ones.
func (s Span) Binned(bins int, scale Scale) Span {
	width := s.High - s.Low
	factor := float64(bins) / width
	if scale == Linear && width > 0 && isFinite(width) && isFinite(factor) && factor > 0 {
		s.Scale, s.Bins, s.Factor = Linear, bins, factor
		return s
	}
	floats := uint64(orderOf(s.High)) - uint64(orderOf(s.Low))
	s.Scale, s.Shift = Ordinal, 0
	for floats>>s.Shift >= uint64(bins) {
		s.Shift++
	}
	s.Bins = int(floats>>s.Shift) + 1
	return s
}

// orderOf numbers the floats so that a < b is orderOf(a) < orderOf(b); both zeros are 0.
func orderOf(v float64) int64 {
	bits := int64(math.Float64bits(v))
	if bits < 0 {
		return math.MinInt64 - bits
	}
	return bits
}

// Bin returns the bin of v, which lies inside s.
func (s *Span) Bin(v float64) int {
	if s.Scale == Linear {
		return min(int((v-s.Low)*s.Factor), s.Bins-1)
	}
	return min(int((uint64(orderOf(v))-uint64(orderOf(s.Low)))>>s.Shift), s.Bins-1)
}

// check refuses what no plan has.
func (s *Span) check() error {
	ok := s.Low <= s.High && isFinite(s.Low) && isFinite(s.High)
	switch s.Scale {
	case Values:
		ok = ok && s.Bins == 0
	case Linear:
		ok = ok && s.Bins > 0 && s.Bins <= BinsMax && s.Factor > 0 && isFinite(s.Factor)
	case Ordinal:
		ok = ok && s.Bins > 0 && s.Bins <= BinsMax && s.Shift < 64
	default:
		ok = false
	}
	if !ok {
		return fault.Field("narrowing", "has a bad span", "low at or below high, and bins within limits")
	}
	return nil
}

// PlannedCell names the spans of one cell.
type PlannedCell struct {
	Tags  []string // the group: values of the query's GroupBy keys
	Start metric.Timestamp
	Spans []Span // disjoint, ascending
}

// Narrowing is what a round of finding exact quantiles asks: for each cell that it names, its spans.
// Other cells are counted as always. It is immutable; the zero Narrowing names none. Build it with
// NewNarrowing.
type Narrowing struct {
	cells  []PlannedCell
	groups map[string]map[metric.Timestamp][]Span
}

// NewNarrowing checks cells and takes them over. It returns ErrTooManyPlanned over the limit.
func NewNarrowing(cells []PlannedCell) (Narrowing, error) {
	if len(cells) > PlannedCellsMax {
		return Narrowing{}, ErrTooManyPlanned.WithDetail("limit", PlannedCellsMax)
	}
	n := Narrowing{cells: cells, groups: map[string]map[metric.Timestamp][]Span{}}
	held, spans := 0, 0
	for i := range cells {
		c := &cells[i]
		if len(c.Spans) == 0 || len(c.Spans) > SpansMax {
			return Narrowing{}, fault.Field("narrowing", "has a cell without spans or with too many", "1 to 32 spans a cell")
		}
		for j := range c.Spans {
			if err := c.Spans[j].check(); err != nil {
				return Narrowing{}, err
			}
			if j > 0 && c.Spans[j].Low <= c.Spans[j-1].High {
				return Narrowing{}, fault.Field("narrowing", "has spans that overlap", "disjoint spans, ascending")
			}
			held += c.Spans[j].Bins * binNumbers
		}
		if spans += len(c.Spans); spans > PlannedSpansMax {
			return Narrowing{}, ErrTooManyPlanned.WithDetail("limit", PlannedSpansMax)
		}
		key := groupKey(c.Tags)
		starts := n.groups[key]
		if starts == nil {
			starts = map[metric.Timestamp][]Span{}
			n.groups[key] = starts
		}
		if starts[c.Start] != nil {
			return Narrowing{}, fault.Field("narrowing", "names a cell twice", "each cell once")
		}
		starts[c.Start] = c.Spans
	}
	if held > HeldMax {
		return Narrowing{}, ErrTooManyHeld.WithDetail("limit", HeldMax)
	}
	return n, nil
}

// IsZero reports whether no cell is named.
func (n Narrowing) IsZero() bool { return len(n.cells) == 0 }

// Cells returns the cells that are named; callers must not change them.
func (n Narrowing) Cells() []PlannedCell { return n.cells }

// Single returns the spans of the only cell of a question without groups and windows, else nil.
func (n Narrowing) Single() []Span {
	if len(n.cells) == 1 && len(n.cells[0].Tags) == 0 {
		return n.cells[0].Spans
	}
	return nil
}

// Spans returns those of one cell, nil where it is not named; callers must not change them.
func (n Narrowing) Spans(group []string, start metric.Timestamp) []Span {
	return n.spans(groupKey(group), start)
}

func (n Narrowing) spans(group string, start metric.Timestamp) []Span { return n.groups[group][start] }
