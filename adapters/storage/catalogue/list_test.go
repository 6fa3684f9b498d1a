package catalogue_test

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// anySeries draws series that share names, tags and sets of tags, and texts that keys escape.
var anySeries = rapid.Custom(func(r *rapid.T) metric.Series {
	text := rapid.SampledFrom([]string{"a", "a!", `a"b`, `{`, "b", strings.Repeat("long", 500)})
	var list []metric.Tag
	for key := range rapid.MapOfN(text, rapid.Bool(), 0, 3).Draw(r, "keys") {
		list = append(list, metric.Tag{Key: key[:min(len(key), metric.TagKeyBytesMax)], Value: text.Draw(r, "value")})
	}
	tags, err := metric.NewTags(list)
	if err != nil {
		r.Fatalf("NewTags: %v", err)
	}
	series, err := metric.NewSeries(metricName(r, rapid.SampledFrom([]string{"a", "a!", `a{`, "b"}).Draw(r, "name")), tags)
	if err != nil {
		r.Fatalf("NewSeries: %v", err)
	}
	return series
})

// TestListHasWhatWasDefined looks at series in every way that there is, in lists of long ago as well.
func TestListHasWhatWasDefined(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := catalogue.New(0)
		var want []metric.Series
		known := map[string]bool{}
		lists := []catalogue.List{c.Series(), {}}
		for range rapid.IntRange(1, 4).Draw(r, "batches") {
			var keys []string
			for _, s := range rapid.SliceOfNDistinct(anySeries, 0, 20, metric.Series.Key).Draw(r, "batch") {
				keys = append(keys, s.Key())
				if !known[s.Key()] {
					known[s.Key()] = true
					want = append(want, s)
				}
			}
			p, err := c.Prepare(keys, nil, nil)
			if err != nil {
				r.Fatalf("Prepare: %v", err)
			}
			c.Define(p)
			for i, key := range keys {
				if got := want[p.IDs()[i]].Key(); got != key {
					r.Fatalf("%s has the number of %s", key, got)
				}
			}
			lists = append(lists, c.Series())
		}
		for _, list := range lists {
			checkList(r, list, want[:list.Len()])
		}
		if last := lists[len(lists)-1]; last.Len() != len(want) {
			r.Fatalf("%d series, want %d", last.Len(), len(want))
		}
	})
}

func checkList(r *rapid.T, list catalogue.List, want []metric.Series) {
	var parts catalogue.Parts
	for id, s := range want {
		id := catalogue.SeriesID(id)
		got, m := list.At(id)
		if got.Key() != s.Key() || got.Name() != s.Name() || !slices.Equal(got.Tags().All(), s.Tags().All()) {
			r.Fatalf("At(%d)=%s, want %s", id, got.Key(), s.Key())
		}
		if list.MetricOf(id) != m || list.Name(m) != s.Name() {
			r.Fatalf("series %d of metrics %d and %d, %s, want %s", id, m, list.MetricOf(id), list.Name(m), s.Name())
		}
		if tags := list.Tags(id, &parts); !slices.Equal(tags.All(), s.Tags().All()) {
			r.Fatalf("Tags(%d)=%v, want %v", id, tags.All(), s.Tags().All())
		}
		if key := list.AppendKey([]byte("x"), id); string(key) != "x"+s.Key() {
			r.Fatalf("AppendKey(%d)=%s, want x%s", id, key, s.Key())
		}
		other := catalogue.SeriesID(rapid.IntRange(0, len(want)-1).Draw(r, "other"))
		if got, want := list.CompareKeys(id, other), cmp.Compare(s.Key(), want[other].Key()); got != want {
			r.Fatalf("CompareKeys(%d, %d)=%d, want %d", id, other, got, want)
		}
	}
}

