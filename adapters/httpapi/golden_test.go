package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

func reply(_ context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
	return inbound.RecordReply{Received: received, Stored: len(req.Observations)}, nil
}

// transcript writes requests and their answers one below the other.
type transcript struct{ bytes.Buffer }

func (tr *transcript) add(r *http.Request, shown string, w *httptest.ResponseRecorder) {
	fmt.Fprintf(&tr.Buffer, "> %s %s %s\n< %d", r.Method, r.URL.RequestURI(), shown, w.Code)
	for _, h := range []string{"Allow", "Retry-After", "Www-Authenticate", headerLevel, headerSkipped, "X-Influxdb-Version"} {
		if v := w.Header()[h]; len(v) > 0 {
			fmt.Fprintf(&tr.Buffer, " %s: %s;", h, strings.Join(v, ", "))
		}
	}
	fmt.Fprintf(&tr.Buffer, " %s\n%s\n", w.Header().Get("Content-Type"), w.Body)
}

func TestGoldenWrites(t *testing.T) {
	rg := newRig(t, nil)
	rg.stores()
	var tr transcript
	f := func(body string, headers ...string) {
		r := request("POST", "/metrics", body, headers...)
		tr.add(r, strings.TrimSpace(strings.Join(headers, " ")+" "+body), rg.do(r))
	}
	const form, lines = "application/x-www-form-urlencoded", "application/x-ndjson"
	f("{\n  \"metric_name\": \"cpu_usage\",\n  \"value\": 75.5,\n  \"timestamp\": \"2024-08-01T12:00:00Z\",\n}", "Content-Type", "application/json")
	f(`{"metric_name":"cpu_usage","value":75.5}`, "Content-Type", form)
	f(`{"metric_name":"cpu \"é\"","value":1e300,"tags":{"host":"b","az":"\\"}}`)
	f(`{"metric_name":"cpu","value":-0.0000001}`, "Content-Type", "Application/JSON; charset=utf-8")
	f(`[{"metric_name":"cpu_usage","value":1},{"metric_name":"cpu_usage","value":2}]`)
	f("{\"metric_name\":\"cpu_usage\",\"value\":1}\n{\"metric_name\":\"cpu_usage\",\"value\":2}\n", "Content-Type", lines)
	f("{\"metric_name\":\"cpu_usage\",\"value\":1}\n", "Content-Type", lines)
	f(`{"metric_name":"cpu_usage"}`)
	f(`{"metric_name":"cpu_usage","value":"high"}`)
	f(`{"metric_name":"cpu_usage","value":1,"tag":{}}`)
	f(`{"metric_name":"cpu_usage","value":1e999}`)
	f(`{"metric_name":"cpu_usage","value":75.5`)
	f(`[{"metric_name":"cpu_usage","value":1},{"value":1},{"metric_name":"a","value":2,"timestamp":"noon"}]`)
	f("{\"metric_name\":\"a\",\"value\":1}\n{\"metric_name\":\"a\",\"value\":\n", "Content-Type", lines)
	f(`[]`)
	f(``)
	f(`x`, "Content-Type", "text/csv")
	f(`x`, "Content-Encoding", "zstd")
	f(`x`, "Content-Encoding", "gzip")
	f(`{"metric_name":"a","value":1}`, "Idempotency-Key", "caf\u00e9")
	golden(t, "writes.txt", tr.String())
}

