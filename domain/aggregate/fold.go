package aggregate

import "github.com/raftmetrics/raftmetrics/domain/metric"

// Fold adds the samples of one series to a Builder: the one way in for storage that has samples at
// hand, whatever the query asks for. It is not safe for concurrent use.
type Fold struct {
	group  GroupHandle
	series metric.Series
	where  Where

	cell       *Partial
	start, end metric.Timestamp // of cell's window
}

// Fold returns a fold of series, which the query selects. It returns ErrTooManyGroups over the limit.
func (b *Builder) Fold(series metric.Series) (*Fold, error) {
	group, err := b.Group(b.query.GroupTags(series.Tags()))
	if err != nil {
		return nil, err
	}
	return &Fold{group: group, series: series, where: b.query.where}, nil
}

// Add takes a sample inside the query's range; the query's condition on values is looked at here. Where
// Query.Ordered says so, samples of a series come to one fold ascending by time, those of one time in
// the order of the log, and each series has one fold a builder. It returns ErrTooManyCells or
// ErrTooManyWindows over a limit.
func (f *Fold) Add(at metric.Timestamp, value float64) error {
	if !f.where.Passes(value) {
		return nil
	}
	if f.cell == nil || at < f.start || at >= f.end {
		if err := f.move(at); err != nil {
			return err
		}
	}
	f.cell.Add(value)
	return nil
}

// move goes to the cell of the window that holds at.
func (f *Fold) move(at metric.Timestamp) error {
	window := f.group.b.query.window
	f.start, f.end = window.Start(at), metric.TimestampMax+1
	if window.IsZero() {
		f.start = metric.TimestampMin
	} else {
		f.end = window.End(f.start)
	}
	cell, err := f.group.Cell(window.Start(at))
	f.cell = cell
	return err
}
