package shard_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew; only for a new shard.MapVersion")

func mustMap(t interface{ Fatalf(string, ...any) }, count, spread int) shard.Map {
	m, err := shard.NewMap(count, spread)
	if err != nil {
		t.Fatalf("NewMap(%d, %d): %v", count, spread, err)
	}
	return m
}

func mustSeries(t interface{ Fatalf(string, ...any) }, key string) metric.Series {
	s, err := metric.ParseSeriesKey(key)
	if err != nil {
		t.Fatalf("ParseSeriesKey(%q): %v", key, err)
	}
	return s
}

// TestPlacementsAreForEver pins where series live: a change would lose every stored series.
func TestPlacementsAreForEver(t *testing.T) {
	keys := []string{
		`cpu`, `mem`, `a`, `řeka`, `a\{b\}`, `cpu{host="a"}`, `cpu{host="b"}`, `cpu{host="a",zone="x"}`,
		`http_requests_total{code="200",method="GET",path="/"}`, `http_requests_total{code="500",method="GET",path="/"}`,
		`long{text="` + strings.Repeat("0123456789", 80) + `"}`,
	}
	for i := range 20 {
		keys = append(keys, fmt.Sprintf(`disk_used_bytes{host="host-%02d"}`, i))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version %d\n", shard.MapVersion)
	for _, size := range [][2]int{{1, 1}, {8, 8}, {64, 8}, {4096, 16}, {7, 3}} {
		m := mustMap(t, size[0], size[1])
		for _, key := range keys {
			s := mustSeries(t, key)
			fmt.Fprintf(&b, "%d/%d %d %v %.40s\n", m.Count(), m.Spread(), m.Of(s), m.OfMetric(s.Name())[0], key)
		}
	}
	for _, hash := range []uint64{0, 9, 1<<64 - 1} {
		fmt.Fprintf(&b, "key %d in 8 %d\n", hash, mustMap(t, 8, 8).OfKey(hash))
	}
	const golden = "testdata/placements.golden"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("placements differ from %s; got:\n%s", golden, b.String())
	}
}

func TestMetricFindsItsSeries(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := mustMap(r, rapid.IntRange(1, shard.CountMax).Draw(r, "count"), rapid.IntRange(1, 5000).Draw(r, "spread"))
		s := mustSeries(r, fmt.Sprintf(`m%d{h="%d"}`, rapid.Int64().Draw(r, "name"), rapid.Int64().Draw(r, "tag")))
		ids := m.OfMetric(s.Name())
		if !slices.Contains(ids, m.Of(s)) {
			r.Fatalf("series in shard %d, its metric in %v", m.Of(s), ids)
		}
		seen := slices.Compact(slices.Sorted(slices.Values(ids)))
		if len(ids) != m.Spread() || len(seen) != len(ids) || int(seen[len(seen)-1]) >= m.Count() {
			r.Fatalf("shards %v, want %d distinct ones below %d", ids, m.Spread(), m.Count())
		}
		if home := m.OfKey(s.KeyHash()); int(home) >= m.Count() {
			r.Fatalf("home shard %d of %d", home, m.Count())
		}
	})
}

func TestPlacementIsEven(t *testing.T) {
	m := mustMap(t, 16, 8)
	perShard := make([]int, m.Count())
	const metrics, tags = 100, 100
	for i := range metrics {
		for j := range tags {
			perShard[m.Of(mustSeries(t, fmt.Sprintf(`metric_%d{host="host-%d"}`, i, j)))]++
		}
	}
	for id, n := range perShard { // 625 a shard on average; metrics are spread over half of the shards.
		if n < 350 || n > 950 {
			t.Errorf("shard %d holds %d of %d series", id, n, metrics*tags)
		}
	}
}

func TestNewMapRefuses(t *testing.T) {
	for _, bad := range [][2]int{{0, 1}, {-1, 1}, {shard.CountMax + 1, 1}, {8, 0}, {8, -1}} {
		if _, err := shard.NewMap(bad[0], bad[1]); err == nil {
			t.Errorf("NewMap(%d, %d) was built", bad[0], bad[1])
		}
	}
	if m := mustMap(t, 3, 8); m.Spread() != 3 || m.Count() != 3 || !slices.Equal(m.All(), []shard.ID{0, 1, 2}) {
		t.Errorf("map of 3 shards has spread %d and shards %v", m.Spread(), m.All())
	}
	if text := shard.ID(42).String(); text != "42" {
		t.Errorf("ID(42) prints %q", text)
	}
}
