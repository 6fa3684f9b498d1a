package memtable

import (
	"context"
	"fmt"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
)

const (
	// pointsPerCheck is how many samples are added between two looks at the context: about 0.2 ms.
	pointsPerCheck = 1 << 16
	// adderPoints is how many samples are handed on at once.
	adderPoints = 2 * chunkPoints
)

// adder adds one series after the other.
type adder struct {
	ctx       context.Context //nolint:containedctx // lives for one AddTo
	view      *View
	builder   *aggregate.Builder
	unchecked int // samples since the last look at the context
	work      gathered
	parts     catalogue.Parts
	times     [adderPoints]int64
	values    [adderPoints]float64
}

// series adds the samples of one series. They are sorted and resolved only where that matters.
func (a *adder) series(parts []part) error {
	fold, err := a.view.Fold(a.builder, parts[0].series, &a.parts)
	if err != nil {
		return err
	}
	if a.view.query.Ordered() || marked(parts) || len(deadFrom(a.view.dead, parts[0].last)) > 0 {
		points, _ := a.view.resolve(&a.work, parts)
		return a.points(fold, points)
	}
	for _, p := range parts {
		a.unchecked++ // So that many empty columns are noticed as well.
		if err := p.column.each(a.view.from, a.view.to, func(points []Point) error { return a.points(fold, points) }); err != nil {
			return err
		}
	}
	return nil
}

// points hands those of points on that lie in the view's span.
func (a *adder) points(fold *aggregate.Fold, points []Point) error {
	from, to := a.view.from, a.view.to
	for len(points) > 0 {
		piece := points[:min(len(points), adderPoints)]
		points = points[len(piece):]
		n := 0
		for _, p := range piece {
			a.times[n], a.values[n] = p.At, p.Value
			if p.At >= from && p.At <= to {
				n++
			}
		}
		if err := fold.AddAll(a.times[:n], a.values[:n]); err != nil {
			return err
		}
		if a.unchecked += len(piece); a.unchecked >= pointsPerCheck {
			a.unchecked = 0
			if a.ctx.Err() != nil {
				return fmt.Errorf("add samples in memory: %w", context.Cause(a.ctx))
			}
		}
	}
	return nil
}
