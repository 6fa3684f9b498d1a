package duckdb

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
)

// finder tells to which series of portions rows belong, by their seriesNumber.
type finder struct {
	portions []portion
	number   int64 // of the last row
	portion  int
	index    int // in the portion's ids
}

// find moves to a row's series; false for one that was not asked for.
func (f *finder) find(number int64) bool {
	if number == f.number && f.index >= 0 {
		return true
	}
	f.number, f.portion = number, int(number>>32)
	var found bool
	f.index, found = slices.BinarySearch(f.portions[f.portion].ids, catalogue.SeriesID(uint32(number)))
	if !found {
		f.index = -1
	}
	return found
}

// eachSeries calls use for rows of number, time and value, as many at once as follow each other of one series
// that was asked for, which is the one found then.
func (f *finder) eachSeries(chunk engine.Chunk, use func(times []int64, values []float64) error) error {
	numbers, times, values := chunk.Int64s(0), chunk.Int64s(1), chunk.Float64s(2)
	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[0] {
			n++
		}
		if f.find(numbers[0]) {
			if err := use(times[:n], values[:n]); err != nil {
				return err
			}
		}
		numbers, times, values = numbers[n:], times[n:], values[n:]
	}
	return nil
}

func newFinder(portions []portion) finder { return finder{portions: portions, index: -1} }

// perSeries makes a list of values for every series of portions.
func perSeries[T any](portions []portion) [][]T {
	lists := make([][]T, len(portions))
	for i := range portions {
		lists[i] = make([]T, len(portions[i].ids))
	}
	return lists
}

// members returns the parts of a statement that selects columns, the series' number first.
func members(a *parameters, t table, portions []portion, columns string) string {
	filter := chooseFilter(portions)
	var parts []string
	for i := range portions {
		for _, s := range portions[i].spans {
			parts = append(parts, "SELECT series_id + "+a.bind(seriesNumber(i, 0))+" AS number, "+columns+
				" FROM "+t.from(portions[i].replica.catalog)+" WHERE "+a.where(t, &portions[i], s, filter))
		}
	}
	return union(parts)
}

// counting is the statement that counts the samples of each series, from the hours that spans touch.
type counting struct {
	finder
	counts [][]int64
}

func newCounting(portions []portion) *counting {
	touched := slices.Clone(portions)
	for i := range touched {
		// The spans ascend, and two may touch one hour: one span over all is near enough.
		spans := touched[i].spans
		touched[i].spans = []span{{from: floorTo(spans[0].from, hourMicros), to: spans[len(spans)-1].to}}
	}
	return &counting{finder: newFinder(touched), counts: perSeries[int64](portions)}
}

func (c *counting) sql() (text string, args []any) {
	var a parameters
	text = "SELECT number, sum(count)::BIGINT FROM (" + members(&a, hoursTable, c.portions, "count") + ") GROUP BY number"
	return text, a
}

func (c *counting) add(chunk engine.Chunk) error {
	numbers, counts := chunk.Int64s(0), chunk.Int64s(1)
	for row, number := range numbers {
		if c.find(number) {
			c.counts[c.portion][c.index] = counts[row]
		}
	}
	return nil
}

// hoursLoad is the statement that reads hours.
type hoursLoad struct {
	finder
	hours [][]warm.Hours // by series, as they come
}

func newHoursLoad(portions []portion) *hoursLoad {
	return &hoursLoad{finder: newFinder(portions), hours: perSeries[warm.Hours](portions)}
}

func (l *hoursLoad) sql() (text string, args []any) {
	var a parameters
	return members(&a, hoursTable, l.portions, "bucket, count, sum, comp, min, max"), a
}

func (l *hoursLoad) add(chunk engine.Chunk) error {
	numbers, buckets, counts := chunk.Int64s(0), chunk.Int64s(1), chunk.Int64s(2)
	sums, compensations, least, greatest := chunk.Float64s(3), chunk.Float64s(4), chunk.Float64s(5), chunk.Float64s(6)
	for row, number := range numbers {
		if !l.find(number) {
			continue
		}
		part, err := restoreStored(counts[row], sums[row], compensations[row], least[row], greatest[row])
		if err != nil {
			return err
		}
		into := &l.hours[l.portion][l.index]
		*into = append(*into, warm.Hour{Start: buckets[row], Partial: part})
	}
	return nil
}

