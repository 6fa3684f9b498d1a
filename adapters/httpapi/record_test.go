package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

const oneSample = `{"metric_name":"a","value":1,"tags":{"k":"v"}}`

func zipped(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestWritesReachTheRecorder(t *testing.T) {
	rg := newRig(t, nil)
	digest := func(contentType, body string) *[32]byte {
		d := sha256.Sum256([]byte(contentType + "\x00" + body))
		return &d
	}
	const lines = "application/x-ndjson"
	for _, c := range []struct {
		body    string
		headers []string
		samples int
		digest  *[32]byte
	}{
		{oneSample, nil, 1, nil},
		{"[" + oneSample + "," + oneSample + "]", nil, 2, nil},
		{oneSample + "\n" + oneSample, []string{"Content-Type", lines}, 2, nil},
		{zipped(t, oneSample), []string{"Content-Encoding", "gzip"}, 1, nil},
		{zipped(t, oneSample+"\n"+oneSample), []string{"Content-Encoding", "GZIP", "Content-Type", lines}, 2, nil},
		{oneSample + " ", []string{headerIdempotencyKey, "k"}, 1, digest("", oneSample+" ")},
		{oneSample, []string{headerIdempotencyKey, strings.Repeat("k", 255), "Content-Type", lines}, 1, digest(lines, oneSample)},
		{zipped(t, oneSample), []string{headerIdempotencyKey, "k", "Content-Encoding", "gzip"}, 1, digest("", zipped(t, oneSample))},
	} {
		called := false
		rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
				called = true
				if len(req.Observations) != c.samples || req.Observations[0].Series().Key() != `a{k="v"}` {
					t.Errorf("%q: %d samples, want %d", c.body, len(req.Observations), c.samples)
				}
				switch {
				case (req.Idempotency == nil) != (c.digest == nil):
					t.Errorf("%q: idempotency %v", c.body, req.Idempotency)
				case c.digest != nil && req.Idempotency.Digest != *c.digest:
					t.Errorf("%q: another digest than that of type and body", c.body)
				}
				return reply(ctx, req)
			})
		if w := rg.do(request("POST", "/metrics", c.body, c.headers...)); w.Code != http.StatusCreated || !called {
			t.Errorf("%q: %d %s", c.body, w.Code, w.Body)
		}
	}
}

func TestBadIdempotencyKeysAreRefused(t *testing.T) {
	rg := newRig(t, nil)
	for _, keys := range [][]string{{""}, {strings.Repeat("k", 256)}, {"a", "a"}, {"a\x7f"}, {"a\tb"}} {
		r := request("POST", "/metrics", oneSample)
		r.Header[headerIdempotencyKey] = keys
		if w := rg.do(r); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), headerIdempotencyKey) {
			t.Errorf("keys %q: %d %s", keys, w.Code, w.Body)
		}
	}
}

func TestLimitsOnBodies(t *testing.T) {
	rg := newRig(t, nil)
	rg.stores()
	pad := func(n int) string { return oneSample + strings.Repeat(" ", n-len(oneSample)) }
	f := func(why, body string, length int64, status int, headers ...string) {
		t.Helper()
		r := request("POST", "/metrics", body, headers...)
		r.ContentLength = length
		w := rg.do(r)
		if w.Code != status {
			t.Errorf("%s: %d %.200s, want %d", why, w.Code, w.Body, status)
		}
		if status == http.StatusRequestEntityTooLarge && !strings.Contains(w.Body.String(), `"limit":`) {
			t.Errorf("%s: %s names no limit", why, w.Body)
		}
	}
	const created, tooLarge = http.StatusCreated, http.StatusRequestEntityTooLarge
	f("as long as may be", pad(BodyBytesMax), BodyBytesMax, created)
	f("as long as may be, length unknown", pad(BodyBytesMax), -1, created)
	f("one byte more", pad(BodyBytesMax+1), BodyBytesMax+1, tooLarge)
	f("one byte more, length unknown", pad(BodyBytesMax+1), -1, tooLarge)
	f("one byte more, lines", pad(BodyBytesMax+1), -1, tooLarge, "Content-Type", "application/x-ndjson")
	bomb := zipped(t, pad(BodyBytesMax+1))
	f("one byte more, compressed", bomb, int64(len(bomb)), tooLarge, "Content-Encoding", "gzip")
	f("one byte more, compressed lines", bomb, -1, tooLarge, "Content-Encoding", "gzip", "Content-Type", "application/x-ndjson")
	fits := zipped(t, pad(BodyBytesMax))
	f("as long as may be, compressed", fits, int64(len(fits)), created, "Content-Encoding", "gzip")
	f("a length that is a lie", oneSample, BodyBytesMax+1, tooLarge)
	f("too many samples", "["+strings.Repeat(`{"metric_name":"a","value":1},`, metric.BatchSamplesMax)+`{"metric_name":"a","value":1}]`, -1, tooLarge)
}