func TestGoldenLatest(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	var found metric.Sample
	var failure error
	rg.latest.EXPECT().Latest(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(context.Context, inbound.LatestRequest) (metric.Sample, error) { return found, failure })
	f := func(target string, s metric.Sample, err error) {
		found, failure = s, err
		r := request("GET", target, "")
		tr.add(r, "", rg.do(r))
	}
	plain := sample(t, "cpu_usage", received, 75.5)
	f("/metrics/cpu_usage", plain, nil)
	f("/metrics/cpu_usage?level=none&tag.host=b", sample(t, `cpu_usage{host="b"}`, received+1, 1), nil)
	f("/metrics/cpu_usage?level=eventual", plain, nil)
	f("/metrics/cpu_usage?freshness=5s", plain, nil)
	f("/metrics/cpu_usage?freshness=1m&level=none", plain, fault.New(fault.Timeout, "stale", "may be older").WithDetail("shards", []uint32{3}))
	f("/metrics/cpu_usage?freshness=5s&level=linearizable", plain, nil)
	f("/metrics/cpu_usage?freshness=0s", plain, nil)
	f("/metrics/cpu_usage?freshness=soon", plain, nil)
	f("/metrics/cpu_usage?token=x", plain, nil)
	f("/metrics/cpu_usage?timeout=-1s", plain, nil)
	f("/metrics/cpu_usage?tag.host=a&tag.host=b", plain, nil)
	f("/metrics/a%00b", plain, nil)
	f("/metrics/"+strings.Repeat("x", 256), plain, nil)
	f("/metrics/", plain, nil)
	f("/metrics/cpu_usage", metric.Sample{}, fault.New(fault.NotFound, "metric_not_found", "metric cpu_usage has no series; record a sample first"))
	golden(t, "latest.txt", tr.String())
}

// answer computes what a store that holds the given samples, those of a series in order, would answer.
func answer(samples []metric.Sample) func(context.Context, inbound.AggregateRequest) (aggregate.Answer, error) {
	return func(_ context.Context, req inbound.AggregateRequest) (aggregate.Answer, error) {
		search := aggregate.NewSearch(aggregate.Question{
			Query: req.Query, Functions: req.Functions, Fill: req.Fill,
			Approximate: req.Approximate, Ranking: req.Ranking, Limit: req.Limit,
		})
		for {
			q, more, err := search.Next()
			if err != nil {
				return aggregate.Answer{}, err
			}
			if !more {
				return search.Answer()
			}
			table, err := tableOf(q, samples)
			if err == nil {
				err = search.Take(table)
			}
			if err != nil {
				return aggregate.Answer{}, err
			}
		}
	}
}

func tableOf(q aggregate.Query, samples []metric.Sample) (aggregate.Table, error) {
	b := aggregate.NewBuilder(q)
	folds := map[string]bool{}
	for _, s := range samples {
		if key := s.Series().Key(); s.Series().Name() != q.Metric() || folds[key] || !q.Matchers().Match(s.Series().Tags()) {
			continue
		}
		folds[s.Series().Key()] = true
		f, err := b.Fold(s.Series())
		for _, same := range samples {
			if err == nil && same.Series().Key() == s.Series().Key() && q.Range().Contains(same.Timestamp()) {
				err = f.Add(same.Timestamp(), same.Value())
			}
		}
		if err != nil {
			return aggregate.Table{}, err
		}
	}
	return b.Table(), nil
}

