package duckdb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// TestCacheAnswersAlike does the same, at random, to stores with and without a cache, and compares every
// answer: new, late and repeated samples, flushes, deletions and merges must all reach what is kept.
func TestCacheAnswersAlike(t *testing.T) {
	for seed, kibibytes := range []int64{1024, 96, 24} {
		t.Run(fmt.Sprintf("seed %d, %d KiB", seed, kibibytes), func(t *testing.T) {
			p := newTwins(t, uint64(seed), kibibytes<<10)
			for range 400 {
				p.step(t)
			}
			s := p.stores[0].CacheStats()
			t.Logf("%+v", s)
			if s.Hits == 0 || s.Bytes > kibibytes<<10 {
				t.Errorf("stats=%+v, want hits, and no more bytes than allowed", s)
			}
		})
	}
}

// twins are two stores that hold the same. The first has a cache, the second none.
type twins struct {
	random *rand.Rand
	stores [2]*duckdb.Store
	index  uint64
	specs  []aggregate.QuerySpec
}

func newTwins(t *testing.T, seed uint64, bytes int64) *twins {
	t.Helper()
	p := &twins{random: rand.New(rand.NewPCG(seed, 7))}
	for i, bytes := range []int64{bytes, -1} {
		p.stores[i] = start(t, newNode(t, duckdb.Options{CacheBytesMax: bytes}))
		open(t, p.stores[i], 0)
	}
	for m := range 2 {
		name, err := metric.NewName(fmt.Sprint("m", m))
		if err != nil {
			t.Fatal(err)
		}
		over, err := aggregate.NewWhere(aggregate.Greater, 40)
		if err != nil {
			t.Fatal(err)
		}
		one, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: "1"}})
		if err != nil {
			t.Fatal(err)
		}
		from, to := metric.Timestamp(3_000_000_000), metric.Timestamp(100_000_000_000)
		middle, err := aggregate.NewRange(&from, &to)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range []aggregate.QuerySpec{
			{},
			{Window: window(t, "1h")},
			{Window: window(t, "7m")},
			{GroupBy: []string{"host"}},
			{Matchers: one},
			{Where: over},
			{Range: middle},
			{Range: middle, Window: window(t, "1d"), GroupBy: []string{"host"}},
			{Matchers: one, Range: middle, Where: over},
			{Detail: aggregate.DetailEnds | aggregate.DetailSteps | aggregate.DetailSpread, Window: window(t, "1h")},
			{Detail: aggregate.DetailSteps, Range: middle, GroupBy: []string{"host"}},
		} {
			spec.Metric = name
			p.specs = append(p.specs, spec)
		}
	}
	return p
}

func window(t *testing.T, text string) aggregate.Window {
	t.Helper()
	w, err := aggregate.ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (p *twins) step(t *testing.T) {
	t.Helper()
	p.index++
	switch p.random.IntN(40) {
	case 0, 1:
		c := p.columns()
		p.each(t, func(s *duckdb.Store) error { return s.Append(t.Context(), 0, c) })
	case 2:
		p.each(t, func(s *duckdb.Store) error {
			s.Cut(0, outbound.AppliedState{Index: p.index})
			_, err := s.Flush(t.Context(), 0)
			return err
		})
	case 3:
		if p.random.IntN(4) == 0 {
			p.remove(t)
		}
	case 4:
		if p.random.IntN(4) == 0 {
			p.each(t, func(s *duckdb.Store) (err error) {
				for more := true; more && err == nil; {
					more, err = s.Merge(t.Context(), 0, true)
				}
				return err
			})
		}
	default:
		p.compare(t, p.specs[p.random.IntN(len(p.specs))])
	}
}

func (p *twins) each(t *testing.T, do func(*duckdb.Store) error) {
	t.Helper()
	for _, s := range p.stores {
		if err := do(s); err != nil {
			t.Fatal(err)
		}
	}
}

// columns makes samples of a few series in three days, at few instants, so that some fall together.
func (p *twins) columns() outbound.Columns {
	c := outbound.Columns{Replace: p.random.IntN(2) == 0}
	for i := range 8 {
		c.Keys = append(c.Keys, fmt.Sprintf(`m%d{host="%d"}`, i%2, i/2))
	}
	for range 1 + p.random.IntN(300) {
		c.Series = append(c.Series, p.random.Uint32N(8))
		c.Timestamps = append(c.Timestamps, p.random.Int64N(3*24*12)*300_000_000)
		c.Values = append(c.Values, float64(p.random.IntN(100)))
	}
	return c
}

func (p *twins) remove(t *testing.T) {
	t.Helper()
	from := metric.Timestamp(p.random.Int64N(3*24) * 3_600_000_000)
	to := from + metric.Timestamp(p.random.Int64N(10_000_000_000))
	span, err := aggregate.NewRange(&from, &to)
	if err != nil {
		t.Fatal(err)
	}
	d := outbound.Deletion{Metric: p.specs[p.random.IntN(len(p.specs))].Metric, Range: span}
	p.each(t, func(s *duckdb.Store) error {
		_, err := s.Delete(t.Context(), 0, d)
		return err
	})
}

func (p *twins) compare(t *testing.T, spec aggregate.QuerySpec) {
	t.Helper()
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		t.Fatal(err)
	}
	var tables [2]aggregate.Table
	for i, s := range p.stores {
		if tables[i], err = s.Partials(t.Context(), []shard.ID{0}, q); err != nil {
			t.Fatal(err)
		}
	}
	a, b := tables[0], tables[1]
	if len(a.Groups) != len(b.Groups) || a.SeriesKnown != b.SeriesKnown {
		t.Fatalf("%+v: %d groups, want %d", spec, len(a.Groups), len(b.Groups))
	}
	for i := range a.Groups {
		if len(a.Groups[i].Cells) != len(b.Groups[i].Cells) {
			t.Fatalf("%+v: %d cells, want %d", spec, len(a.Groups[i].Cells), len(b.Groups[i].Cells))
		}
		for j, c := range a.Groups[i].Cells {
			if want := b.Groups[i].Cells[j]; c.Start != want.Start || !alike(c.Partial, want.Partial) {
				t.Fatalf("%+v: %+v, want %+v", spec, c, want)
			}
		}
	}
}

// alike compares partials; sums are of integers, so exact.
func alike(a, b aggregate.Partial) bool {
	x, y := a.Parts(), b.Parts()
	if x != y {
		return false
	}
	d, e := a.Details(), b.Details()
	if (d.Ends == nil) != (e.Ends == nil) || d.Ends != nil && *d.Ends != *e.Ends || (d.Steps == nil) != (e.Steps == nil) {
		return false
	}
	if d.Steps == nil {
		return true
	}
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(a)) }
	return near(d.Steps.Increase.High, e.Steps.Increase.High) && near(d.Steps.Delta.High, e.Steps.Delta.High) &&
		near(d.Steps.Slope.High, e.Steps.Slope.High)
}
