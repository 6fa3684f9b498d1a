package workerrpc

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

var errMessage = fault.New(fault.Internal, "invalid_message", "a message from another node contradicts itself")

func encodeRead(r consistency.Read) *workerpb.Read {
	numbers := make([]uint32, len(r.Shards))
	for i, id := range r.Shards {
		numbers[i] = uint32(id)
	}
	return &workerpb.Read{
		Shards: numbers, Level: uint32(r.Requirement.Level()), FreshnessMaxNanos: int64(r.Requirement.FreshnessMax()),
	}
}

func decodeRead(m *workerpb.Read) (consistency.Read, error) {
	n := len(m.GetShards())
	if n == 0 || n > shard.CountMax {
		return consistency.Read{}, fault.Field("shards", "are "+strconv.Itoa(n), "1 to "+strconv.Itoa(shard.CountMax)+" shards")
	}
	r := consistency.Read{Shards: make([]shard.ID, n)}
	for i, number := range m.GetShards() {
		r.Shards[i] = shard.ID(number)
	}
	level, freshnessMax := m.GetLevel(), m.GetFreshnessMaxNanos()
	switch {
	case level == uint32(consistency.Linearizable) && freshnessMax == 0:
		return r, nil
	case level == uint32(consistency.None) && freshnessMax == 0:
		r.Requirement = consistency.Of(consistency.None)
		return r, nil
	case level == uint32(consistency.None):
		var err error
		r.Requirement, err = consistency.FreshWithin(time.Duration(freshnessMax))
		return r, err
	}
	// An answer less up to date than was asked for would be a lie.
	return consistency.Read{}, fault.Field("level", "is "+strconv.Itoa(int(level)), "a level that this release knows")
}

func encodeMatchers(m metric.Matchers) []*workerpb.Matcher {
	var list []*workerpb.Matcher
	for _, one := range m.List() {
		list = append(list, &workerpb.Matcher{Key: one.Key, Op: uint32(one.Op), Values: one.Values})
	}
	return list
}

func decodeMatchers(list []*workerpb.Matcher) (metric.Matchers, error) {
	matchers := make([]metric.Matcher, len(list))
	for i, m := range list {
		matchers[i] = metric.Matcher{Key: m.GetKey(), Op: metric.MatcherOp(m.GetOp()), Values: m.GetValues()}
	}
	return metric.NewSelection(matchers)
}

func encodeQuery(q aggregate.Query) *workerpb.Query {
	return &workerpb.Query{
		Metric: q.Metric().String(), Matchers: encodeMatchers(q.Matchers()),
		From: int64(q.Range().From()), To: int64(q.Range().To()),
		WindowWidth: q.Window().Width(), GroupBy: q.GroupBy(),
		WhereOp: uint32(q.Where().Op()), WhereValue: q.Where().Value(),
		Detail: uint32(q.Detail()), Narrowing: encodeNarrowing(q.Narrowing()),
	}
}

// decodeQuery checks everything anew. The window's text stays with the gateway, which prints it.
func decodeQuery(m *workerpb.Query) (aggregate.Query, error) {
	name, err := metric.NewName(m.GetMetric())
	if err != nil {
		return aggregate.Query{}, err
	}
	matchers, err := decodeMatchers(m.GetMatchers())
	if err != nil {
		return aggregate.Query{}, err
	}
	from, to := metric.Timestamp(m.GetFrom()), metric.Timestamp(m.GetTo())
	span, err := aggregate.NewRange(&from, &to)
	if err != nil {
		return aggregate.Query{}, err
	}
	window, err := aggregate.WindowOf(m.GetWindowWidth())
	if err != nil {
		return aggregate.Query{}, err
	}
	spec := aggregate.QuerySpec{
		Metric: name, Matchers: matchers, Range: span, Window: window, GroupBy: m.GetGroupBy(),
		Detail: aggregate.Detail(min(m.GetDetail(), math.MaxUint8)),
	}
	if op := m.GetWhereOp(); op != 0 {
		if spec.Where, err = aggregate.NewWhere(aggregate.Comparison(min(op, math.MaxUint8)), m.GetWhereValue()); err != nil {
			return aggregate.Query{}, err
		}
	}
	if spec.Narrowing, err = decodeNarrowing(m.GetNarrowing(), len(m.GetGroupBy())); err != nil {
		return aggregate.Query{}, err
	}
	return aggregate.NewQuery(spec)
}

