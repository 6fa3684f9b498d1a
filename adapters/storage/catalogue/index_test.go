package catalogue_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

var (
	anyKey     = rapid.SampledFrom([]string{"host", "rack", "zone", "none"})
	anyTag     = rapid.Map(rapid.IntRange(0, 12), func(i int) string { return fmt.Sprint("v", i) })
	anyPattern = rapid.SampledFrom([]string{"v1.*", "v[0-5]", ".*", ".+", "", "none", "v1|"})
)

func anySelection(r *rapid.T) metric.Matchers {
	type id struct {
		key string
		op  metric.MatcherOp
	}
	byID := map[id]metric.Matcher{}
	for range rapid.IntRange(1, 4).Draw(r, "matchers") {
		m := metric.Matcher{Key: anyKey.Draw(r, "key"), Op: metric.MatcherOp(rapid.Uint8Range(1, 3).Draw(r, "op"))}
		if m.Op == metric.MatchPattern {
			m.Values = []string{anyPattern.Draw(r, "pattern")}
		} else {
			m.Values = rapid.SliceOfN(anyTag, 1, 4).Draw(r, "values")
		}
		byID[id{m.Key, m.Op}] = m
	}
	var list []metric.Matcher
	for _, m := range byID {
		list = append(list, m)
	}
	m, err := metric.NewSelection(list)
	if err != nil {
		r.Fatalf("NewSelection(%v): %v", list, err)
	}
	return m
}

// TestIndexEqualsMatching asks while the metric grows: past the least size, past what an index leaves
// to be matched, and for a past that is shorter than what the index covers.
func TestIndexEqualsMatching(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := catalogue.New(0)
		unique := 0
		for range rapid.IntRange(1, 4).Draw(r, "rounds") {
			grow := rapid.SampledFrom([]int{1, 50, 100, 1500}).Draw(r, "grow")
			modulus := rapid.IntRange(1, 13).Draw(r, "modulus")
			var keys []string
			for range grow {
				unique++
				switch unique % 4 {
				case 0:
					keys = append(keys, fmt.Sprintf(`m{host="v%d",n="%d"}`, unique%modulus, unique))
				case 1:
					keys = append(keys, fmt.Sprintf(`m{n="%d",rack="v%d"}`, unique, unique%modulus))
				default:
					keys = append(keys, fmt.Sprintf(`m{host="v%d",n="%d",zone="v%d"}`, unique%modulus, unique, unique%7))
				}
			}
			p, err := c.Prepare(keys, nil, nil)
			if err != nil {
				r.Fatalf("Prepare: %v", err)
			}
			c.Define(p)
			id, series, _ := c.Metric(metricName(r, "m"))
			for range 3 {
				m := anySelection(r)
				ids := series[:rapid.SampledFrom([]int{len(series), len(series), len(series) / 2}).Draw(r, "series")]
				var want []catalogue.SeriesID
				for _, id := range ids {
					if s, _ := c.Series().At(id); m.Match(s.Tags()) {
						want = append(want, id)
					}
				}
				if got := c.Index(id).Select(c.Series(), ids, m); !slices.Equal(got, want) {
					r.Fatalf("of %d series Select(%v)=%v, want %v", len(ids), m.List(), got, want)
				}
			}
		}
	})
}

func metricName(r *rapid.T, text string) metric.Name {
	n, err := metric.NewName(text)
	if err != nil {
		r.Fatalf("NewName: %v", err)
	}
	return n
}

// BenchmarkIndex measures building an index of 100,000 series with three tags, and asking it.
func BenchmarkIndex(b *testing.B) {
	c := catalogue.New(0)
	var keys []string
	for i := range 100_000 {
		keys = append(keys, fmt.Sprintf(`m{host="host-%06d",rack="r%03d",region="eu-%d"}`, i, i%500, i%5))
	}
	p, err := c.Prepare(keys, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	c.Define(p)
	list := c.Series()
	ids := make([]catalogue.SeriesID, list.Len())
	for i := range ids {
		ids[i] = catalogue.SeriesID(i)
	}
	b.Run("build", func(b *testing.B) {
		m := selection(b, metric.Matcher{Key: "host", Op: metric.MatchAnyOf, Values: []string{"host-000007"}})
		for b.Loop() {
			(&catalogue.Index{}).Select(list, ids, m)
		}
	})
	index := &catalogue.Index{}
	for name, m := range map[string]metric.Matcher{
		"one":     {Key: "host", Op: metric.MatchAnyOf, Values: []string{"host-000007"}},
		"region":  {Key: "region", Op: metric.MatchAnyOf, Values: []string{"eu-1"}},
		"not":     {Key: "rack", Op: metric.MatchNoneOf, Values: []string{"r001"}},
		"pattern": {Key: "rack", Op: metric.MatchPattern, Values: []string{"r0[0-4].*"}},
	} {
		b.Run(name, func(b *testing.B) {
			selected := 0
			for b.Loop() {
				selected = len(index.Select(list, ids, selection(b, m)))
			}
			b.ReportMetric(float64(selected), "series")
		})
	}
}

func selection(b *testing.B, list ...metric.Matcher) metric.Matchers {
	b.Helper()
	m, err := metric.NewSelection(list)
	if err != nil {
		b.Fatal(err)
	}
	return m
}
