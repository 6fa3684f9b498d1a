package httpapi

import (
	"bytes"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/inboundmock"
)

var rewrite = flag.Bool("rewrite", false, "write golden files instead of comparing with them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a-token-that-must-not-be-logged"

// received is the time of receipt in these tests.
const received = metric.Timestamp(1_722_513_600_000_000) // 2024-08-01T12:00:00Z

// rig is a server over mocks, with what it logged.
type rig struct {
	*Server
	recorder   *inboundmock.MockRecorder
	latest     *inboundmock.MockLatestReader
	aggregator *inboundmock.MockAggregator
	lister     *inboundmock.MockSeriesLister
	deleter    *inboundmock.MockDeleter
	health     *inboundmock.MockHealthReporter
	cluster    *inboundmock.MockClusterObserver
	membership *inboundmock.MockMembershipAdmin
	retention  *inboundmock.MockRetentionAdmin
	storage    *inboundmock.MockStorageAdmin
	log        *syncBuffer
}

// syncBuffer takes log lines from several goroutines.
type syncBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *syncBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.Write(line)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.String()
}

func newRig(tb testing.TB, change func(*Config)) *rig {
	tb.Helper()
	ctrl := gomock.NewController(tb)
	rg := &rig{
		recorder:   inboundmock.NewMockRecorder(ctrl),
		latest:     inboundmock.NewMockLatestReader(ctrl),
		aggregator: inboundmock.NewMockAggregator(ctrl),
		lister:     inboundmock.NewMockSeriesLister(ctrl),
		deleter:    inboundmock.NewMockDeleter(ctrl),
		health:     inboundmock.NewMockHealthReporter(ctrl),
		cluster:    inboundmock.NewMockClusterObserver(ctrl),
		membership: inboundmock.NewMockMembershipAdmin(ctrl),
		retention:  inboundmock.NewMockRetentionAdmin(ctrl),
		storage:    inboundmock.NewMockStorageAdmin(ctrl),
		log:        &syncBuffer{},
	}
	config := Config{
		Tokens: []string{token},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("raftmetrics_samples_recorded_total 17\n"))
		}),
		Logger: zerolog.New(rg.log),
	}
	if change != nil {
		change(&config)
	}
	var err error
	rg.Server, err = New(config, Ports{
		Recorder: rg.recorder, Latest: rg.latest, Aggregator: rg.aggregator, Lister: rg.lister,
		Deleter: rg.deleter, Health: rg.health,
		Cluster: rg.cluster, Membership: rg.membership, Retention: rg.retention, Storage: rg.storage,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return rg
}

// request makes an authorised request; headers come as name, value, ….
func request(method, target, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (rg *rig) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	rg.ServeHTTP(w, r)
	return w
}

// stores makes the recorder store whatever comes, any number of times.
func (rg *rig) stores() {
	rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(reply)
}

// golden compares got with testdata/<name>, or writes it there with -rewrite.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -rewrite)", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func closeNow(tb testing.TB, c io.Closer) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
}

func sample(tb testing.TB, key string, at metric.Timestamp, value float64) metric.Sample {
	tb.Helper()
	series, err := metric.ParseSeriesKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := metric.NewSample(series, at, value)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

var healthy = inbound.Health{Status: inbound.Healthy, Message: "worker-1 is operational", NodeID: "worker-1", Role: "embedded", Shards: 8}
