package e2e

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDocumentedExamples(t *testing.T) {
	p := start(t, t.TempDir(), "NODE_ID=worker-1")
	c := connect(t, p)

	a := do(t, c, 200, "GET", "/health", "")
	for _, want := range []string{`"status":"healthy"`, `"message":"worker-1 is operational"`} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("GET /health=%s, want %s in it", a.Body, want)
		}
	}
	// The documentation that users start from has this comma after the last member.
	do(t, c, 201, "POST", "/metrics", `{
  "metric_name": "cpu_usage",
  "value": 75.5,
  "timestamp": "2025-11-27T10:30:00Z",
}`)
	for _, example := range []struct{ path, want string }{
		{"/metrics/cpu_usage", `{"metric_name":"cpu_usage","value":75.5,"timestamp":"2025-11-27T10:30:00Z"}`},
		{
			"/aggregate?metric=cpu_usage&from=2025-11-27T00:00:00Z&to=2025-11-27T23:59:59Z",
			`{"metric":"cpu_usage","aggregations":{"avg":75.5,"min":75.5,"max":75.5,"count":1}}`,
		},
		{
			"/aggregate?metric=cpu_usage&window=1h",
			`{"metric":"cpu_usage","window":"1h","windows":[{"start":"2025-11-27T10:00:00Z","end":"2025-11-27T11:00:00Z","aggregations":{"avg":75.5,"min":75.5,"max":75.5,"count":1}}]}`,
		},
		{
			"/aggregate?metric=cpu_usage&from=2025-11-28T00:00:00Z",
			`{"metric":"cpu_usage","aggregations":{"avg":null,"min":null,"max":null,"count":0}}`,
		},
		{
			"/aggregate?metric=cpu_usage&agg=sum,count&from=2025-11-27T12:30:00+02:00&to=2025-11-27T12:30:00+02:00", // both ends inclusive, + as space
			`{"metric":"cpu_usage","aggregations":{"sum":75.5,"count":1}}`,
		},
	} {
		a := do(t, c, 200, "GET", example.path, "")
		if got := strings.TrimSpace(a.Body); got != example.want {
			t.Errorf("GET %s\n got %s\nwant %s", example.path, got, example.want)
		}
		if level := a.Header.Get("X-RaftMetrics-Level"); level != "linearizable" {
			t.Errorf("GET %s: X-RaftMetrics-Level=%q, want linearizable", example.path, level)
		}
	}
	if a := do(t, c, 200, "GET", "/metrics", ""); !strings.Contains(a.Body, "# TYPE raftmetrics_") {
		t.Errorf("GET /metrics names nothing of its own:\n%.500s", a.Body)
	}
}

func TestWriteForms(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(`[{"metric_name":"m","value":4},{"metric_name":"m","value":5}]`))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, form := range []struct {
		body   string
		header []string
		want   string
	}{
		{`[{"metric_name":"m","value":1,"tags":{"host":"a"}},{"metric_name":"m","value":2,"tags":{"host":"b"}}]`, nil, `{"stored":2}`},
		{"{\"metric_name\":\"m\",\"value\":3}\n{\"metric_name\":\"m\",\"value\":3.5}\n", []string{"Content-Type", "application/x-ndjson"}, `{"stored":2}`},
		{zipped.String(), []string{"Content-Encoding", "gzip"}, `{"stored":2}`},
		{`[{"metric_name":"m","value":6}]`, []string{"Content-Type", "application/x-www-form-urlencoded"}, `{"stored":1}`}, // as curl -d sends it
		{`[{"metric_name":"m","value":7}]`, []string{"Content-Type", ""}, `{"stored":1}`},
	} {
		if a := do(t, c, 201, "POST", "/metrics", form.body, form.header...); strings.TrimSpace(a.Body) != form.want {
			t.Errorf("POST %.60q: %s, want %s", form.body, a.Body, form.want)
		}
	}
	do(t, c, 200, "GET", "/metrics/m?tag.host=b", "")
	do(t, c, 404, "GET", "/metrics/m?tag.host=z", "")
	a := do(t, c, 200, "GET", "/aggregate?metric=m&agg=count,sum,min,max", "")
	if want := `{"metric":"m","aggregations":{"count":8,"sum":31.5,"min":1,"max":7}}`; strings.TrimSpace(a.Body) != want {
		t.Errorf("aggregate=%s, want %s", a.Body, want)
	}
	a = do(t, c, 200, "GET", "/aggregate?metric=m&agg=count,max&group_by=host", "")
	want := `{"metric":"m","groups":[{"tags":{"host":""},"aggregations":{"count":6,"max":7}},{"tags":{"host":"a"},"aggregations":{"count":1,"max":1}},{"tags":{"host":"b"},"aggregations":{"count":1,"max":2}}]}`
	if strings.TrimSpace(a.Body) != want {
		t.Errorf("by host=%s, want %s", a.Body, want)
	}
}

func TestWindowsAreFilled(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	do(t, c, 201, "POST", "/metrics", `[
		{"metric_name":"w","value":1,"timestamp":"2026-01-05T00:30:00Z"},
		{"metric_name":"w","value":3,"timestamp":"2026-01-05T02:30:00Z"}]`)
	for fill, want := range map[string]string{
		"":         `1 3`,
		"null":     `1 null 3`,
		"0":        `1 0 3`,
		"previous": `1 1 3`,
	} {
		path := "/aggregate?metric=w&agg=avg&window=1h"
		if fill != "" {
			path += "&fill=" + fill
		}
		a := do(t, c, 200, "GET", path, "")
		var got []string
		for _, m := range regexp.MustCompile(`"avg":([^}]*)}`).FindAllStringSubmatch(a.Body, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("fill=%s: averages %v, want %s", fill, got, want)
		}
	}
	a := do(t, c, 200, "GET", "/aggregate?metric=w&window=1w", "")
	if !strings.Contains(a.Body, `"start":"2026-01-05T00:00:00Z"`) { // a Monday
		t.Errorf("weeks: %s", a.Body)
	}
}

