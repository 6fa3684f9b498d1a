package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// strangers are Authorization headers that must not give access.
func strangers() map[string][]string {
	return map[string][]string{
		"none": nil, "empty": {""}, "no scheme": {token}, "wrong": {"Bearer x"}, "empty token": {"Bearer "},
		"longer": {"Bearer " + token + "x"}, "shorter": {"Bearer " + token[1:]}, "other scheme": {"Token " + token},
		"basic": {"Basic " + token}, "token as user": {"Basic " + base64.StdEncoding.EncodeToString([]byte(token+":x"))}, "two": {"Bearer " + token, "Bearer " + token}, "comma": {"Bearer " + token + ", Bearer x"},
	}
}

func TestEveryRouteNeedsTheToken(t *testing.T) {
	rg := newRig(t, nil) // no port may be asked: the mocks expect nothing
	targets := []string{"/", "/nowhere", "/metrics/a/b", "/metrics?token=" + token, "/health?access_token=" + token}
	for pattern, found := range rg.routes {
		if !found.open {
			targets = append(targets, strings.Replace(pattern, "{name}", "a", 1))
		}
	}
	if len(targets) < 9 {
		t.Fatalf("only %d targets: does the table of routes still exist?", len(targets))
	}
	for _, target := range targets {
		influx := rg.routes[target].dialect != native
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"} {
			for why, headers := range strangers() {
				if influx && why == "other scheme" { // is theirs
					continue
				}
				r := request(method, target, "")
				r.Header["Authorization"] = headers
				w := rg.do(r)
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s with token %s: %d %v, want 401", method, target, why, w.Code, w.Header())
				}
				if method != "HEAD" && !strings.Contains(w.Body.String(), `"unauthenticated"`) {
					t.Errorf("%s %s with token %s: %s", method, target, why, w.Body)
				}
			}
		}
	}
}

func TestProbesNeedNoToken(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.RequestsInFlightMax = 1 })
	rg.requests.enter(-1) // nor room among the requests
	rg.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
	for _, target := range []string{"/livez", "/readyz"} {
		r := request("GET", target, "")
		r.Header.Del("Authorization")
		if w := rg.do(r); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := rg.do(request("GET", "/health", "")); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("a request too many: %d %v, want 429 with Retry-After", w.Code, w.Header())
	}
}

func TestAnyConfiguredTokenGivesAccess(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.Tokens = []string{"old", "new"} })
	rg.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
	for _, header := range []string{"Bearer old", "bearer new", "BEARER  new"} {
		r := request("GET", "/health", "")
		r.Header.Set("Authorization", header)
		if w := rg.do(r); w.Code != http.StatusOK {
			t.Errorf("Authorization: %s: %d", header, w.Code)
		}
	}
}

func FuzzTokenHeader(f *testing.F) {
	for _, headers := range strangers() {
		f.Add(strings.Join(headers, "\n"))
	}
	f.Add("Bearer " + token)
	tokens := newTokens([]string{token})
	f.Fuzz(func(t *testing.T, header string) {
		fields := strings.Fields(header)
		carried := len(fields) == 2 && fields[1] == token
		r := &http.Request{Header: http.Header{"Authorization": {header}}, URL: &url.URL{}}
		if tokens.allow(r, native) && (!carried || !strings.EqualFold(fields[0], "bearer")) {
			t.Fatalf("allow(%q) = true", header)
		}
		_, password, _ := r.BasicAuth()
		if tokens.allow(r, influx1) && password != token && (!carried || !strings.EqualFold(fields[0], "bearer") && !strings.EqualFold(fields[0], "token")) {
			t.Fatalf("allow(%q) = true for Influx", header)
		}
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	rg := newRig(t, nil)
	rg.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
	for headers := range strangers() {
		r := request("GET", "/health?token="+token, "", headerRequestID, token+" \"quoted\"")
		r.Header["Authorization"] = strangers()[headers]
		rg.do(r)
	}
	rg.do(request("GET", "/health?token="+token, ""))
	rg.do(request("GET", "/nowhere/"+token, ""))
	rg.do(request(token, "/health", ""))
	rg.do(request("POST", "/metrics", token))
	log := rg.log.String()
	if lines := strings.Count(log, "\n"); lines < len(strangers())+4 {
		t.Fatalf("only %d lines were logged:\n%s", lines, log)
	}
	if strings.Contains(log, token) {
		t.Fatalf("the token is in the log:\n%s", log)
	}
}

func TestAccessLogTellsWhatHappened(t *testing.T) {
	rg := newRig(t, nil)
	rg.stores()
	rg.do(request("POST", "/metrics?timeout=1s", `{"metric_name":"a","value":1}`, headerRequestID, "req-7"))
	var line struct {
		Level, Method, Route, Remote, Message, Code string
		RequestID                                   string `json:"request_id"`
		Status, Bytes                               int
		DurationMS                                  *float64 `json:"duration_ms"`
	}
	if err := json.Unmarshal([]byte(rg.log.String()), &line); err != nil {
		t.Fatalf("%v: %s", err, rg.log)
	}
	if line.Level != "info" || line.Method != http.MethodPost || line.Route != "/metrics" || line.Status != 201 || line.Bytes == 0 ||
		line.RequestID != "req-7" || line.Remote == "" || line.DurationMS == nil || line.Message != "request" || line.Code != "" {
		t.Fatalf("logged %s", rg.log)
	}
}

func TestProbesAreLoggedForDebuggingOnly(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.Logger = c.Logger.Level(zerolog.InfoLevel) })
	rg.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
	for _, target := range []string{"/livez", "/readyz", "/health", "/metrics"} {
		rg.do(request("GET", target, ""))
	}
	if got := rg.log.String(); got != "" {
		t.Fatalf("logged %s", got)
	}
	rg.do(request("GET", "/nowhere", ""))
	if got := rg.log.String(); !strings.Contains(got, `"code":"route_not_found"`) {
		t.Fatalf("logged %s", got)
	}
}