// blocks returns, for a portion, what was read, window by window.
func (l *hoursLoad) blocks(i int, windows []window) []*warm.Block[warm.Hours] {
	p := &l.portions[i]
	for k, hours := range l.hours[i] {
		l.hours[i][k] = mergeHours(hours)
	}
	return cutBlocks(p, windows, func(k int, s span) warm.Hours { return slices.Clone(l.hours[i][k].Between(s.from, s.to)) })
}

// mergeHours sorts hours and makes one of those that several runs have.
func mergeHours(hours warm.Hours) warm.Hours {
	byStart := func(a, b warm.Hour) int { return cmp.Compare(a.Start, b.Start) }
	if !slices.IsSortedFunc(hours, byStart) {
		slices.SortStableFunc(hours, byStart)
	}
	merged := hours[:0]
	for _, h := range hours {
		if n := len(merged); n > 0 && merged[n-1].Start == h.Start {
			merged[n-1].Partial.Merge(h.Partial)
			continue
		}
		merged = append(merged, h)
	}
	return merged
}

// cutBlocks makes a block for each window of what of returns for the k-th series and the window's span.
func cutBlocks[T warm.Content](p *portion, windows []window, of func(k int, s span) T) []*warm.Block[T] {
	blocks := make([]*warm.Block[T], len(windows))
	for w := range windows {
		items := make([]T, len(p.ids))
		for k := range p.ids {
			items[k] = of(k, windows[w].span())
		}
		blocks[w] = warm.NewBlock(p.version(), p.ids, items, p.all())
	}
	return blocks
}

// errDisorder is why samples have to be read sorted.
var errDisorder = errors.New("rows are not in order")

// samplesLoad is the statement that reads samples. Rows of one run mostly come in order; with sorted
// DuckDB sees to it.
type samplesLoad struct {
	finder
	sorted bool
	times  [][][]int64 // by series
	values [][][]float64
}

func newSamplesLoad(portions []portion, sorted bool) *samplesLoad {
	return &samplesLoad{
		finder: newFinder(portions), sorted: sorted,
		times: perSeries[[]int64](portions), values: perSeries[[]float64](portions),
	}
}

func (l *samplesLoad) sql() (text string, args []any) {
	var a parameters
	if !l.sorted {
		return members(&a, samplesTable, l.portions, "ts, value"), a
	}
	return "SELECT number, ts, value FROM (" + members(&a, samplesTable, l.portions, "ts, value, gen, place") +
		") ORDER BY number, ts, gen, place", a
}

func (l *samplesLoad) add(chunk engine.Chunk) error {
	return l.eachSeries(chunk, func(times []int64, values []float64) error {
		into := &l.times[l.portion][l.index]
		before := len(*into)
		*into = append(*into, times...)
		if !l.inOrder((*into)[max(0, before-1):]) {
			return errDisorder
		}
		l.values[l.portion][l.index] = append(l.values[l.portion][l.index], values...)
		return nil
	})
}

// inOrder reports whether times are as they should be. Of samples of one time only sorting tells the
// order.
func (l *samplesLoad) inOrder(times []int64) bool {
	for i := 1; i < len(times); i++ {
		if times[i] < times[i-1] || times[i] == times[i-1] && !l.sorted {
			return false
		}
	}
	return true
}

// blocks returns, for a portion, what was read, window by window.
func (l *samplesLoad) blocks(i int, windows []window) []*warm.Block[warm.Column] {
	return cutBlocks(&l.portions[i], windows, func(k int, s span) warm.Column {
		times := l.times[i][k]
		lo := sort.Search(len(times), func(j int) bool { return times[j] >= s.from })
		hi := lo + sort.Search(len(times)-lo, func(j int) bool { return times[lo+j] > s.to })
		return warm.NewColumn(times[lo:hi], slices.Clone(l.values[i][k][lo:hi]))
	})
}

// loadSamples reads the samples of portions.
func (s *Store) loadSamples(ctx context.Context, portions []portion) (*samplesLoad, error) {
	load := newSamplesLoad(portions, manyRuns(portions))
	err := s.run(ctx, portions, load)
	if errors.Is(err, errDisorder) && !load.sorted {
		load = newSamplesLoad(portions, true)
		err = s.run(ctx, portions, load)
	}
	return load, err
}

// manyRuns reports whether rows of several runs have to be brought together.
func manyRuns(portions []portion) bool {
	for i := range portions {
		e := portions[i].extent
		for _, s := range portions[i].spans {
			if runs, windows := e.runsIn(s), len(e.overlapping(s)); runs > windows {
				return true
			}
		}
	}
	return false
}
