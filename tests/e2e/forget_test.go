package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

var (
	forgetSteps = flag.Int("forget-steps", 60, "how many steps TestForget takes")
	forgetSeed  = flag.Uint64("forget-seed", 0, "seed of TestForget; 0 draws one")
)

// story is a server and what ought to be in it: every acknowledged write and deletion, carried out on plain
// lists.
type story struct {
	t      *testing.T
	random *rand.Rand
	folder string
	server *node.Process
	client *node.Client
	kept   map[string]map[string]history // by metric and host
}

const storyMetrics, storyHosts, storySeconds = 3, 4, 20_000

var storyBase = time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC) // windows of a day and of an hour are cut

// TestForget writes, overwrites and deletes, kills the server in between, has it flush and merge, and
// compares every answer with what was acknowledged.
func TestForget(t *testing.T) {
	seed := *forgetSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-forget-seed=%d", seed)
	s := &story{t: t, random: rand.New(rand.NewPCG(seed, 0)), folder: t.TempDir(), kept: map[string]map[string]history{}}
	s.begin()
	for range *forgetSteps {
		switch n := s.random.IntN(20); {
		case n < 8:
			s.writeLines()
		case n < 11:
			s.writeSamples()
		case n < 15:
			s.remove()
		case n < 17:
			s.server.Kill()
			s.begin()
		case n < 19:
			do(t, s.client, http.StatusOK, http.MethodPost, "/cluster/flush", "")
		default:
			stop(t, s.server)
			s.begin()
		}
		s.check()
		if t.Failed() {
			return
		}
	}
}

func (s *story) begin() {
	s.server = start(s.t, s.folder, "MEMTABLE_MEMORY_LIMIT=1MiB")
	s.client = connect(s.t, s.server)
}

func (s *story) metric() string { return fmt.Sprintf("m%d", s.random.IntN(storyMetrics)) }

func (s *story) host() string { return fmt.Sprintf("h%d", s.random.IntN(storyHosts)) }

func (s *story) at() time.Time {
	return storyBase.Add(time.Duration(s.random.IntN(storySeconds)) * time.Second)
}

// keep notes that a series has the history h now.
func (s *story) keep(metric, host string, h history) {
	if s.kept[metric] == nil {
		s.kept[metric] = map[string]history{}
	}
	s.kept[metric][host] = h
}

// run returns points in time, mostly in order, of which some repeat, and values of which some are equal.
func (s *story) run() []point {
	var points []point
	at := s.at()
	for range 1 + s.random.IntN(300) {
		points = append(points, point{at: at, value: float64(s.random.IntN(7)) - 2.5})
		switch s.random.IntN(10) {
		case 0:
			at = s.at()
		case 1: // the same time once more
		default:
			at = at.Add(10 * time.Second)
		}
	}
	return points
}

// writeLines writes in line protocol, where a repeated timestamp replaces.
func (s *story) writeLines() {
	metric, host := s.metric(), s.host()
	h := s.kept[metric][host]
	var b strings.Builder
	for _, p := range s.run() {
		fmt.Fprintf(&b, "%s,host=%s value=%v %d\n", metric, host, p.value, p.at.Unix())
		h = h.replaced(p)
	}
	do(s.t, s.client, http.StatusNoContent, http.MethodPost, "/write?precision=s", b.String())
	s.keep(metric, host, h)
}

// writeSamples writes through the native API, where every observation counts.
func (s *story) writeSamples() {
	metric, host := s.metric(), s.host()
	h := s.kept[metric][host]
	var samples []string
	for _, p := range s.run() {
		samples = append(samples, fmt.Sprintf(`{"metric_name":%q,"value":%v,"timestamp":%q,"tags":{"host":%q}}`, metric, p.value, p.at.Format(time.RFC3339), host))
		h = append(h, p)
	}
	do(s.t, s.client, http.StatusCreated, http.MethodPost, "/metrics", "["+strings.Join(samples, ",")+"]")
	s.keep(metric, host, h)
}

// remove deletes a range of a metric, or all of it.
func (s *story) remove() {
	metric := s.metric()
	from, to := time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	query := url.Values{}
	if s.random.IntN(4) > 0 {
		from = s.at()
		query.Set("from", from.Format(time.RFC3339))
	}
	if s.random.IntN(4) > 0 {
		to = s.at().Add(time.Hour)
		query.Set("to", to.Format(time.RFC3339))
	}
	if to.Before(from) {
		return
	}
	status := http.StatusNotFound
	for host, h := range s.kept[metric] {
		if len(h) > 0 {
			status = http.StatusNoContent
		}
		s.keep(metric, host, h.without(from, to))
	}
	do(s.t, s.client, status, http.MethodDelete, "/metrics/"+metric+"?"+query.Encode(), "")
}

