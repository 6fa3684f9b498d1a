package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func text(t *testing.T, tel *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func contains(t *testing.T, got string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
}

func TestTelemetryShowsWhatIsFed(t *testing.T) {
	tel := New("v1.2.3")
	tel.RequestDone("GET", "/aggregate", 200, 42, 3*time.Millisecond)
	tel.RequestDone("GET", "/aggregate", 200, 8, 300*time.Millisecond)
	tel.RequestDone("GET", "none", 404, 8, time.Millisecond)
	tel.SamplesRecorded(1000)
	tel.StringFieldsSkipped(3)
	tel.Counter(StorageFlushes, "ok").Inc()
	tel.Histogram(LogSyncSeconds).Observe(0.0003)
	tel.WatchTotal(CacheHits, func() float64 { return 4 })
	tel.Watch(MemtableBytes, func() float64 { return 17 })
	contains(
		t, text(t, tel),
		`raftmetrics_build_info{version="v1.2.3"} 1`,
		`raftmetrics_http_requests_total{method="GET",route="/aggregate",status="200"} 2`,
		`raftmetrics_http_requests_total{method="GET",route="none",status="404"} 1`,
		`raftmetrics_http_response_bytes_total{route="/aggregate"} 50`,
		`raftmetrics_http_request_duration_seconds_bucket{route="/aggregate",status="200",le="0.005"} 1`,
		`raftmetrics_http_request_duration_seconds_count{route="/aggregate",status="200"} 2`,
		`raftmetrics_samples_recorded_total 1000`,
		`raftmetrics_storage_flushes_total{result="ok"} 1`,
		`raftmetrics_replication_log_sync_seconds_bucket{le="0.0005"} 1`,
		`raftmetrics_storage_memtable_bytes 17`,
		`raftmetrics_query_cache_hits_total 4`,
	)
}

func TestTelemetryHidesWhatNobodyFeeds(t *testing.T) {
	got := text(t, New("test"))
	for _, m := range []Metric{StorageFlushes, LogSyncSeconds, MemtableBytes} {
		if strings.Contains(got, string(m)) {
			t.Errorf("%s is shown although nothing feeds it", m)
		}
	}
	contains(t, got, "# TYPE go_goroutines gauge")
}

func TestTelemetryShowsShards(t *testing.T) {
	observer := outboundmock.NewMockShardObserver(gomock.NewController(t))
	observer.EXPECT().Shards().Return([]outbound.ShardStatus{
		{Shard: 0, Leader: true, Serving: true, Term: 3, Commit: 12, Applied: 11}, {Shard: 7},
	}).AnyTimes()
	tel := New("test")
	tel.WatchShards(observer)
	contains(
		t, text(t, tel), `raftmetrics_shard_leader{shard="0"} 1`, `raftmetrics_shard_serving{shard="0"} 1`,
		`raftmetrics_shard_term{shard="0"} 3`, `raftmetrics_shard_committed_index{shard="0"} 12`,
		`raftmetrics_shard_applied_index{shard="0"} 11`, `raftmetrics_shard_serving{shard="7"} 0`,
	)
}

func TestEveryMetricKeepsToPrometheusConventions(t *testing.T) {
	tel := New("test")
	for m, d := range definitions {
		values := make([]string, len(d.labels))
		for i := range values {
			values[i] = "x"
		}
		switch d.kind {
		case counter:
			tel.Counter(m, values...).Inc()
		case histogram:
			tel.Histogram(m, values...).Observe(1)
		case gauge:
			tel.Watch(m, func() float64 { return 1 })
		}
	}
	families, err := tel.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestUnknownMetricsAreDefects(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("a histogram was had under a counter's name")
		}
	}()
	New("test").Histogram(HTTPRequests)
}
