package seriescache

import (
	"fmt"
	"sync"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func series(tb testing.TB, text string) metric.Series {
	tb.Helper()
	name, err := metric.NewName(text)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := metric.NewSeries(name, metric.Tags{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestCacheStaysWithinItsBounds(t *testing.T) {
	const entriesMax = 1024
	c, err := New(Config{EntriesMax: entriesMax})
	if err != nil {
		t.Fatal(err)
	}
	used := series(t, "used")
	for i := range 100 * entriesMax {
		c.Put([]byte("used"), used)
		c.Put(fmt.Appendf(nil, "m%d", i), series(t, fmt.Sprintf("m%d", i)))
		if got, ok := c.Get([]byte("used")); !ok || got != used {
			t.Fatalf("after %d entries the one in use is %v, %v", i, got, ok)
		}
		if i%1000 == 0 && c.Len() > entriesMax {
			t.Fatalf("Len = %d, want at most %d", c.Len(), entriesMax)
		}
	}
	if c.Len() < entriesMax/4 {
		t.Fatalf("Len = %d: the cache throws away too much", c.Len())
	}
}

func TestCacheStaysWithinItsBytes(t *testing.T) {
	const bytesMax = 4 * shardCount * entryOverheadBytes
	c, err := New(Config{BytesMax: bytesMax})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		c.Put(fmt.Appendf(nil, "m%d", i), series(t, "m"))
	}
	if n := int64(c.Len()) * entryOverheadBytes; n == 0 || n > bytesMax {
		t.Fatalf("%d entries, want some, of at most %d bytes", c.Len(), bytesMax)
	}
	long := make([]byte, bytesMax)
	c.Put(long, series(t, "m"))
	if _, ok := c.Get(long); ok {
		t.Fatal("a spelling longer than the cache was kept")
	}
}

func TestNewRefusesBoundsWithoutRoom(t *testing.T) {
	for _, config := range []Config{{EntriesMax: 1}, {BytesMax: 1}} {
		if _, err := New(config); err == nil {
			t.Fatalf("New(%+v) succeeded", config)
		}
	}
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c, err := New(Config{EntriesMax: 256})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]metric.Series, 1000)
	for i := range all {
		all[i] = series(t, fmt.Sprintf("m%d", i))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, s := range all {
				spelling := fmt.Appendf(nil, "m%d", i)
				c.Put(spelling, s)
				if got, ok := c.Get(spelling); ok && got != s {
					t.Errorf("Get(%s) = %s", spelling, got.Key())
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	c, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	spelling := []byte(`cpu_usage"{"host":"host-17","region":"eu-west-1"}`)
	c.Put(spelling, series(b, "m"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Get(spelling); !ok {
			b.Fatal("gone")
		}
	}
}

func TestReplacePutsOneInThePlaceOfAnother(t *testing.T) {
	c, err := NewOf(Config{BytesMax: 4 * shardCount * entryOverheadBytes}, func(bytes int) int { return bytes })
	if err != nil {
		t.Fatal(err)
	}
	spelling := []byte("a")
	c.Put(spelling, 1)
	c.Put(spelling, 2)
	if got, ok := c.Get(spelling); got != 1 || !ok {
		t.Errorf("after another Put: %d, %v", got, ok)
	}
	for i := range 10_000 { // as often as fills every bound, were the bytes of what is replaced counted on
		c.Replace(spelling, i%100)
	}
	if got, ok := c.GetHashed(c.Hash(spelling), spelling); got != 9_999%100 || !ok || c.Len() != 1 {
		t.Errorf("after Replace: %d, %v of %d", got, ok, c.Len())
	}
	c.Replace(spelling, 1<<30)
	if got, _ := c.Get(spelling); got != 9_999%100 {
		t.Errorf("what is too large was recorded: %d", got)
	}
}
