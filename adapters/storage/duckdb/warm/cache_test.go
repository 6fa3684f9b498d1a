package warm_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
)

func is(v warm.Version) func(warm.Version) bool { return func(o warm.Version) bool { return o == v } }

// columnOf has n samples of one value.
func columnOf(n int, value float64) warm.Column {
	times, values := make([]int64, n), make([]float64, n)
	for i := range values {
		times[i], values[i] = int64(i), value
	}
	return warm.NewColumn(times, values)
}

func blockOf(v warm.Version, value float64, n int, ids ...catalogue.SeriesID) *warm.Block[warm.Column] {
	items := make([]warm.Column, len(ids))
	for i := range items {
		items[i] = columnOf(n, value)
	}
	return warm.NewBlock(v, ids, items, false)
}

// TestCacheAnswersWhatItWasTold draws puts and gets and compares with what was put last, under a limit
// that makes it evict.
func TestCacheAnswersWhatItWasTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(0, 40_000).Draw(t, "limit")
		c := warm.New(limit)
		type place struct {
			key  warm.Key
			id   catalogue.SeriesID
			kind warm.Version
		}
		told := map[place]float64{}
		version := map[warm.Key]warm.Version{}
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := warm.Key{Owner: 1, Metric: catalogue.MetricID(rapid.IntRange(0, 3).Draw(t, "metric"))}
			ids := rapid.SliceOfNDistinct(rapid.Uint32Range(0, 5), 1, 4, rapid.ID).Draw(t, "ids")
			series := ascending(ids)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				version[key] = warm.Version{Generation: version[key].Generation + 1, Rewrites: uint64(step % 2)}
			case 1:
				v := version[key]
				warm.Put(c, key, blockOf(v, float64(step), rapid.IntRange(1, 200).Draw(t, "samples"), series...), is(v))
				for _, id := range series {
					told[place{key, id, v}] = float64(step)
				}
			default:
				b := warm.Get[warm.Column](c, key, series, is(version[key]))
				if b == nil {
					continue
				}
				cursor := b.Cursor()
				for _, id := range series {
					column, known := cursor.Find(id)
					if want := told[place{key, id, version[key]}]; !known || column.Values()[0] != want {
						t.Fatalf("series %d of %v: known=%v %v, want %v", id, key, known, column, want)
					}
				}
			}
			if got := c.Stats().Bytes; got > limit {
				t.Fatalf("%d bytes, more than %d", got, limit)
			}
		}
	})
}

func ascending(ids []uint32) (series []catalogue.SeriesID) {
	for id := range catalogue.SeriesID(6) {
		for _, other := range ids {
			if uint32(id) == other {
				series = append(series, id)
			}
		}
	}
	return series
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	block := func() *warm.Block[warm.Column] { return blockOf(warm.Version{}, 1, 100, 0) }
	c := warm.New(block().Bytes() * 5)
	key := func(day int64) warm.Key { return warm.Key{Owner: 1, Day: day} }
	for day := range int64(5) {
		warm.Put(c, key(day), block(), is(warm.Version{}))
	}
	ids := []catalogue.SeriesID{0}
	if warm.Get[warm.Column](c, key(0), ids, is(warm.Version{})) == nil {
		t.Fatal("the first block is gone though all fit")
	}
	warm.Put(c, key(5), block(), is(warm.Version{}))
	for day, want := range map[int64]bool{0: true, 1: false, 2: true, 5: true} {
		if got := warm.Get[warm.Column](c, key(day), ids, is(warm.Version{})) != nil; got != want {
			t.Errorf("block %d kept=%v, want %v", day, got, want)
		}
	}
	if s := c.Stats(); s.Evictions != 1 || s.Hits != 4 || s.Misses != 1 {
		t.Errorf("stats=%+v, want 1 eviction, 4 hits, 1 miss", s)
	}
}

func TestReserve(t *testing.T) {
	c := warm.New(4000)
	if _, ok := c.Reserve(1001); ok {
		t.Error("more than a share was reserved")
	}
	release, ok := c.Reserve(1000)
	if !ok {
		t.Fatal("a share was refused")
	}
	if _, again := c.Reserve(1); again {
		t.Error("more than a share was reserved in all")
	}
	release()
	if _, ok := c.Reserve(1); !ok {
		t.Error("what was released is not there")
	}
}

func TestTouchedTheSecondTime(t *testing.T) {
	c := warm.New(1)
	if c.Touched(warm.Key{Day: 1}) || !c.Touched(warm.Key{Day: 1}) || c.Touched(warm.Key{Day: 2}) {
		t.Error("Touched is not false, true, false")
	}
}
