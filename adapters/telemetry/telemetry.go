// Package telemetry is the node's own metrics in Prometheus' text format: one table of what there is, and
// the means to feed it without anybody else knowing Prometheus.
package telemetry

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Telemetry holds the node's metrics. A metric is shown once somebody feeds it, so none shows a zero
// that nobody measured. All methods are safe for concurrent use.
type Telemetry struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	bytesSent *prometheus.CounterVec
	samples   prometheus.Counter
	strings   prometheus.Counter
	mu        struct {
		sync.Mutex
		counters   map[Metric]*prometheus.CounterVec
		histograms map[Metric]*prometheus.HistogramVec
	}
}

// New returns the metrics of a node that runs the given version of the program, with those of Go and the
// process.
func New(version string) *Telemetry {
	t := &Telemetry{registry: prometheus.NewRegistry()}
	t.mu.counters = map[Metric]*prometheus.CounterVec{}
	t.mu.histograms = map[Metric]*prometheus.HistogramVec{}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "raftmetrics_build_info", Help: "Always 1; the label tells the version that runs.",
		ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	t.requests = t.counterVec(HTTPRequests)
	t.bytesSent = t.counterVec(HTTPResponseBytes)
	t.durations = t.histogramVec(HTTPRequestSeconds)
	t.samples = t.Counter(SamplesRecorded)
	t.strings = t.Counter(StringFieldsSkipped)
	return t
}

// Handler answers with all metrics, compressed if the client takes that.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
}

// RequestDone counts an answered request. method and route must be of few values.
func (t *Telemetry) RequestDone(method, route string, status int, bytesSent int64, duration time.Duration) {
	code := strconv.Itoa(status)
	t.requests.WithLabelValues(method, route, code).Inc()
	t.bytesSent.WithLabelValues(route).Add(float64(bytesSent))
	t.durations.WithLabelValues(route, code).Observe(duration.Seconds())
}

// SamplesRecorded counts samples that a write stored.
func (t *Telemetry) SamplesRecorded(samples int) { t.samples.Add(float64(samples)) }

// StringFieldsSkipped counts string fields that a write in line protocol left out.
func (t *Telemetry) StringFieldsSkipped(fields int) { t.strings.Add(float64(fields)) }

// Counter returns the counter m with the values of its labels, in the order of its definition. It panics when
// the table has no such counter or other labels: that is a defect of the program. Keep what it returns.
func (t *Telemetry) Counter(m Metric, labelValues ...string) prometheus.Counter {
	return t.counterVec(m).WithLabelValues(labelValues...)
}

// Histogram is Counter for a histogram.
func (t *Telemetry) Histogram(m Metric, labelValues ...string) prometheus.Observer {
	return t.histogramVec(m).WithLabelValues(labelValues...)
}

// Watch shows the gauge m with what read returns whenever somebody looks. read is called concurrently
// and must return at once. Watching a gauge twice is a defect and panics.
func (t *Telemetry) Watch(m Metric, read func() float64) {
	d := lookUp(m, gauge)
	t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: string(m), Help: d.help}, read))
}

// WatchTotal is Watch for a counter that read knows; what it returns only grows.
func (t *Telemetry) WatchTotal(m Metric, read func() float64) {
	d := lookUp(m, counter)
	t.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: string(m), Help: d.help}, read))
}

func (t *Telemetry) counterVec(m Metric) *prometheus.CounterVec {
	d := lookUp(m, counter)
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.mu.counters[m]
	if !ok {
		v = prometheus.NewCounterVec(prometheus.CounterOpts{Name: string(m), Help: d.help}, d.labels)
		t.registry.MustRegister(v)
		t.mu.counters[m] = v
	}
	return v
}

func (t *Telemetry) histogramVec(m Metric) *prometheus.HistogramVec {
	d := lookUp(m, histogram)
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.mu.histograms[m]
	if !ok {
		v = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: string(m), Help: d.help, Buckets: d.buckets}, d.labels)
		t.registry.MustRegister(v)
		t.mu.histograms[m] = v
	}
	return v
}

func lookUp(m Metric, want kind) definition {
	d, ok := definitions[m]
	if !ok || d.kind != want {
		panic(fmt.Sprintf("telemetry: the table has no %q of that kind", m))
	}
	return d
}