func TestGoldenAggregate(t *testing.T) {
	rg := newRig(t, nil)
	const hour = metric.Timestamp(3_600_000_000)
	rg.aggregator.EXPECT().Aggregate(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(answer([]metric.Sample{
		sample(t, `cpu_usage{host="a"}`, received, 45.2), sample(t, `cpu_usage{host="a"}`, received+1, 92.1),
		sample(t, `cpu_usage{host="b"}`, received+3*hour, 68.25), sample(t, `cpu_usage`, received+3*hour, 1e300),
	}))
	var tr transcript
	f := func(query string) {
		r := request("GET", "/aggregate?"+query, "")
		tr.add(r, "", rg.do(r))
	}
	f("metric=cpu_usage&tag.host=a")
	f("metric=cpu_usage&agg=sum,count,min&level=none&timeout=2s")
	f("metric=cpu_usage&agg=count&freshness=1.5s")
	f("metric=cpu_usage&from=2030-01-01T00:00:00Z")
	f("metric=cpu_usage&from=2024-08-01T14:00:00+02:00&to=2024-08-01T12:00:00Z&agg=count")
	f("metric=cpu_usage&from=2024-08-01T14:00:00%2B02:00&to=2024-08-01T12:00:00Z&agg=count")
	f("metric=cpu_usage&window=1h&tag.host=a&agg=max,count")
	f("metric=cpu_usage&window=1h&fill=null&agg=max,count")
	f("metric=cpu_usage&window=1h&fill=0&agg=max,count")
	f("metric=cpu_usage&window=1h&fill=previous&agg=max,count")
	f("metric=cpu_usage&window=1d&from=2030-01-01T00:00:00Z")
	f("metric=cpu_usage&group_by=host&agg=max,count")
	f("metric=cpu_usage&group_by=host&window=1d&agg=max")
	f("metric=cpu_usage&group_by=host&from=2030-01-01T00:00:00Z")
	f("")
	f("metric=")
	f("metric=a&from=yesterday")
	f("metric=a&from=2024-08-02T00:00:00Z&to=2024-08-01T00:00:00Z")
	f("metric=a&agg=min,min")
	f("metric=a&window=1y")
	f("metric=a&fill=0")
	f("metric=a&window=1h&fill=linear")
	f("metric=a&group_by=host,")
	f("metric=a&window=1s&from=2024-08-01T00:00:00Z&to=2024-08-02T00:00:00Z")
	f("metric=a&having=1&tops=5&tag.=x")
	f("metric=a;b=c")
	golden(t, "aggregate.txt", tr.String())
}

// TestGoldenRicher asks what goes beyond the plain functions.
func TestGoldenRicher(t *testing.T) {
	rg := newRig(t, nil)
	const minute = metric.Timestamp(60_000_000)
	var samples []metric.Sample
	for i := range 10 {
		at := received + metric.Timestamp(i)*minute
		samples = append(samples, sample(t, `requests{az="1",host="a"}`, at, float64(10*i%70)),
			sample(t, `requests{az="1",host="b"}`, at, float64(i)), sample(t, `requests{az="2",host="c"}`, at, 0.5),
			sample(t, `load`, at, float64(i)))
	}
	rg.aggregator.EXPECT().Aggregate(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(answer(samples))
	var tr transcript
	f := func(query string) {
		r := request("GET", "/aggregate?"+query, "")
		tr.add(r, "", rg.do(r))
	}
	f("metric=requests&agg=first,last,stddev,p50,p95,p99.9")
	f("metric=requests&agg=increase,rate,delta&group_by=host")
	f("metric=requests&agg=increase,rate&window=5m&tag.host=a")
	f("metric=requests&agg=p95&approx=1&tag.host=a")
	f("metric=requests&agg=p95&approx=0&tag.host=a")
	f("metric=requests&agg=count&where=value>5")
	f("metric=requests&agg=count&where=value%20%3C=%205")
	f("metric=requests&agg=max&group_by=host&top=2")
	f("metric=requests&agg=p50&group_by=host&bottom=2&window=5m")
	f("metric=requests&agg=max&group_by=host&limit=1")
	f("metric=requests&agg=count&tag.host=a&tag.host=b")
	f("metric=requests&agg=count&not.host=a&not.host=b")
	f("metric=requests&agg=count&match.host=[ab]&not.az=2")
	f("metric=requests&metric=load&metric=requests&agg=count,last&tag.host=a")
	f("metric=requests&agg=stddev,p50,increase,count&window=1m&fill=0&to=2024-08-01T12:01:00Z&from=2024-08-01T11:59:00Z&tag.host=a")
	f("metric=none&agg=p50,first,stddev,rate&approx=1")
	for _, query := range []string{
		"metric=a&where=90",
		"metric=a&where=value~90",
		"metric=a&where=value>ten",
		"metric=a&top=5",
		"metric=a&top=0&group_by=host",
		"metric=a&top=1&bottom=1&group_by=host",
		"metric=a&limit=10001&group_by=host",
		"metric=a&limit=5",
		"metric=a&approx=yes",
		"metric=a&agg=p100",
		"metric=a&match.host=(",
		"metric=a&match.host=a&match.host=b",
		"metric=a&not.=x",
		"metric=a&window=1h&window=2h",
		"metric=a&" + strings.Repeat("metric=a&", MetricsMax),
		tagsOf(metric.MatchersMax+1) + "metric=a",
	} {
		f(query)
	}
	golden(t, "richer.txt", tr.String())
}

// tagsOf returns n conditions.
func tagsOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "tag.k%d=v&", i)
	}
	return b.String()
}

