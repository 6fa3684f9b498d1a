package duckdb

import (
	"context"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
)

// sampleBytes is what a sample takes at most while it is read: DuckDB's result (number, time, value), the
// rows as they come, and the column that is made of them.
const sampleBytes = 3*8 + 2*16 + 16

// wanted collects blocks for portions: those that the cache has, and what is missing.
type wanted[T warm.Content] struct {
	windows [][]window         // by portion
	blocks  [][]*warm.Block[T] // by portion and window; nil where missing
	missing int
}

// want looks portions' windows up in the cache.
func want[T warm.Content](s *Store, portions []portion) *wanted[T] {
	w := &wanted[T]{windows: make([][]window, len(portions)), blocks: make([][]*warm.Block[T], len(portions))}
	for i := range portions {
		p := &portions[i]
		w.windows[i] = p.windows()
		w.blocks[i] = make([]*warm.Block[T], len(w.windows[i]))
		for k, win := range w.windows[i] {
			if w.blocks[i][k] = warm.Get[T](s.cache, s.key(&p.source, win), p.ids, p.sees(win)); w.blocks[i][k] == nil {
				w.missing++
			}
		}
	}
	return w
}

// windows returns the windows of the file that the portion's spans touch, ascending.
func (p *portion) windows() []window {
	if len(p.spans) == 1 {
		return p.extent.overlapping(p.spans[0])
	}
	var all []window
	for _, s := range p.spans {
		for _, w := range p.extent.overlapping(s) {
			if n := len(all); n == 0 || all[n-1] != w {
				all = append(all, w)
			}
		}
	}
	return all
}

// gaps returns the portions with something missing, their spans from the first such window to the last,
// and which of w's they are.
func (w *wanted[T]) gaps(portions []portion) (gaps []portion, of []int) {
	for i := range portions {
		first, last := -1, -1
		for k, b := range w.blocks[i] {
			if b == nil {
				if first < 0 {
					first = k
				}
				last = k
			}
		}
		if first < 0 {
			continue
		}
		gap := portions[i]
		gap.spans = []span{{from: w.windows[i][first].span().from, to: w.windows[i][last].span().to}}
		gaps, of = append(gaps, gap), append(of, i)
	}
	return gaps, of
}

// fill takes the blocks that were read for the i-th portion, of windows of its own, and has the cache
// keep them.
func (w *wanted[T]) fill(s *Store, p *portion, i int, windows []window, blocks []*warm.Block[T]) error {
	if !p.replica.rewrites.unchanged(p.rewrites) {
		return errRewritten
	}
	for k, win := range windows {
		warm.Put(s.cache, s.key(&p.source, win), blocks[k], p.sees(win))
		for j := range w.windows[i] {
			if w.windows[i][j] == win {
				w.blocks[i][j] = blocks[k]
			}
		}
	}
	return nil
}

// hours returns the hours of portions, by portion and window, or nil where those are too many to keep.
func (s *Store) hours(ctx context.Context, portions []portion) ([][]*warm.Block[warm.Hours], error) {
	w := want[warm.Hours](s, portions)
	if w.missing == 0 {
		return w.blocks, nil
	}
	gaps, of := w.gaps(portions)
	bytes := int64(0)
	for i := range gaps {
		bytes += gaps[i].hoursMax() * (hourRowBytes + 2*warm.HourBytes)
	}
	release, ok := s.cache.Reserve(bytes)
	if !ok {
		return nil, nil
	}
	defer release()
	load := newHoursLoad(gaps)
	if err := s.run(ctx, gaps, load); err != nil {
		return nil, err
	}
	for i := range gaps {
		windows := gaps[i].windows()
		if err := w.fill(s, &gaps[i], of[i], windows, load.blocks(i, windows)); err != nil {
			return nil, err
		}
	}
	return w.blocks, nil
}

// hourRowBytes is what a row of hoursLoad takes in DuckDB's result.
const hourRowBytes = 7 * 8

// hoursMax bounds how many hours the portion's windows hold, and what blocks take for series without.
func (p *portion) hoursMax() (n int64) {
	series := int64(len(p.ids))
	for _, w := range p.windows() {
		n += min(24*w.days*series, p.extent.rowsIn(w)) + series*int64(unsafe.Sizeof(warm.Hours{}))/warm.HourBytes + 1
	}
	return n
}

// samples returns the samples of portions, by portion and window, or nil where they are not asked for
// often enough, or too many, to keep.
func (s *Store) samples(ctx context.Context, portions []portion) ([][]*warm.Block[warm.Column], error) {
	w := want[warm.Column](s, portions)
	if w.missing == 0 {
		return w.blocks, nil
	}
	gaps, of := w.gaps(portions)
	if s.options.CacheBytesMax == 0 || !s.again(gaps) {
		return nil, nil
	}
	counts, err := s.count(ctx, gaps)
	if err != nil {
		return nil, err
	}
	bytes := int64(0)
	for i := range gaps {
		bytes += total(counts[i])*16 + int64(len(gaps[i].ids)*len(gaps[i].windows()))*int64(unsafe.Sizeof(warm.Column{}))
	}
	if bytes > s.options.CacheBytesMax/4*3 {
		return nil, nil // What is read last would push out what was read first.
	}
	for i := range gaps {
		if ok, err := s.fetch(ctx, w, &gaps[i], of[i], total(counts[i])); err != nil || !ok {
			return nil, err
		}
	}
	return w.blocks, nil
}

// again reports whether all that is missing was asked for before.
func (s *Store) again(gaps []portion) bool {
	again := true
	for i := range gaps {
		for _, w := range gaps[i].windows() {
			again = s.cache.Touched(s.key(&gaps[i].source, w)) && again
		}
	}
	return again
}

// fetch reads the samples of a gap, as many windows at a time as there is room for; not ok without room
// for one.
func (s *Store) fetch(ctx context.Context, w *wanted[warm.Column], gap *portion, i int, count int64) (ok bool, err error) {
	windows := gap.windows()
	for step := len(windows); len(windows) > 0; {
		step = min(step, len(windows))
		bytes := count * sampleBytes * int64(step) / int64(len(gap.windows()))
		release, ok := s.cache.Reserve(bytes)
		if !ok {
			if step == 1 {
				return false, nil
			}
			step = (step + 1) / 2
			continue
		}
		part := *gap
		part.spans = []span{{from: windows[0].span().from, to: windows[step-1].span().to}}
		err := func() error {
			defer release()
			load, err := s.loadSamples(ctx, []portion{part})
			if err != nil {
				return err
			}
			return w.fill(s, &part, i, windows[:step], load.blocks(0, windows[:step]))
		}()
		if err != nil {
			return false, err
		}
		windows = windows[step:]
	}
	return true, nil
}

// count returns how many samples the hours that portions touch have, by portion and series.
func (s *Store) count(ctx context.Context, portions []portion) ([][]int64, error) {
	c := newCounting(portions)
	err := s.run(ctx, portions, c)
	return c.counts, err
}

func total(counts []int64) (sum int64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}
