package aggregate

import (
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Limits on what one query may ask for.
const (
	// WindowsMax bounds the windows of one group in an answer, filled ones included.
	WindowsMax = 11_000
	// GroupsMax bounds the groups of an answer.
	GroupsMax = 10_000
	// CellsMax bounds groups × windows of an answer: what a query may hold in memory.
	CellsMax = 1_000_000
)

// Range is a span of time, both ends inclusive. Open ends are TimestampMin and TimestampMax. The zero
// Range stands for none given.
type Range struct {
	from, to metric.Timestamp
	given    bool // tells the instant 0 alone from the zero Range
}

// NewRange builds a range; nil ends are open; from must not be after to.
func NewRange(from, to *metric.Timestamp) (Range, error) {
	r := Everything()
	if from != nil {
		r.from = *from
	}
	if to != nil {
		r.to = *to
	}
	if r.from > r.to {
		return Range{}, fault.Field("from", "is after to", "from at or before to")
	}
	return r, nil
}

// Everything is the range open at both ends.
func Everything() Range {
	return Range{from: metric.TimestampMin, to: metric.TimestampMax, given: true}
}

// From returns the first instant inside.
func (r Range) From() metric.Timestamp { return r.from }

// To returns the last instant inside.
func (r Range) To() metric.Timestamp { return r.to }

// Contains reports whether t lies inside.
func (r Range) Contains(t metric.Timestamp) bool { return t >= r.from && t <= r.to }

// Query asks for partials of one metric's samples inside Range, of the series that Matchers select,
// cut into Window buckets and grouped by the values of the GroupBy tag keys. Build it with NewQuery.
type Query struct {
	metric   metric.Name
	matchers metric.Matchers
	span     Range
	window   Window
	groupBy  []string
	where    Where
	detail   Detail

	narrowing Narrowing
}

// QuerySpec are the parts of a Query by name.
type QuerySpec struct {
	Metric   metric.Name
	Matchers metric.Matchers
	Range    Range // zero: Everything
	Window   Window
	GroupBy  []string // tag keys, each once
	Where    Where    // zero: every sample
	Detail   Detail   // what the partials must carry besides count, sum, minimum and maximum
	// Narrowing is what to find out of which cells; with DetailNarrow and only there.
	Narrowing Narrowing
}

// NewQuery checks spec. A range closed at both ends must not span more than WindowsMax windows.
func NewQuery(spec QuerySpec) (Query, error) {
	if spec.Metric.IsZero() {
		return Query{}, fault.Field("metric", "is missing", "a metric name")
	}
	if !spec.Range.given {
		spec.Range = Everything()
	}
	seen := make(map[string]bool, len(spec.GroupBy))
	for _, key := range spec.GroupBy {
		if _, err := metric.NewTags([]metric.Tag{{Key: key, Value: "-"}}); err != nil {
			return Query{}, fault.Field("group_by", "has the bad tag key "+strconv.Quote(key), "a comma list of tag keys")
		}
		if seen[key] {
			return Query{}, fault.Field("group_by", "names "+key+" twice", "each tag key once")
		}
		seen[key] = true
	}
	if len(spec.GroupBy) > metric.TagsMax {
		return Query{}, fault.Field("group_by", "names "+strconv.Itoa(len(spec.GroupBy))+" keys", "at most "+strconv.Itoa(metric.TagsMax))
	}
	if spec.Detail > detailsAll || (spec.Detail&DetailNarrow != 0) == spec.Narrowing.IsZero() {
		return Query{}, fault.Field("detail", "is unknown or does not go with narrowing", "details that this release knows")
	}
	q := Query{
		metric: spec.Metric, matchers: spec.Matchers, span: spec.Range, window: spec.Window,
		groupBy: slices.Clone(spec.GroupBy), where: spec.Where, detail: spec.Detail, narrowing: spec.Narrowing,
	}
	if spec.Range.from != metric.TimestampMin && spec.Range.to != metric.TimestampMax {
		if err := CheckWindows(spec.Window, spec.Range.from, spec.Range.to); err != nil {
			return Query{}, err
		}
	}
	return q, nil
}

// CheckWindows refuses more than WindowsMax windows between first and last.
func CheckWindows(w Window, first, last metric.Timestamp) error {
	if w.IsZero() {
		return nil
	}
	if n := (int64(w.Start(last)) - int64(w.Start(first))) / w.Width(); n >= WindowsMax {
		return ErrTooManyWindows.WithDetail("limit", WindowsMax)
	}
	return nil
}

// ErrTooManyWindows, ErrTooManyGroups and ErrTooManyCells are what a query beyond the limits gets.
var (
	ErrTooManyWindows = fault.Newf(fault.Unprocessable, "too_many_windows",
		"the answer has more than %d windows; ask for wider windows or a shorter range", WindowsMax)
	ErrTooManyGroups = fault.Newf(fault.Unprocessable, "too_many_groups",
		"the answer has more than %d groups; group by fewer tags or filter", GroupsMax)
	ErrTooManyCells = fault.Newf(fault.Unprocessable, "too_many_cells",
		"the answer has more than %d values of group and window; ask for fewer groups or wider windows", CellsMax)
)

// Metric returns the metric's name.
func (q Query) Metric() metric.Name { return q.metric }

// Matchers returns which series are asked for.
func (q Query) Matchers() metric.Matchers { return q.matchers }

// Range returns the span of time.
func (q Query) Range() Range { return q.span }

// Window returns how time is cut.
func (q Query) Window() Window { return q.window }

// GroupBy returns the tag keys to group by; callers must not change it.
func (q Query) GroupBy() []string { return q.groupBy }

// Where returns the condition on values.
func (q Query) Where() Where { return q.where }

// Detail returns what partials carry besides count, sum, minimum and maximum.
func (q Query) Detail() Detail { return q.detail }

// Narrowing returns what is to be found out of which cells.
func (q Query) Narrowing() Narrowing { return q.narrowing }

// Narrowed returns q asking for what n says and no other detail.
func (q Query) Narrowed(n Narrowing) Query {
	q.detail, q.narrowing = DetailNarrow, n
	return q
}

// asking returns q asking for detail, which is not DetailNarrow.
func (q Query) asking(detail Detail) Query {
	q.detail, q.narrowing = detail, Narrowing{}
	return q
}

// Whole returns q without windows, asking for detail, which is not DetailNarrow.
func (q Query) Whole(detail Detail) Query {
	q.window, q.detail, q.narrowing = Window{}, detail, Narrowing{}
	return q
}

// Ordered reports whether the samples of each series must be added in order, see Fold.
func (q Query) Ordered() bool { return q.detail&ordered != 0 }

// NamesSeries reports whether partials name series, so that Builder.Fold needs more of them than their tags.
func (q Query) NamesSeries() bool { return q.detail&DetailEnds != 0 }

// GroupTags returns the values of the GroupBy keys in tags, "" for a key that is not set.
func (q Query) GroupTags(tags metric.Tags) []string {
	values := make([]string, len(q.groupBy))
	for i, key := range q.groupBy {
		values[i], _ = tags.Get(key)
	}
	return values
}