// TestOneBadMetricEndsAll checks that several metrics are answered all or not at all.
func TestOneBadMetricEndsAll(t *testing.T) {
	rg := newRig(t, nil)
	rg.aggregator.EXPECT().Aggregate(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, req inbound.AggregateRequest) (aggregate.Answer, error) {
			if req.Query.Metric().String() == "bad" {
				return aggregate.Answer{}, fault.New(fault.NotFound, "metric_not_found", "bad has no series")
			}
			<-ctx.Done() // all others are given up
			return aggregate.Answer{}, fault.Wrap(ctx.Err(), fault.Canceled, "query_canceled", "given up")
		})
	w := rg.do(request("GET", "/aggregate?metric=a&metric=b&metric=bad&metric=c", ""))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "bad has no series") {
		t.Errorf("answer %d %s, want that of the metric that failed", w.Code, w.Body)
	}
}

func TestGoldenHealth(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	f := func(h inbound.Health) {
		rg.health.EXPECT().Health(gomock.Any()).Times(2).Return(h)
		for _, path := range []string{"/health", "/readyz"} {
			r := request("GET", path, "")
			tr.add(r, "", rg.do(r))
		}
	}
	f(healthy)
	f(inbound.Health{Status: inbound.Starting, Message: "worker-1 waits to be adopted", NodeID: "worker-1", Role: "worker"})
	f(inbound.Health{Status: inbound.Degraded, Message: "worker-1 has shards without a leader", NodeID: "worker-1", Role: "worker", Shards: 8, Impeded: []uint32{2, 5}})
	f(inbound.Health{Status: inbound.Healthy, Message: "worker-1 is operational", NodeID: "worker-1", Role: "worker", Cluster: "c1", Shards: 8, UnderReplicated: 3})
	f(inbound.Health{Status: inbound.Stopping, Message: "worker-1 is stopping", NodeID: "worker-1", Role: "worker", Shards: 8})
	for _, target := range []string{"/livez", "/health?verbose=1", "/metrics", "/metrics?name[]=x"} {
		r := request("GET", target, "")
		tr.add(r, "", rg.do(r))
	}
	golden(t, "health.txt", tr.String())
}

// allFaults is one error of each kind, as ports may return them.
func allFaults() []error {
	var all []error
	for kind := fault.Internal; kind <= fault.Canceled; kind++ {
		all = append(all, fault.Wrap(errors.New("the cause, which stays inside"), kind, fmt.Sprintf("code_%d", kind), "message for people"))
	}
	return append(
		all, errors.New("a foreign error, which stays inside"),
		fmt.Errorf("wrapped: %w", context.DeadlineExceeded), fmt.Errorf("wrapped: %w", context.Canceled),
		fault.New(fault.Exhausted, "idempotency_window_full", "m").WithRetryAfter(1500*time.Millisecond),
		fault.New(fault.Unavailable, "no_leader", "m").WithDetail("shards", []uint32{1, 2}).
			WithDetail("stored", 1).WithDetail("not_stored", 2).WithDetail("unknown", 3).
			WithDetail("message", "must not replace it").WithDetail("unfit", math.Inf(1)),
	)
}

func TestGoldenFaults(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	for _, err := range allFaults() {
		rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).Return(inbound.RecordReply{}, err)
		r := request("POST", "/metrics", `{"metric_name":"a","value":1}`, headerRequestID, "id-1")
		tr.add(r, "", rg.do(r))
	}
	golden(t, "faults.txt", tr.String())
	if !strings.Contains(rg.log.String(), "a foreign error, which stays inside") {
		t.Error("the log does not tell the cause of an internal error")
	}
	if strings.Contains(tr.String(), "inside") {
		t.Error("an answer tells the cause")
	}
}