// check asks about everything.
func (s *story) check() {
	s.t.Helper()
	for i := range storyMetrics {
		metric := fmt.Sprintf("m%d", i)
		var hosts []string
		var all []history
		for _, host := range keysOf(s.kept[metric]) {
			if h := s.kept[metric][host]; len(h) > 0 {
				hosts = append(hosts, host)
				all = append(all, h)
			}
		}
		if listed := seriesOf(s.t, s.client, metric, "host"); !slices.Equal(listed, hosts) {
			s.t.Errorf("series of %s: %q, want %q", metric, listed, hosts)
		}
		if len(all) == 0 {
			do(s.t, s.client, http.StatusNotFound, http.MethodGet, "/aggregate?metric="+metric, "")
			do(s.t, s.client, http.StatusNotFound, http.MethodGet, "/metrics/"+metric, "")
			continue
		}
		var got node.Aggregate
		ask(s.t, s.client, &got, "metric", metric, "agg", naiveFunctions)
		if d := differences(got.Aggregations, naive(all...)); d != "" {
			s.t.Errorf("%s: %s", metric, d)
		}
		s.checkHours(metric, all)
		for k, host := range hosts {
			s.checkLatest(metric, host, all[k])
		}
	}
}

// checkHours asks for windows, which rollups may answer.
func (s *story) checkHours(metric string, all []history) {
	s.t.Helper()
	hours := map[time.Time][]history{}
	for k, h := range all {
		for _, p := range h {
			hour := p.at.Truncate(time.Hour)
			if hours[hour] == nil {
				hours[hour] = make([]history, len(all))
			}
			hours[hour][k] = append(hours[hour][k], p)
		}
	}
	var got node.Aggregate
	ask(s.t, s.client, &got, "metric", metric, "agg", "count,sum,min,max,first,last", "window", "1h")
	if len(got.Windows) != len(hours) {
		s.t.Errorf("%s: %d hours, want %d", metric, len(got.Windows), len(hours))
	}
	for _, w := range got.Windows {
		if d := differences(w.Aggregations, naive(hours[w.Start.UTC()]...)); d != "" {
			s.t.Errorf("%s at %v: %s", metric, w.Start, d)
		}
	}
}

func (s *story) checkLatest(metric, host string, h history) {
	s.t.Helper()
	points := h.sorted()
	want := points[len(points)-1]
	var latest struct {
		Value     float64
		Timestamp time.Time
	}
	if err := s.client.Get(s.t.Context(), "/metrics/"+metric, &latest, "tag.host", host); err != nil {
		s.t.Fatal(err)
	}
	if latest.Value != want.value || !latest.Timestamp.Equal(want.at) {
		s.t.Errorf("latest of %s on %s: %+v, want %+v", metric, host, latest, want)
	}
}

// TestRetention has a server that kept everything keep two days, and of some metrics an hour: what is older
// goes, before and after a kill, and does not come back when more is kept again.
func TestRetention(t *testing.T) {
	folder := t.TempDir()
	p := start(t, folder, "SHARDS=4")
	c := connect(t, p)
	now := time.Now().UTC().Truncate(time.Second)
	counts := func() map[string]int {
		t.Helper()
		got := map[string]int{}
		for _, metric := range []string{"cpu", "debug_cpu", "keep_cpu"} {
			var answer node.Aggregate
			ask(t, c, &answer, "metric", metric, "agg", "count")
			got[metric] = int(*answer.Aggregations["count"])
		}
		return got
	}
	write := func(status, from, to int) {
		t.Helper()
		var b strings.Builder
		for ago := from; ago < to; ago++ {
			for _, metric := range []string{"cpu", "debug_cpu", "keep_cpu"} {
				fmt.Fprintf(&b, "%s,host=h%d value=%d %d\n", metric, ago%3, ago, now.Add(-time.Duration(ago)*30*time.Minute).Unix())
			}
		}
		do(t, c, status, http.MethodPost, "/write?precision=s", b.String())
	}
	write(http.StatusNoContent, 0, 480) // ten days, two a clock hour
	do(t, c, http.StatusOK, http.MethodPost, "/cluster/flush", "")
	do(t, c, http.StatusOK, http.MethodPut, "/cluster/retention", `{"default":"2d","rules":[{"metric":"debug_*","keep":"1h"},{"metric":"keep_*","keep":"0"}]}`)
	// Cut-offs are whole hours: what is kept is the hours asked for and what the hour that has begun has.
	holds := func(got map[string]int, cpu, debug int) bool {
		return got["keep_cpu"] == 480 && got["cpu"] >= cpu && got["cpu"] <= cpu+4 && got["debug_cpu"] >= debug && got["debug_cpu"] <= debug+4
	}
	await := func(what string, cpu, debug int) map[string]int {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; {
			got := counts()
			if holds(got, cpu, debug) {
				return got
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v", what, got)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	await("after the change", 96, 2)
	write(http.StatusUnprocessableEntity, 200, 201)
	p.Kill()
	p = start(t, folder, "RETENTION=30d") // which is told of, and does not hold
	c = connect(t, p)
	await("after a kill", 96, 2)
	do(t, c, http.StatusOK, http.MethodPost, "/cluster/flush", "")
	do(t, c, http.StatusOK, http.MethodPut, "/cluster/retention", `{"default":"0"}`)
	if got := await("when everything is kept again", 96, 2); got["keep_cpu"] != 480 {
		t.Fatalf("%v: what a rule kept is gone", got)
	}
	if log := p.Log(); !strings.Contains(log, "RETENTION is not what this cluster keeps") {
		t.Errorf("the server does not tell of the other RETENTION; its log:\n%s", log)
	}
	stop(t, p)
	c = connect(t, start(t, folder, "SHARDS=4"))
	await("after an orderly stop", 96, 2)
	do(t, c, http.StatusOK, http.MethodPost, "/cluster/flush", "")
	await("after another flush", 96, 2)
}
