package workerrpc

import (
	"fmt"
	"math"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// sumsPerCell is how many numbers a spread or steps are: three sums, each with its compensation.
const sumsPerCell = 6

// encodeDetails returns nil where no cell carries details.
func encodeDetails(t aggregate.Table) *workerpb.Details {
	m := &workerpb.Details{}
	some := false
	for _, g := range t.Groups {
		for i := range g.Cells {
			d := g.Cells[i].Partial.Details()
			some = some || d.Ends != nil || d.Spread != nil || d.Steps != nil || d.Sketch != nil || d.Spans != nil
			if d.Ends != nil {
				for _, e := range []aggregate.End{d.Ends.First, d.Ends.Last} {
					m.EndTimes, m.EndValues, m.EndSeries = append(m.EndTimes, int64(e.At)), append(m.EndValues, e.Value), append(m.EndSeries, e.Series)
				}
			}
			if s := d.Spread; s != nil {
				m.Spreads = append(m.Spreads, s.Small.High, s.Small.Low, s.Usual.High, s.Usual.Low, s.Large.High, s.Large.Low)
			}
			if s := d.Steps; s != nil {
				m.Steps = append(m.Steps, s.Increase.High, s.Increase.Low, s.Delta.High, s.Delta.Low, s.Slope.High, s.Slope.Low)
			}
			for i := range d.Spans {
				encodeSpan(m, &d.Spans[i])
			}
			if d.Sketch != nil {
				m.Sketches = append(m.Sketches, encodeSketch(d.Sketch.Parts()))
			}
		}
	}
	if !some {
		return nil
	}
	return m
}

func encodeSpan(m *workerpb.Details, s *aggregate.SpanCount) {
	m.Below, m.Inside = append(m.Below, s.Below), append(m.Inside, s.Inside)
	m.Values = append(m.Values, s.Values...)
	if s.Bins == nil {
		return
	}
	used := uint32(0)
	for i, b := range s.Bins {
		if b.Count == 0 {
			continue
		}
		used++
		m.Bins, m.BinCounts = append(m.Bins, uint32(i)), append(m.BinCounts, b.Count)
		m.BinMinima, m.BinMaxima = append(m.BinMinima, b.Min), append(m.BinMaxima, b.Max)
	}
	m.BinsUsed = append(m.BinsUsed, used)
}

func encodeSketch(p aggregate.SketchParts) *workerpb.Sketch {
	m := &workerpb.Sketch{Level: uint32(p.Level), Zero: p.Zero}
	for _, b := range p.Positive {
		m.Positive, m.PositiveCounts = append(m.Positive, b.Bucket), append(m.PositiveCounts, b.Count)
	}
	for _, b := range p.Negative {
		m.Negative, m.NegativeCounts = append(m.Negative, b.Bucket), append(m.NegativeCounts, b.Count)
	}
	return m
}

func decodeSketch(m *workerpb.Sketch) (*aggregate.Sketch, error) {
	if len(m.GetPositive()) != len(m.GetPositiveCounts()) || len(m.GetNegative()) != len(m.GetNegativeCounts()) {
		return nil, errMessage
	}
	p := aggregate.SketchParts{Level: uint(m.GetLevel()), Zero: m.GetZero()}
	for i, b := range m.GetPositive() {
		p.Positive = append(p.Positive, aggregate.SketchBucket{Bucket: b, Count: m.GetPositiveCounts()[i]})
	}
	for i, b := range m.GetNegative() {
		p.Negative = append(p.Negative, aggregate.SketchBucket{Bucket: b, Count: m.GetNegativeCounts()[i]})
	}
	return aggregate.RestoreSketch(p)
}

// detailReader takes cell after cell from the columns of Details.
type detailReader struct {
	query aggregate.Query
	m     *workerpb.Details
	cells int // how many there are, for which memory is taken at once
	// How much of each column is taken. In order: cells, spans, spans with bins, bins, values.
	cell, span, binned, bin, value int

	ends    []aggregate.Ends
	spreads []aggregate.Spread
	steps   []aggregate.Steps
}

// keep appends v to kept, which has room for all cells from the first on, and returns where it stays.
func keep[T any](kept *[]T, v T, cells int) *T {
	if *kept == nil {
		*kept = make([]T, 0, cells)
	}
	*kept = append(*kept, v)
	return &(*kept)[len(*kept)-1]
}

// next returns the details of the next cell, which has the spans that the query plans for it.
func (r *detailReader) next(group []string, start metric.Timestamp) (d aggregate.Details, err error) {
	detail := r.query.Detail()
	i := r.cell
	r.cell++
	if detail&aggregate.DetailEnds != 0 {
		if len(r.m.GetEndTimes()) < 2*i+2 || len(r.m.GetEndValues()) < 2*i+2 || len(r.m.GetEndSeries()) < 2*i+2 {
			return d, errMessage
		}
		end := func(j int) aggregate.End {
			return aggregate.End{At: metric.Timestamp(r.m.GetEndTimes()[j]), Value: r.m.GetEndValues()[j], Series: r.m.GetEndSeries()[j]}
		}
		d.Ends = keep(&r.ends, aggregate.Ends{First: end(2 * i), Last: end(2*i + 1)}, r.cells)
	}
	if detail&aggregate.DetailSpread != 0 {
		sums, err := sumsOf(r.m.GetSpreads(), i)
		if err != nil {
			return d, err
		}
		d.Spread = keep(&r.spreads, aggregate.Spread{Small: sums[0], Usual: sums[1], Large: sums[2]}, r.cells)
	}
	if detail&aggregate.DetailSteps != 0 {
		sums, err := sumsOf(r.m.GetSteps(), i)
		if err != nil {
			return d, err
		}
		d.Steps = keep(&r.steps, aggregate.Steps{Increase: sums[0], Delta: sums[1], Slope: sums[2]}, r.cells)
	}
	if detail&aggregate.DetailSketch != 0 {
		if len(r.m.GetSketches()) <= i {
			return d, errMessage
		}
		if d.Sketch, err = decodeSketch(r.m.GetSketches()[i]); err != nil {
			return d, err
		}
	}
	for _, s := range r.query.Narrowing().Spans(group, start) {
		count, err := r.nextSpan(s)
		if err != nil {
			return d, err
		}
		d.Spans = append(d.Spans, count)
	}
	return d, nil
}

func sumsOf(column []float64, cell int) (sums [sumsPerCell / 2]aggregate.Compensated, err error) {
	first := cell * sumsPerCell
	if len(column) < first+sumsPerCell {
		return sums, errMessage
	}
	for i := range sums {
		sums[i] = aggregate.Compensated{High: column[first+2*i], Low: column[first+2*i+1]}
	}
	return sums, nil
}

func (r *detailReader) nextSpan(s aggregate.Span) (c aggregate.SpanCount, err error) {
	i := r.span
	r.span++
	if len(r.m.GetBelow()) <= i || len(r.m.GetInside()) <= i {
		return c, errMessage
	}
	c.Below, c.Inside = r.m.GetBelow()[i], r.m.GetInside()[i]
	if s.Bins > 0 {
		c.Bins, err = r.nextBins(s.Bins)
		return c, err
	}
	if c.Inside > aggregate.SpanValuesMax {
		return c, nil
	}
	n := int(c.Inside)
	if len(r.m.GetValues()) < r.value+n {
		return c, errMessage
	}
	c.Values = r.m.GetValues()[r.value : r.value+n : r.value+n]
	r.value += n
	return c, nil
}

// nextBins returns the bins of one span, of which there are n.
func (r *detailReader) nextBins(n int) ([]aggregate.Bin, error) {
	if len(r.m.GetBinsUsed()) <= r.binned {
		return nil, errMessage
	}
	used := int(r.m.GetBinsUsed()[r.binned])
	r.binned++
	for _, column := range []int{len(r.m.GetBins()), len(r.m.GetBinCounts()), len(r.m.GetBinMinima()), len(r.m.GetBinMaxima())} {
		if used > n || column < r.bin+used {
			return nil, errMessage
		}
	}
	bins := make([]aggregate.Bin, n)
	for i := range bins {
		bins[i] = aggregate.EmptyBin()
	}
	before := -1
	for i := r.bin; i < r.bin+used; i++ {
		at := int64(r.m.GetBins()[i])
		if at <= int64(before) || at >= int64(n) {
			return nil, errMessage
		}
		before = int(at)
		bins[at] = aggregate.Bin{Count: r.m.GetBinCounts()[i], Min: r.m.GetBinMinima()[i], Max: r.m.GetBinMaxima()[i]}
	}
	r.bin += used
	return bins, nil
}

func encodeNarrowing(n aggregate.Narrowing) *workerpb.Narrowing {
	if n.IsZero() {
		return nil
	}
	m := &workerpb.Narrowing{}
	for _, c := range n.Cells() {
		m.Tags = append(m.Tags, c.Tags...)
		m.Starts = append(m.Starts, int64(c.Start))
		m.Spans = append(m.Spans, uint32(len(c.Spans)))
		for _, s := range c.Spans {
			m.Lows, m.Highs = append(m.Lows, s.Low), append(m.Highs, s.High)
			m.Scales, m.Bins = append(m.Scales, uint32(s.Scale)), append(m.Bins, uint32(s.Bins))
			m.Factors, m.Shifts = append(m.Factors, s.Factor), append(m.Shifts, uint32(s.Shift))
		}
	}
	return m
}

// decodeNarrowing checks that the columns fit; what they say NewNarrowing checks.
func decodeNarrowing(m *workerpb.Narrowing, tagsPerCell int) (aggregate.Narrowing, error) {
	cells := len(m.GetStarts())
	if m == nil || cells == 0 {
		return aggregate.Narrowing{}, nil
	}
	total := 0
	for _, n := range m.GetSpans() {
		total += int(min(n, aggregate.SpansMax+1))
	}
	if len(m.GetTags()) != cells*tagsPerCell || len(m.GetSpans()) != cells {
		return aggregate.Narrowing{}, fmt.Errorf("decode narrowing: cells: %w", errMessage)
	}
	for _, n := range []int{
		len(m.GetLows()), len(m.GetHighs()), len(m.GetScales()), len(m.GetBins()), len(m.GetFactors()), len(m.GetShifts()),
	} {
		if n != total {
			return aggregate.Narrowing{}, fmt.Errorf("decode narrowing: columns: %w", errMessage)
		}
	}
	plan, spans := make([]aggregate.PlannedCell, cells), make([]aggregate.Span, total)
	for i := range spans {
		spans[i] = aggregate.Span{
			Low: m.GetLows()[i], High: m.GetHighs()[i], Scale: aggregate.Scale(min(m.GetScales()[i], math.MaxUint8)),
			Bins: int(m.GetBins()[i]), Factor: m.GetFactors()[i], Shift: uint8(min(m.GetShifts()[i], math.MaxUint8)),
		}
	}
	for i := range plan {
		n := int(min(m.GetSpans()[i], aggregate.SpansMax+1))
		plan[i] = aggregate.PlannedCell{
			Tags:  m.GetTags()[i*tagsPerCell : (i+1)*tagsPerCell : (i+1)*tagsPerCell],
			Start: metric.Timestamp(m.GetStarts()[i]), Spans: spans[:n:n],
		}
		spans = spans[n:]
	}
	n, err := aggregate.NewNarrowing(plan)
	if err != nil {
		return n, fmt.Errorf("decode narrowing: %w", err)
	}
	return n, nil
}

func encodeListing(l metric.Listing) *workerpb.ListSeriesRequest {
	m := &workerpb.ListSeriesRequest{
		Kind: uint32(l.Kind()), Matchers: encodeMatchers(l.Matchers()), Key: l.Key(), Limit: uint32(l.Limit()),
	}
	if !l.Metric().IsZero() {
		m.Metric = l.Metric().String()
	}
	return m
}

func decodeListing(m *workerpb.ListSeriesRequest) (metric.Listing, error) {
	spec := metric.ListingSpec{
		Kind: metric.ListingKind(min(m.GetKind(), math.MaxUint8)), Key: m.GetKey(), Limit: int(m.GetLimit()),
	}
	var err error
	if text := m.GetMetric(); text != "" {
		if spec.Metric, err = metric.NewName(text); err != nil {
			return metric.Listing{}, err
		}
	}
	if spec.Matchers, err = decodeMatchers(m.GetMatchers()); err != nil {
		return metric.Listing{}, err
	}
	return metric.NewListing(spec)
}

// decodeItems checks that items are what a node may answer to l.
func decodeItems(items []string, l metric.Listing) ([]string, error) {
	if len(items) > l.Limit()+1 {
		return nil, fmt.Errorf("decode listing: %d items: %w", len(items), errMessage)
	}
	for i := 1; i < len(items); i++ {
		if items[i] <= items[i-1] {
			return nil, fmt.Errorf("decode listing: order: %w", errMessage)
		}
	}
	return items, nil
}
