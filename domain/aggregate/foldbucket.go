package aggregate

import "github.com/raftmetrics/raftmetrics/domain/metric"

// AddWithin is AddAll for samples that all lie in the window of at, where no detail needs order: their
// times are not looked at.
func (f *Fold) AddWithin(at metric.Timestamp, values []float64) error {
	b := f.group.b
	if b.left -= int64(len(values)); b.left < 0 {
		return ErrTooManySamples.WithDetail("limit", SamplesMax)
	}
	for len(values) > 0 {
		n := min(len(values), runMax)
		if passed := f.passing(values[:n]); len(passed) > 0 {
			if err := f.enter(at); err != nil {
				return err
			}
			f.cell.AddAll(passed)
			if f.detail != 0 {
				f.cell.more.addAll(passed)
			}
		}
		values = values[n:]
	}
	return nil
}

// enter makes sure that the fold is at the cell of the window of at.
func (f *Fold) enter(at metric.Timestamp) error {
	if f.cell != nil && at >= f.start && at < f.end {
		return nil
	}
	return f.move(at)
}

// AddBucket adds samples that all lie in the window of at, given as their plain partial. Where that does not
// tell enough it adds nothing and returns false: then the samples themselves must be added.
func (f *Fold) AddBucket(at metric.Timestamp, p Partial) (enough bool, err error) {
	if p.count == 0 {
		return true, nil
	}
	if f.detail&^DetailNarrow != 0 {
		return false, nil
	}
	all, none := f.where.decide(p.min, p.max)
	if none || !all {
		return none, nil
	}
	if f.detail == 0 {
		if err := f.enter(at); err != nil {
			return false, err
		}
		f.cell.mergePlain(p)
		return true, nil
	}
	spans := f.group.b.query.narrowing.spans(f.group.g.key, f.group.b.query.window.Start(at))
	for i := range spans {
		if !spans[i].decides(p.min, p.max) {
			return false, nil
		}
	}
	if err := f.enter(at); err != nil {
		return false, err
	}
	f.cell.mergePlain(p)
	for i := range spans {
		f.cell.more.Spans[i].addBucket(&spans[i], p)
	}
	return true, nil
}

// decide reports whether all or none of values from least to greatest pass.
func (w Where) decide(least, greatest float64) (all, none bool) {
	switch w.op {
	case Greater:
		return least > w.value, greatest <= w.value
	case GreaterOrEqual:
		return least >= w.value, greatest < w.value
	case Less:
		return greatest < w.value, least >= w.value
	case LessOrEqual:
		return greatest <= w.value, least > w.value
	case Equal:
		return least == w.value && greatest == w.value, least > w.value || greatest < w.value
	case NotEqual:
		return least > w.value || greatest < w.value, least == w.value && greatest == w.value
	}
	return true, false
}

// decides reports whether it is known how s counts values from least to greatest, both of which occur.
func (s *Span) decides(least, greatest float64) bool {
	switch {
	case greatest < s.Low, least > s.High:
		return true
	case least < s.Low || greatest > s.High || s.Scale == Values:
		return false
	}
	return s.Bin(least) == s.Bin(greatest)
}

// addBucket takes all values of p, about which s decides.
func (c *SpanCount) addBucket(s *Span, p Partial) {
	switch {
	case p.max < s.Low:
		c.Below += p.Count()
	case p.min > s.High:
	default:
		c.Inside += p.Count()
		bin := &c.Bins[s.Bin(p.min)]
		bin.Count += p.Count()
		bin.Min, bin.Max = min(bin.Min, p.min), max(bin.Max, p.max)
	}
}
