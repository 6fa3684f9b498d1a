package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/nab"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// TestRicherQuestions asks about real metrics everything that section "richer questions" of the README
// names, before and after they are flushed and merged, and compares with naive computations.
func TestRicherQuestions(t *testing.T) {
	loaded, err := nab.Load(filepath.Join("..", "testdata", "nab"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir())
	c := connect(t, p)
	series := map[string]map[string]history{} // by metric and instance
	for _, s := range loaded {
		for i, body := range s.Batches(1500) {
			do(t, c, http.StatusCreated, http.MethodPost, "/metrics", body)
			if i == 1 {
				do(t, c, http.StatusOK, http.MethodPost, "/cluster/flush", "")
			}
		}
		if series[s.Metric] == nil {
			series[s.Metric] = map[string]history{}
		}
		for _, q := range s.Points {
			series[s.Metric][s.Instance] = append(series[s.Metric][s.Instance], point{at: q.At, value: q.Value})
		}
	}
	check := func() {
		for metric, instances := range series {
			compareRicher(t, c, metric, instances)
		}
		compareMetrics(t, c, series)
	}
	check()
	do(t, c, http.StatusOK, http.MethodPost, "/cluster/flush", "")
	check()
}

func compareRicher(t *testing.T, c *node.Client, metric string, instances map[string]history) {
	t.Helper()
	names := keysOf(instances)
	var all []history
	for _, name := range names {
		h := instances[name]
		all = append(all, h)
		var got node.Aggregate
		ask(t, c, &got, "metric", metric, "tag.instance", name, "agg", naiveFunctions)
		if d := differences(got.Aggregations, naive(h)); d != "" {
			t.Errorf("%s of %s: %s", metric, name, d)
		}
		compareDays(t, c, metric, name, h)
	}
	var got node.Aggregate
	ask(t, c, &got, "metric", metric, "agg", naiveFunctions)
	want := naive(all...)
	if d := differences(got.Aggregations, want); d != "" {
		t.Errorf("%s: %s", metric, d)
	}
	compareWhere(t, c, metric, all, want["p50"])
	compareRanking(t, c, metric, names, instances)
}

// compareDays asks for windows of a day inside a range that begins and ends within one.
func compareDays(t *testing.T, c *node.Client, metric, name string, h history) {
	t.Helper()
	points := h.sorted()
	from, to := points[len(points)/7].at.Add(7*time.Minute), points[len(points)*6/7].at.Add(time.Second)
	days := map[time.Time]history{}
	for _, p := range points {
		if !p.at.Before(from) && !p.at.After(to) {
			day := p.at.Truncate(24 * time.Hour)
			days[day] = append(days[day], p)
		}
	}
	var got node.Aggregate
	ask(
		t, c, &got, "metric", metric, "tag.instance", name, "agg", "count,min,max,first,last,stddev,p50", "window", "1d",
		"from", from.Format(time.RFC3339), "to", to.Format(time.RFC3339),
	)
	if len(got.Windows) != len(days) {
		t.Errorf("%s of %s: %d windows, want %d", metric, name, len(got.Windows), len(days))
	}
	for _, w := range got.Windows {
		if d := differences(w.Aggregations, naive(days[w.Start.UTC()])); d != "" {
			t.Errorf("%s of %s on %v: %s", metric, name, w.Start, d)
		}
	}
}

// compareWhere keeps the samples on either side of a value.
func compareWhere(t *testing.T, c *node.Client, metric string, all []history, middle float64) {
	t.Helper()
	for condition, passes := range map[string]func(float64) bool{
		">":  func(v float64) bool { return v > middle },
		"<=": func(v float64) bool { return v <= middle },
		"==": func(v float64) bool { return v == middle },
		"!=": func(v float64) bool { return v != middle },
	} {
		var kept []history
		for _, h := range all {
			kept = append(kept, slices.DeleteFunc(slices.Clone(h), func(p point) bool { return !passes(p.value) }))
		}
		var got node.Aggregate
		where := fmt.Sprintf("value%s%v", condition, middle)
		ask(t, c, &got, "metric", metric, "where", where, "agg", "count,min,max,first,last,p50")
		if d := differences(got.Aggregations, naive(kept...)); d != "" {
			t.Errorf("%s where %s: %s", metric, where, d)
		}
	}
}

// compareRanking asks for the greatest and the least group, by exclusion too.
func compareRanking(t *testing.T, c *node.Client, metric string, names []string, instances map[string]history) {
	t.Helper()
	byMax := slices.Clone(names)
	slices.SortStableFunc(byMax, func(a, b string) int {
		x, y := naive(instances[a])["max"], naive(instances[b])["max"]
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(a, b)
	})
	f := func(want string, query ...string) {
		t.Helper()
		var got struct {
			Groups []struct {
				Tags         map[string]string
				Aggregations node.Aggregations
			}
		}
		query = append([]string{"metric", metric, "agg", "max,count", "group_by", "instance"}, query...)
		if err := c.Get(t.Context(), "/aggregate", &got, query...); err != nil {
			t.Fatal(err)
		}
		if len(got.Groups) != 1 || got.Groups[0].Tags["instance"] != want {
			t.Errorf("%v: groups %+v, want %s", query, got.Groups, want)
			return
		}
		if d := differences(got.Groups[0].Aggregations, naive(instances[want])); d != "" {
			t.Errorf("%v: %s", query, d)
		}
	}
	f(byMax[0], "top", "1")
	if len(byMax) > 1 {
		f(byMax[1], "top", "1", "not.instance", byMax[0])
		f(byMax[0], "bottom", "1", "match.instance", byMax[0])
	}
}

// compareMetrics asks about all metrics at once, and lists what there is.
func compareMetrics(t *testing.T, c *node.Client, series map[string]map[string]history) {
	t.Helper()
	names := keysOf(series)
	slices.Reverse(names)
	query := []string{"agg", "count,last"}
	for _, name := range names {
		query = append(query, "metric", name)
	}
	var many struct{ Results []node.Aggregate }
	if err := c.Get(t.Context(), "/aggregate", &many, query...); err != nil {
		t.Fatal(err)
	}
	var listed struct {
		Metrics   []string
		Truncated bool
	}
	if err := c.Get(t.Context(), "/series", &listed, "list", "metrics"); err != nil {
		t.Fatal(err)
	}
	if len(many.Results) != len(names) {
		t.Fatalf("%d results, want %d", len(many.Results), len(names))
	}
	for i, name := range names {
		var all []history
		for _, instance := range keysOf(series[name]) {
			all = append(all, series[name][instance])
		}
		if d := differences(many.Results[i].Aggregations, naive(all...)); many.Results[i].Metric != name || d != "" {
			t.Errorf("result %d is of %s, want %s: %s", i, many.Results[i].Metric, name, d)
		}
	}
	slices.Reverse(names)
	if !slices.Equal(listed.Metrics, names) || listed.Truncated {
		t.Errorf("metrics %q, want %q", listed.Metrics, names)
	}
}

func ask(t *testing.T, c *node.Client, answer *node.Aggregate, query ...string) {
	t.Helper()
	if err := c.Get(t.Context(), "/aggregate", answer, query...); err != nil {
		t.Fatal(err)
	}
}

func keysOf[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// seriesOf returns the listed series of a metric as their values of the tag.
func seriesOf(t *testing.T, c *node.Client, metric, tag string) []string {
	t.Helper()
	a := do(t, c, http.StatusOK, http.MethodGet, "/series?metric="+metric, "")
	var listed struct {
		Series []struct {
			MetricName string `json:"metric_name"`
			Tags       map[string]string
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &listed); err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, s := range listed.Series {
		if s.MetricName != metric {
			t.Errorf("asked for %s, listed %s", metric, s.MetricName)
		}
		values = append(values, s.Tags[tag])
	}
	return values
}
