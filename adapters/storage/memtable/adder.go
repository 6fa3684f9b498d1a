package memtable

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// pointsPerCheck is how many samples are added between two looks at the context: about 0.3 ms.
const pointsPerCheck = 1 << 16

// adder adds columns to one group after the other.
type adder struct {
	query     aggregate.Query
	group     aggregate.GroupHandle
	unchecked int // samples since the last look at the context
}

func (a *adder) column(ctx context.Context, c *column) error {
	from, to := a.query.Range().From(), a.query.Range().To()
	a.unchecked++ // So that many empty columns are noticed as well.
	return c.each(int64(from), int64(to), func(points []Point) error {
		if a.unchecked += len(points); a.unchecked >= pointsPerCheck {
			a.unchecked = 0
			if ctx.Err() != nil {
				return fmt.Errorf("add samples in memory: %w", context.Cause(ctx))
			}
		}
		if a.query.Window().IsZero() {
			return a.whole(points, from, to)
		}
		return a.windows(points, from, to)
	})
}

// whole adds points to the group's only cell.
func (a *adder) whole(points []Point, from, to metric.Timestamp) error {
	cell, err := a.group.Cell(0)
	if err != nil {
		return err
	}
	for _, p := range points {
		if at := metric.Timestamp(p.At); at >= from && at <= to {
			cell.Add(p.Value)
		}
	}
	return nil
}

// windows adds points to the cells of their windows. It asks for a cell only where the window
// changes, for finding a window's start takes a division.
func (a *adder) windows(points []Point, from, to metric.Timestamp) error {
	window := a.query.Window()
	var cell *aggregate.Partial
	var start, end metric.Timestamp
	for _, p := range points {
		at := metric.Timestamp(p.At)
		if at < from || at > to {
			continue
		}
		if cell == nil || at < start || at >= end {
			start = window.Start(at)
			end = window.End(start)
			var err error
			if cell, err = a.group.Cell(start); err != nil {
				return err
			}
		}
		cell.Add(p.Value)
	}
	return nil
}