// TestListsStayWhileSeriesCome reads lists on other goroutines; the race detector watches.
func TestListsStayWhileSeriesCome(t *testing.T) {
	c := catalogue.New(0)
	var readers sync.WaitGroup
	for batch := range 40 {
		var keys []string
		for i := range 50 {
			keys = append(keys, fmt.Sprintf(`m%d{host="%d",zone="%d"}`, i%3, batch*50+i, i%7))
		}
		define(t, c, keys...)
		list := c.Series()
		m, _, _ := c.Metric(name(t, "m0"))
		_, series, _ := c.Metric(name(t, "m0"))
		index := c.Index(m)
		readers.Go(func() {
			var parts catalogue.Parts
			for id := range catalogue.SeriesID(list.Len()) {
				if host, _ := list.Tags(id, &parts).Get("host"); host != fmt.Sprint(id) {
					t.Errorf("series %d has host %s", id, host)
				}
			}
			zone := metric.Matcher{Key: "zone", Op: metric.MatchAnyOf, Values: []string{"3"}}
			matchers, err := metric.NewSelection([]metric.Matcher{zone})
			if err != nil {
				t.Error(err)
			}
			for _, id := range index.Select(list, series, matchers) {
				if zone, _ := list.Tags(id, &parts).Get("zone"); zone != "3" {
					t.Errorf("series %d has zone %s", id, zone)
				}
			}
		})
	}
	readers.Wait()
}

// BenchmarkVisit measures looking at the tags and at the key of a series, and putting it together.
func BenchmarkVisit(b *testing.B) {
	const n = 100_000
	c := catalogue.New(0)
	defineAll(b, c, shapes["hosts"], n)
	list := c.Series()
	for what, visit := range map[string]func(id catalogue.SeriesID, parts *catalogue.Parts, key []byte) []byte{
		"tags": func(id catalogue.SeriesID, parts *catalogue.Parts, key []byte) []byte {
			list.Tags(id, parts)
			return key
		},
		"key": func(id catalogue.SeriesID, _ *catalogue.Parts, key []byte) []byte { return list.AppendKey(key[:0], id) },
		"compare": func(id catalogue.SeriesID, _ *catalogue.Parts, key []byte) []byte {
			list.CompareKeys(id, n-1-id)
			return key
		},
		"series": func(id catalogue.SeriesID, _ *catalogue.Parts, key []byte) []byte { list.At(id); return key },
	} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			var parts catalogue.Parts
			var key []byte
			for b.Loop() {
				for id := range catalogue.SeriesID(n) {
					key = visit(id, &parts, key)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/series")
		})
	}
}

// shapes are keys of the i-th series.
var shapes = map[string]func(i int) string{
	"hosts": func(i int) string { // 10 metrics of each host, as servers are watched
		return fmt.Sprintf(`cpu_usage_%d{host="host-%07d",rack="rack-%03d",region="eu-west-%d"}`, i%10, i/10, i/10%500, i/10%3)
	},
	"unique": func(i int) string { // no two series share a set of tags
		return fmt.Sprintf(`http_requests_total{host="host-%07d",method="GET",region="eu-west-1"}`, i)
	},
	"metrics": func(i int) string { return fmt.Sprintf(`metric_with_a_name_of_its_own_%07d`, i) },
}

func defineAll(tb testing.TB, c *catalogue.Catalogue, key func(i int) string, n int) {
	tb.Helper()
	const perBatch = 5000
	var plan *catalogue.Plan
	for first := 0; first < n; first += perBatch {
		keys := make([]string, perBatch)
		for i := range keys {
			keys[i] = key(first + i)
		}
		var err error
		if plan, err = c.Prepare(keys, nil, plan); err != nil {
			tb.Fatal(err)
		}
		c.Define(plan)
	}
}

// BenchmarkBytes compares what a series takes of the heap, before and after it is indexed, with the estimate: a
// million series in 8 catalogues.
func BenchmarkBytes(b *testing.B) {
	const shards, n = 8, 125_000
	host := selection(b, metric.Matcher{Key: "host", Op: metric.MatchAnyOf, Values: []string{"host-0000007"}})
	for shape, key := range shapes {
		b.Run(shape, func(b *testing.B) {
			for b.Loop() {
				before := heapBytes()
				all := make([]*catalogue.Catalogue, shards)
				estimated := int64(0)
				for s := range all {
					all[s] = catalogue.New(0)
					defineAll(b, all[s], func(i int) string { return key(s*n + i) }, n)
					estimated += all[s].Bytes()
				}
				b.ReportMetric(float64(heapBytes()-before)/(shards*n), "B/series")
				b.ReportMetric(float64(estimated)/(shards*n), "estimated-B/series")
				for _, c := range all {
					for id := range c.Series().Len() {
						c.Observe(catalogue.SeriesID(id), 0, 0)
					}
					for _, name := range c.LiveMetrics() {
						id, series, _ := c.Metric(name)
						c.Index(id).Select(c.Series(), series, host)
					}
				}
				b.ReportMetric(float64(heapBytes()-before)/(shards*n), "indexed-B/series")
				runtime.KeepAlive(all)
			}
		})
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
