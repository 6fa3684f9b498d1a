package e2e

import (
	"math"
	"math/big"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/nab"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// summary is computed here from the CSV lines, with exact sums, independent of the server's code.
type summary struct {
	count    int
	sum      *big.Rat
	abs      float64
	min, max float64
}

func (s *summary) add(v float64) {
	if s.count == 0 {
		s.sum, s.min, s.max = new(big.Rat), v, v
	}
	s.count++
	s.sum.Add(s.sum, new(big.Rat).SetFloat64(v))
	s.abs += math.Abs(v)
	s.min, s.max = min(s.min, v), max(s.max, v)
}

// check compares an answer with the summary: count, min and max exactly, sum and avg within the promise.
func (s *summary) check(t *testing.T, what string, got node.Aggregations) {
	t.Helper()
	sum, _ := s.sum.Float64()
	for name, want := range map[string]float64{
		"count": float64(s.count), "min": s.min, "max": s.max, "sum": sum, "avg": sum / float64(s.count),
	} {
		tolerance := 0.0
		switch name {
		case "sum":
			tolerance = 1e-15 * s.abs
		case "avg":
			tolerance = 2e-15 * s.abs / float64(s.count)
		}
		if v := got[name]; v == nil || math.Abs(*v-want) > tolerance {
			t.Errorf("%s: %s=%v, want %v (within %g)", what, name, v, want, tolerance)
		}
	}
}

func TestNAB(t *testing.T) {
	series, err := nab.Load(filepath.Join("..", "testdata", "nab"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	p := start(t, folder, "MEMTABLE_MEMORY_LIMIT=1MiB")
	c := connect(t, p)
	for _, s := range series {
		for _, body := range s.Batches(1000) {
			do(t, c, http.StatusCreated, http.MethodPost, "/metrics", body)
		}
	}
	compare(t, c, series)
	stop(t, p)
	compare(t, connect(t, start(t, folder)), series)
}

func compare(t *testing.T, c *node.Client, series []nab.Series) {
	t.Helper()
	whole := map[string]*summary{} // of a metric over all its instances
	for _, s := range series {
		if whole[s.Metric] == nil {
			whole[s.Metric] = &summary{}
		}
		var all summary
		hours := map[time.Time]*summary{}
		for _, p := range s.Points {
			all.add(p.Value)
			whole[s.Metric].add(p.Value)
			hour := p.At.Truncate(time.Hour)
			if hours[hour] == nil {
				hours[hour] = &summary{}
			}
			hours[hour].add(p.Value)
		}
		compareSeries(t, c, s, &all, hours)
	}
	for name, want := range whole {
		var got node.Aggregate
		if err := c.Get(t.Context(), "/aggregate", &got, "metric", name, "agg", "count,sum,min,max,avg"); err != nil {
			t.Fatal(err)
		}
		want.check(t, name, got.Aggregations)
	}
}

func compareSeries(t *testing.T, c *node.Client, s nab.Series, all *summary, hours map[time.Time]*summary) {
	t.Helper()
	name := s.Metric + " " + s.Instance
	question := []string{"metric", s.Metric, "tag.instance", s.Instance, "agg", "count,sum,min,max,avg"}
	var got node.Aggregate
	if err := c.Get(t.Context(), "/aggregate", &got, question...); err != nil {
		t.Fatal(err)
	}
	all.check(t, name, got.Aggregations)
	var hourly node.Aggregate
	if err := c.Get(t.Context(), "/aggregate", &hourly, append(question, "window", "1h")...); err != nil {
		t.Fatal(err)
	}
	if len(hourly.Windows) != len(hours) {
		t.Errorf("%s: %d windows, want %d", name, len(hourly.Windows), len(hours))
	}
	for _, w := range hourly.Windows {
		want := hours[w.Start.UTC()]
		if want == nil || !w.End.Equal(w.Start.Add(time.Hour)) {
			t.Errorf("%s: unexpected window %v to %v", name, w.Start, w.End)
			continue
		}
		want.check(t, name+" at "+w.Start.String(), w.Aggregations)
	}
	var latest struct {
		Value     float64
		Timestamp time.Time
	}
	if err := c.Get(t.Context(), "/metrics/"+s.Metric, &latest, "tag.instance", s.Instance); err != nil {
		t.Fatal(err)
	}
	want := s.Points[0]
	for _, p := range s.Points {
		if !p.At.Before(want.At) {
			want = p
		}
	}
	if latest.Value != want.Value || !latest.Timestamp.Equal(want.At) {
		t.Errorf("%s: latest=%+v, want %+v", name, latest, want)
	}
}