func TestErrorsAreJSON(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	shape := regexp.MustCompile(`^\{"error":\{"code":"[a-z_]+","message":".+\}\}\s*$`)
	for _, e := range []struct {
		status             int
		method, path, body string
		header             []string
		mentions           string
	}{
		{401, "GET", "/health", "", []string{"Authorization", "Bearer wrong-token"}, ""},
		{401, "GET", "/no/such/route", "", []string{"Authorization", ""}, ""},
		{404, "GET", "/no/such/route", "", nil, ""},
		{404, "GET", "/metrics/unknown", "", nil, "unknown"},
		{404, "GET", "/aggregate?metric=unknown", "", nil, "unknown"},
		{405, "DELETE", "/health", "", nil, ""},
		{415, "POST", "/metrics", "<xml/>", []string{"Content-Type", "text/xml"}, ""},
		{413, "POST", "/metrics", "[" + strings.Repeat(" ", 17<<20) + "]", nil, ""},
		{400, "POST", "/metrics", `{"metric_name":"m"}`, nil, "value"},
		{400, "POST", "/metrics", `{"metric_name":"m","value":1,"colour":"red"}`, nil, "colour"},
		{400, "POST", "/metrics", `{"metric_name":"m","value":1e999}`, nil, "value"},
		{400, "POST", "/metrics", `[{"metric_name":"m","value":1},{"metric_name":"","value":1}]`, nil, "1"},
		{400, "POST", "/metrics", `{"metric_name":"m","value":1,"timestamp":"yesterday"}`, nil, "timestamp"},
		{400, "GET", "/aggregate", "", nil, "metric"},
		{400, "GET", "/aggregate?metric=m&window=7q", "", nil, "window"},
		{400, "GET", "/aggregate?metric=m&agg=mode", "", nil, "agg"},
		{400, "GET", "/aggregate?metric=m&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", nil, "from"},
		{400, "GET", "/aggregate?metric=m&where=90", "", nil, "where"},
		{400, "GET", "/metrics/m?colour=red", "", nil, "colour"},
	} {
		a := do(t, c, e.status, e.method, e.path, e.body, e.header...)
		if !shape.MatchString(a.Body) || !strings.Contains(a.Body, e.mentions) {
			t.Errorf("%s %s: %s, want an error object that mentions %q", e.method, e.path, a.Body, e.mentions)
		}
		if allow := a.Header.Get("Allow"); (a.Status == 405) != (allow != "") {
			t.Errorf("%s %s: status %d with Allow=%q", e.method, e.path, a.Status, allow)
		}
	}
	// The refused batch left nothing behind.
	do(t, c, 404, "GET", "/metrics/m", "")
}

func TestLevels(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	do(t, c, 201, "POST", "/metrics", `{"metric_name":"m","value":1}`)
	for query, want := range map[string]string{"": "linearizable", "?level=linearizable": "linearizable", "?level=none": "none", "?freshness=5s": "none; freshness=5s"} {
		if got := do(t, c, 200, "GET", "/metrics/m"+query, "").Header.Get("X-RaftMetrics-Level"); got != want {
			t.Errorf("%q: X-RaftMetrics-Level=%q, want %q", query, got, want)
		}
	}
	do(t, c, 400, "GET", "/metrics/m?level=most", "")
	do(t, c, 200, "GET", "/aggregate?metric=m&timeout=10s", "")
	do(t, c, 400, "GET", "/aggregate?metric=m&timeout=soon", "")
}

func TestReadinessNeedsNoToken(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	for _, path := range []string{"/livez", "/readyz"} {
		if a := do(t, c, 200, "GET", path, "", "Authorization", ""); len(strings.Fields(a.Body)) != 1 {
			t.Errorf("GET %s=%q, want one word", path, a.Body)
		}
	}
	if a := do(t, c, 200, "HEAD", "/health", ""); a.Body != "" {
		t.Errorf("HEAD /health has the body %q", a.Body)
	}
}

func TestOwnToken(t *testing.T) {
	p := start(t, t.TempDir(), "AUTH_TOKEN=my-own-token", "BIND_ADDR=127.0.0.1")
	c := connect(t, p)
	do(t, c, 401, http.MethodGet, "/health", "") // the development token does not count any more
	do(t, c, 200, http.MethodGet, "/health", "", "Authorization", "Bearer my-own-token")
	if strings.Contains(p.Log(), "my-own-token") {
		t.Error("the token is in the log")
	}
}

func TestDefaultTimestampIsTheTimeOfReceipt(t *testing.T) {
	c := connect(t, start(t, t.TempDir()))
	before := time.Now().Add(-time.Millisecond)
	do(t, c, 201, "POST", "/metrics", `{"metric_name":"now","value":1}`)
	var latest struct{ Timestamp time.Time }
	if err := c.Get(t.Context(), "/metrics/now", &latest); err != nil {
		t.Fatal(err)
	}
	if latest.Timestamp.Before(before) || latest.Timestamp.After(time.Now()) {
		t.Errorf("timestamp=%v, want one since %v", latest.Timestamp, before)
	}
}