func encodeTable(t aggregate.Table) *workerpb.Table {
	cells, tags := 0, 0
	for i := range t.Groups {
		cells += len(t.Groups[i].Cells)
		tags += len(t.Groups[i].Tags)
	}
	m := &workerpb.Table{
		SeriesKnown: t.SeriesKnown, Cells: make([]uint32, len(t.Groups)),
		Starts: make([]int64, cells), Counts: make([]uint64, cells),
		Sums: make([]float64, cells), Compensations: make([]float64, cells),
		Minima: make([]float64, cells), Maxima: make([]float64, cells),
	}
	if tags > 0 {
		m.Tags = make([]string, 0, tags)
	}
	at := 0
	for i := range t.Groups {
		g := &t.Groups[i]
		m.TagsPerGroup = uint32(len(g.Tags))
		m.Tags = append(m.Tags, g.Tags...)
		m.Cells[i] = uint32(len(g.Cells))
		before := int64(0)
		for j := range g.Cells {
			start, p := int64(g.Cells[j].Start), g.Cells[j].Partial.Parts()
			m.Starts[at] = start - before
			m.Counts[at], m.Sums[at], m.Compensations[at] = p.Count, p.Sum, p.Compensation
			m.Minima[at], m.Maxima[at] = p.Min, p.Max
			before = start
			at++
		}
	}
	m.Details = encodeDetails(t)
	return m
}

// decodeTable checks that the columns fit and that what they hold is a Table: in order, without empty
// groups or partials, within the limits, and with what q asks for.
func decodeTable(m *workerpb.Table, q aggregate.Query) (aggregate.Table, error) {
	tagsPerGroup := len(q.GroupBy())
	total := 0
	for _, n := range m.GetCells() {
		total += int(min(n, aggregate.CellsMax+1))
	}
	groups := len(m.GetCells())
	switch {
	case groups > aggregate.GroupsMax, total > aggregate.CellsMax:
		return aggregate.Table{}, fmt.Errorf("decode table: %d groups of %d cells: %w", groups, total, errMessage)
	case groups > 0 && int(m.GetTagsPerGroup()) != tagsPerGroup, len(m.GetTags()) != groups*tagsPerGroup:
		return aggregate.Table{}, fmt.Errorf("decode table: tags: %w", errMessage)
	}
	for _, n := range []int{
		len(m.GetStarts()), len(m.GetCounts()), len(m.GetSums()),
		len(m.GetCompensations()), len(m.GetMinima()), len(m.GetMaxima()),
	} {
		if n != total {
			return aggregate.Table{}, fmt.Errorf("decode table: columns: %w", errMessage)
		}
	}
	t := aggregate.Table{SeriesKnown: m.GetSeriesKnown(), Groups: make([]aggregate.Group, groups)}
	cells := make([]aggregate.Cell, total)
	details := &detailReader{query: q, m: m.GetDetails(), cells: total}
	done := 0
	for i := range t.Groups {
		n := int(m.GetCells()[i])
		g := aggregate.Group{Tags: m.GetTags()[i*tagsPerGroup : (i+1)*tagsPerGroup : (i+1)*tagsPerGroup], Cells: cells[done : done+n : done+n]}
		if n == 0 || i > 0 && slices.Compare(t.Groups[i-1].Tags, g.Tags) >= 0 {
			return aggregate.Table{}, fmt.Errorf("decode table: group %d: %w", i, errMessage)
		}
		if err := decodeCells(m, done, g, details); err != nil {
			return aggregate.Table{}, err
		}
		t.Groups[i] = g
		done += n
	}
	return t, nil
}

// decodeCells fills one group's cells from the columns, beginning at first.
func decodeCells(m *workerpb.Table, first int, g aggregate.Group, details *detailReader) error {
	start := int64(0)
	for i := range g.Cells {
		at := first + i
		delta := m.GetStarts()[at]
		if i > 0 && (delta <= 0 || start > start+delta) {
			return fmt.Errorf("decode table: starts: %w", errMessage)
		}
		start += delta
		p, err := aggregate.RestorePartial(aggregate.Parts{
			Count: m.GetCounts()[at], Sum: m.GetSums()[at], Compensation: m.GetCompensations()[at],
			Min: m.GetMinima()[at], Max: m.GetMaxima()[at],
		})
		if err != nil || p.Count() == 0 {
			return fmt.Errorf("decode table: partial: %w", errMessage)
		}
		if details.query.Detail() != 0 {
			d, err := details.next(g.Tags, metric.Timestamp(start))
			if err == nil {
				p, err = p.WithDetails(details.query, metric.Timestamp(start), g.Tags, d)
			}
			if err != nil {
				return fmt.Errorf("decode table: details: %w", errMessage)
			}
		}
		g.Cells[i] = aggregate.Cell{Start: metric.Timestamp(start), Partial: p}
	}
	return nil
}

func encodeSample(s metric.Sample) *workerpb.Sample {
	return &workerpb.Sample{SeriesKey: s.Series().Key(), Timestamp: int64(s.Timestamp()), Value: s.Value()}
}

func decodeSample(m *workerpb.Sample) (metric.Sample, error) {
	series, err := metric.ParseSeriesKey(m.GetSeriesKey())
	if err != nil {
		return metric.Sample{}, fmt.Errorf("decode sample: %w: %w", errMessage, err)
	}
	s, err := metric.NewSample(series, metric.Timestamp(m.GetTimestamp()), m.GetValue())
	if err != nil {
		return metric.Sample{}, fmt.Errorf("decode sample: %w: %w", errMessage, err)
	}
	return s, nil
}