func TestRoomForBodiesIsBoundedAndGivenBack(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.BodyBytesInFlightMax = BodyBytesMax })
	rg.stores()
	body := "[" + strings.Repeat(oneSample+",", 5000) + oneSample + "]"
	compressed := zipped(t, body)
	attempts := map[string]func() *http.Request{
		"plain":           func() *http.Request { return request("POST", "/metrics", body) },
		"of no length":    func() *http.Request { r := request("POST", "/metrics", body); r.ContentLength = -1; return r },
		"compressed":      func() *http.Request { return request("POST", "/metrics", compressed, "Content-Encoding", "gzip") },
		"that fails":      func() *http.Request { return request("POST", "/metrics", body+"x") },
		"no gzip":         func() *http.Request { return request("POST", "/metrics", body, "Content-Encoding", "gzip") },
		"that breaks off": func() *http.Request { return brokenRequest(body) },
	}
	for why, attempt := range attempts {
		if !rg.bodyBytes.TryAcquire(BodyBytesMax - 100) {
			t.Fatalf("a body %s was not given back", why)
		}
		w := rg.do(attempt())
		if w.Code != http.StatusTooManyRequests && why != "no gzip" {
			t.Errorf("a body %s without room: %d %.100s, want 429", why, w.Code, w.Body)
		}
		rg.bodyBytes.Release(BodyBytesMax - 100)
		if w := rg.do(attempt()); w.Code == http.StatusTooManyRequests {
			t.Errorf("a body %s with room: %d", why, w.Code)
		}
	}
}

func brokenRequest(body string) *http.Request {
	r := request("POST", "/metrics", "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(body), iotest.ErrReader(errors.New("reset by peer"))))
	r.ContentLength = -1
	return r
}

func TestBrokenBodies(t *testing.T) {
	rg := newRig(t, nil)
	whole := zipped(t, oneSample)
	flipped := []byte(whole)
	flipped[len(flipped)-5] ^= 1 // in the checksum
	garbled := []byte(whole)
	garbled[12] ^= 0xff
	for body, code := range map[string]string{
		whole[:len(whole)-3]: "incomplete_body", string(flipped): "invalid_gzip", string(garbled): "invalid_gzip", "not gzip at all": "invalid_gzip", "": "incomplete_body",
	} {
		for _, media := range []string{"application/json", "application/x-ndjson"} {
			w := rg.do(request("POST", "/metrics", body, "Content-Encoding", "gzip", "Content-Type", media))
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), code) {
				t.Errorf("%q as %s: %d %s, want %s", body, media, w.Code, w.Body, code)
			}
		}
	}
	if w := rg.do(brokenRequest(oneSample)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "incomplete_body") {
		t.Errorf("a body that breaks off: %d %s", w.Code, w.Body)
	}
}

func TestDeadlines(t *testing.T) {
	rg := newRig(t, nil)
	var left time.Duration
	look := func(ctx context.Context) {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
	}
	rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
			look(ctx)
			return reply(ctx, req)
		})
	rg.latest.EXPECT().Latest(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, _ inbound.LatestRequest) (metric.Sample, error) {
			look(ctx)
			return sample(t, "a", received, 1), nil
		})
	f := func(method, target, body string, want time.Duration) {
		t.Helper()
		left = 0
		if w := rg.do(request(method, target, body)); w.Code >= 300 {
			t.Fatalf("%s: %d %s", target, w.Code, w.Body)
		}
		if left > want || left < want-time.Second {
			t.Errorf("%s %s: %s left, want about %s", method, target, left, want)
		}
	}
	f("POST", "/metrics", oneSample, RecordTimeoutMax)
	f("POST", "/metrics?timeout=2s", oneSample, 2*time.Second)
	f("POST", "/metrics?timeout=1h", oneSample, RecordTimeoutMax)
	f("POST", "/write", oneLine, RecordTimeoutMax)
	f("POST", "/api/v2/write?timeout=2s", oneLine, 2*time.Second)
	f("GET", "/metrics/a", "", QueryTimeoutMax)
	f("GET", "/metrics/a?timeout=10s", "", 10*time.Second)
}

func TestObserverHearsOfRequestsAndSamples(t *testing.T) {
	heard := &listener{}
	rg := newRig(t, func(c *Config) { c.Observer = heard })
	rg.stores()
	rg.do(request("POST", "/metrics", "["+oneSample+","+oneSample+"]"))
	rg.do(request("BREW", "/no/where", ""))
	rg.do(request("POST", "/write", oneLine))
	want := "recorded 2; POST /metrics 201 13 bytes; other none 404 217 bytes; recorded 2; skipped 1; POST /write 204 0 bytes; "
	if heard.String() != want {
		t.Fatalf("heard %q, want %q", heard.String(), want)
	}
}

