package duckdb

import (
	"context"
	"maps"
	"slices"
	"sort"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
)

// writeSamples appends the samples of generations but for those that forget found unchanged, one run a
// window of time, and returns the runs and the newest sample of every series.
func writeSamples(
	ctx context.Context, c *engine.Conn, catalog string, generations []*memtable.Generation, unchanged []bool,
) ([]run, []newest, error) {
	last := generations[len(generations)-1]
	extent := memtable.ExtentOf(generations)
	if extent.Samples == 0 {
		return nil, nil, nil
	}
	w, err := newRunWriter(ctx, c, catalog, int64(last.Last()), int64(extent.Samples) >= minutesDensityMin*extent.SeriesMinutes)
	if err != nil {
		return nil, nil, err
	}
	o := newOrderer(w, last.Series(), windowDays(extent.Oldest, extent.Newest))
	o.unchanged = unchanged
	err = memtable.EachResolved(generations, o.resolved)
	if err == nil {
		err = o.rest()
	}
	var runs []run
	if err == nil {
		runs, err = w.finish()
	}
	if e := w.close(err == nil); err == nil {
		err = e
	}
	return runs, o.observed, err
}

// minutesDensityMin is how many samples a minute of a series must hold on average for minutes to be
// rolled up: with fewer they take nearly as much room as the samples, and save little.
const minutesDensityMin = 30

// orderer passes a flush's samples on window by window. Those of one window go at once, so the usual flush, of
// one day, is not copied. It is the window with most samples of the first series: others mostly have theirs there
// too, and what is copied takes memory and time.
type orderer struct {
	writer   *runWriter
	list     catalogue.List
	days     int64 // width of a window
	observed []newest

	unchanged []bool // of the samples that replace others and are yet to come
	scratch   []memtable.Point

	current int64 // when the window begins that is written at once
	begun   bool
	later   map[int64]*laterWindow // by begin
}

// laterWindow holds the samples of a window that is written after the one under way.
type laterWindow struct {
	series []catalogue.SeriesID
	counts []int
	points []memtable.Point
}

func newOrderer(w *runWriter, list catalogue.List, days int64) *orderer {
	return &orderer{writer: w, list: list, days: days, later: map[int64]*laterWindow{}}
}

// resolved takes the next series, and leaves out what is unchanged.
func (o *orderer) resolved(id catalogue.SeriesID, points []memtable.Point, effects []memtable.Effect) error {
	if effects != nil {
		counting := o.scratch[:0]
		for i, p := range points {
			if effects[i] != memtable.Adds {
				skip := o.unchanged[0]
				o.unchanged = o.unchanged[1:]
				if skip {
					continue
				}
			}
			counting = append(counting, p)
		}
		points, o.scratch = counting, counting
	}
	if len(points) == 0 {
		return nil
	}
	return o.series(id, points)
}

// series takes the samples of the next series, sorted; at least one.
func (o *orderer) series(id catalogue.SeriesID, points []memtable.Point) error {
	newestPoint := points[len(points)-1]
	o.observed = append(o.observed, newest{series: id, point: newestPoint})
	width := o.days * dayMicros
	if !o.begun {
		o.begin(fullest(points, width))
	}
	for len(points) > 0 {
		start, n := firstWindow(points, width)
		if start == o.current {
			if err := o.write(id, points[:n]); err != nil {
				return err
			}
		} else {
			o.keep(start, id, points[:n])
		}
		points = points[n:]
	}
	return nil
}

// firstWindow returns when the window of the first of points, ascending, begins, and how many lie in it.
func firstWindow(points []memtable.Point, width int64) (start int64, n int) {
	start = floorTo(points[0].At, width)
	if points[len(points)-1].At < start+width {
		return start, len(points)
	}
	return start, sort.Search(len(points), func(i int) bool { return points[i].At >= start+width })
}

// fullest returns when the window begins that has most of points, the latest of several.
func fullest(points []memtable.Point, width int64) (best int64) {
	for most := 0; len(points) > 0; {
		start, n := firstWindow(points, width)
		if n >= most {
			best, most = start, n
		}
		points = points[n:]
	}
	return best
}

func (o *orderer) begin(start int64) {
	o.current, o.begun = start, true
	o.writer.begin(start/dayMicros, o.days)
}

func (o *orderer) write(id catalogue.SeriesID, points []memtable.Point) error {
	metric := o.list.MetricOf(id)
	return o.writer.add(int64(metric), int64(id), points)
}

func (o *orderer) keep(start int64, id catalogue.SeriesID, points []memtable.Point) {
	w := o.later[start]
	if w == nil {
		w = &laterWindow{}
		o.later[start] = w
	}
	w.series, w.counts, w.points = append(w.series, id), append(w.counts, len(points)), append(w.points, points...)
}

// rest writes the windows that had to wait.
func (o *orderer) rest() error {
	for _, start := range slices.Sorted(maps.Keys(o.later)) {
		w := o.later[start]
		delete(o.later, start)
		o.begin(start)
		for i, id := range w.series {
			if err := o.write(id, w.points[:w.counts[i]]); err != nil {
				return err
			}
			w.points = w.points[w.counts[i]:]
		}
	}
	return nil
}