func TestRequestIDs(t *testing.T) {
	rg := newRig(t, nil)
	seen := map[string]bool{}
	for _, sent := range []string{"", "", "a b", "a\nb", strings.Repeat("x", 65), "ü"} {
		w := rg.do(request("GET", "/livez", "", headerRequestID, sent))
		id := w.Header().Get(headerRequestID)
		if id == sent || id == "" || seen[id] {
			t.Errorf("X-Request-Id %q was answered with %q", sent, id)
		}
		seen[id] = true
	}
	if w := rg.do(request("GET", "/livez", "", headerRequestID, "trace_1.a-B")); w.Header().Get(headerRequestID) != "trace_1.a-B" {
		t.Errorf("a good X-Request-Id was replaced by %q", w.Header().Get(headerRequestID))
	}
}

func TestPanicsAreAnsweredAndLogged(t *testing.T) {
	rg := newRig(t, nil)
	rg.health.EXPECT().Health(gomock.Any()).AnyTimes().DoAndReturn(
		func(context.Context) inbound.Health { panic("out of cheese") })
	for range 2 { // the second finds the counts of the first restored
		w := rg.do(request("GET", "/health", ""))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"internal"`) {
			t.Fatalf("%d %s, want 500", w.Code, w.Body)
		}
	}
	if log := rg.log.String(); !strings.Contains(log, "out of cheese") || !strings.Contains(log, `"status":500`) {
		t.Fatalf("logged %s", log)
	}
	select {
	case <-rg.requests.idle():
	default:
		t.Fatal("a request that panicked still counts as in flight")
	}
}

func TestPanicBehindTheHeaderCutsTheAnswer(t *testing.T) {
	rg := newRig(t, func(c *Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			panic("half way")
		})
	})
	defer func() {
		if recovered := recover(); recovered != http.ErrAbortHandler { //nolint:errorlint // a panic value, not wrapped
			t.Fatalf("recovered %v, want ErrAbortHandler", recovered)
		}
	}()
	rg.do(request("GET", "/metrics", ""))
}

func TestNamesMayHoldAnyCharacter(t *testing.T) {
	rg := newRig(t, nil)
	for target, want := range map[string]string{
		"/metrics/a%2Fb": "a/b", "/metrics/a+b": "a+b", "/metrics/a%20b": "a b", "/metrics/%2E%2E": "..", "/metrics/..": "..",
		"/metrics/%25": "%", "/metrics/a%252Fb": "a%2Fb", "/metrics/%C3%A9%F0%9F%98%80": "é😀", "/metrics/a?tag.k%2F=v%2Fw": "a",
		"/metrics/%7Bname%7D": "{name}", "/metrics/a;b": "a;b",
	} {
		var got inbound.LatestRequest
		rg.latest.EXPECT().Latest(gomock.Any(), gomock.Any()).DoAndReturn(
			func(_ context.Context, req inbound.LatestRequest) (metric.Sample, error) {
				got = req
				return sample(t, "x", received, 1), nil
			})
		if w := rg.do(request("GET", target, "")); w.Code != http.StatusOK || got.Metric.String() != want {
			t.Errorf("%s: %d, name %q, want %q", target, w.Code, got.Metric, want)
		}
		if strings.Contains(target, "tag.") && !cmp.Equal(got.Matchers.List(), []metric.Matcher{{Key: "k/", Op: metric.MatchAnyOf, Values: []string{"v/w"}}}) {
			t.Errorf("%s: matchers %v", target, got.Matchers.List())
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	rg := newRig(t, nil)
	good := rg.config
	for why, change := range map[string]func(*Config, *Ports){
		"no token":         func(c *Config, _ *Ports) { c.Tokens = nil },
		"an empty token":   func(c *Config, _ *Ports) { c.Tokens = []string{"a", ""} },
		"no metrics":       func(c *Config, _ *Ports) { c.Metrics = nil },
		"a negative limit": func(c *Config, _ *Ports) { c.ConnectionsMax = -1 },
		"no room":          func(c *Config, _ *Ports) { c.BodyBytesInFlightMax = BodyBytesMax - 1 },
		"no recorder":      func(_ *Config, p *Ports) { p.Recorder = nil },
		"no health":        func(_ *Config, p *Ports) { p.Health = nil },
	} {
		config, ports := good, rg.ports
		change(&config, &ports)
		if _, err := New(config, ports); err == nil {
			t.Errorf("New accepts %s", why)
		}
	}
}