// listener writes down what an Observer is told.
type listener struct{ strings.Builder }

func (l *listener) RequestDone(method, route string, status int, bytesSent int64, duration time.Duration) {
	if duration < 0 {
		l.WriteString("negative duration; ")
	}
	fmt.Fprintf(&l.Builder, "%s %s %d %d bytes; ", method, route, status, bytesSent)
}

func (l *listener) SamplesRecorded(samples int) { fmt.Fprintf(&l.Builder, "recorded %d; ", samples) }

func (l *listener) StringFieldsSkipped(fields int) { fmt.Fprintf(&l.Builder, "skipped %d; ", fields) }

func FuzzQueryParameters(f *testing.F) {
	for _, seed := range []string{
		"metric=a&from=2024-08-01T12:00:00+02:00&window=1h&fill=null", "metric=a&agg=avg,max&group_by=x,y&tag.a=b&tag.=&timeout=1s&level=none",
		"metric=%ff&window=9223372036854775807w", "metric=a;b", "metric=a&window=1ms&from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", "%zz",
		"metric=a&from=0001-01-01T00:00:00Z&window=1w",
	} {
		f.Add(seed)
	}
	rg := newRig(f, nil)
	rg.ports.Aggregator = aggregatorFunc(answer(nil)) // a mock would call f inside the fuzz target
	f.Fuzz(func(t *testing.T, query string) {
		r := request("GET", "/aggregate", "")
		r.URL.RawQuery = query
		w := rg.do(r)
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity:
		default:
			t.Fatalf("%q: %d %s", query, w.Code, w.Body)
		}
		if !validJSON(w.Body.Bytes()) {
			t.Fatalf("%q: not JSON: %s", query, w.Body)
		}
	})
}

func FuzzAppendText(f *testing.F) {
	f.Add("a\"\\\n\x00\x7f\u2028\xffé")
	f.Fuzz(func(t *testing.T, text string) {
		got := appendText(nil, text)
		// Converting to runes and back replaces each bad byte, as appendText does.
		if back, err := readText(got); err != nil || back != string([]rune(text)) {
			t.Fatalf("appendText(%q) = %s, which reads as %q, %v", text, got, back, err)
		}
	})
}

func FuzzAppendNumber(f *testing.F) {
	for _, v := range []float64{0, -0.5, 1e-7, 9.99e-7, 1e-6, 1e20, 1e21, 1.5e-300, 5e-324, 1.7e308, -1e-10} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		want, err := jsonNumber(v)
		if err != nil { // not finite
			return
		}
		if got := string(appendNumber(nil, v)); got != want {
			t.Fatalf("appendNumber(%v) = %s, want %s", v, got, want)
		}
	})
}

func BenchmarkPostOneSample(b *testing.B) {
	rg := newRig(b, nil)
	rg.Server.ports.Recorder = recorderFunc(reply)
	body := []byte(`{"metric_name":"cpu_usage","value":75.5,"timestamp":"2024-08-01T12:00:00Z","tags":{"host":"host-1"}}`)
	b.ReportAllocs()
	for b.Loop() {
		r := request("POST", "/metrics", "")
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		if w := rg.do(r); w.Code != http.StatusCreated {
			b.Fatal(w.Body)
		}
		rg.log.mu.Lock()
		rg.log.mu.Reset()
		rg.log.mu.Unlock()
	}
}

// recorderFunc makes a function a Recorder.
type recorderFunc func(context.Context, inbound.RecordRequest) (inbound.RecordReply, error)

func (f recorderFunc) Record(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
	return f(ctx, req)
}

// aggregatorFunc makes a function an Aggregator.
type aggregatorFunc func(context.Context, inbound.AggregateRequest) (aggregate.Answer, error)

func (f aggregatorFunc) Aggregate(ctx context.Context, req inbound.AggregateRequest) (aggregate.Answer, error) {
	return f(ctx, req)
}

// BenchmarkPostBatch is a batch of 10,000 samples over a loopback connection, all that HTTP costs included.
func BenchmarkPostBatch(b *testing.B) {
	const samples = 10_000
	rg := newRig(b, nil)
	rg.Server.ports.Recorder = recorderFunc(reply)
	server := httptest.NewServer(rg)
	defer server.Close()
	var text bytes.Buffer
	text.WriteByte('[')
	for i := range samples {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"metric_name":"cpu_usage_%d","value":%d.%02d,"timestamp":"2024-08-01T12:%02d:%02dZ","tags":{"host":"host-%d","region":"eu-west-1"}}`,
			i%10, i%100, i%97, i/60%60, i%60, i/10%100)
	}
	text.WriteByte(']')
	b.ReportAllocs()
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/metrics", bytes.NewReader(text.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := server.Client().Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		closeNow(b, resp.Body)
		if resp.StatusCode != http.StatusCreated {
			b.Fatal(resp.Status)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
}