func TestGoldenRoutes(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	f := func(method, target string) {
		r := request(method, target, "")
		tr.add(r, "", rg.do(r))
	}
	f("GET", "/")
	f("POST", "/cluster")
	f("GET", "/cluster/nodes")
	f("GET", "/cluster/nodes/a")
	f("GET", "/cluster/shards")
	f("POST", "/api/v1/write")
	f("GET", "/metrics/a/b")
	f("GET", "//metrics")
	f("DELETE", "/metrics")
	f("OPTIONS", "/aggregate")
	f("BREW", "/health")
	f("POST", "/livez")
	golden(t, "routes.txt", tr.String())
}

func TestEveryKindHasAStatus(t *testing.T) {
	kinds := 0
	for kind := fault.Internal; kind <= fault.Canceled; kind++ {
		kinds++
		if _, ok := statusOfKind[kind]; !ok {
			t.Errorf("kind %d has no status", kind)
		}
	}
	if kinds != len(statusOfKind) {
		t.Errorf("the table holds %d kinds, there are %d", len(statusOfKind), kinds)
	}
}

func TestHeadAnswersWhereGetDoes(t *testing.T) {
	rg := newRig(t, nil)
	rg.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
	rg.latest.EXPECT().Latest(gomock.Any(), gomock.Any()).AnyTimes().Return(sample(t, "a", received, 1), nil)
	rg.aggregator.EXPECT().Aggregate(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(answer(nil))
	rg.lister.EXPECT().ListSeries(gomock.Any(), gomock.Any()).AnyTimes().Return(inbound.Listed{}, nil)
	rg.cluster.EXPECT().Overview(gomock.Any()).AnyTimes().Return(inbound.ClusterOverview{}, nil)
	rg.storage.EXPECT().Verify(gomock.Any()).AnyTimes().Return(inbound.Verification{Equal: true}, nil)
	rg.retention.EXPECT().Retention(gomock.Any()).AnyTimes().Return(metric.RetentionPolicy{}, nil)
	server := httptest.NewServer(rg)
	defer server.Close()
	for pattern, found := range rg.routes {
		if _, ok := found.methods[http.MethodGet]; !ok || found.dialect != native || pattern == "/ping" {
			continue
		}
		target := strings.Replace(pattern, "{name}", "a", 1)
		if pattern == "/aggregate" {
			target += "?metric=a"
		}
		var lengths []int64
		for _, method := range []string{"GET", "HEAD"} {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			closeNow(t, resp.Body)
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %d", method, target, resp.StatusCode)
			}
			lengths = append(lengths, resp.ContentLength)
		}
		if pattern != "/metrics" && lengths[0] != lengths[1] {
			t.Errorf("%s: Content-Length of GET and HEAD is %v", target, lengths)
		}
	}
}

func TestLongAnswersAreCompressed(t *testing.T) {
	rg := newRig(t, nil)
	var samples []metric.Sample
	for i := range 100 {
		samples = append(samples, sample(t, "a", received+metric.Timestamp(i)*60_000_000, float64(i)))
	}
	rg.aggregator.EXPECT().Aggregate(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(answer(samples))
	plain := rg.do(request("GET", "/aggregate?metric=a&window=1m", ""))
	if plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("Vary") != "Accept-Encoding" {
		t.Fatalf("plain answer: %v", plain.Header())
	}
	for header, compressed := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "br": false, "gzip; q=x": false} {
		w := rg.do(request("GET", "/aggregate?metric=a&window=1m", "", "Accept-Encoding", header))
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != compressed {
			t.Errorf("Accept-Encoding %q: compressed %v, want %v", header, got, compressed)
		}
		if !compressed {
			continue
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(z); err != nil || !slices.Equal(text.Bytes(), plain.Body.Bytes()) {
			t.Errorf("the compressed answer differs: %v", err)
		}
	}
}
