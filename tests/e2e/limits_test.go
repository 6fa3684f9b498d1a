package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestLimitsAreThoseOfHelp goes over limits: each answer's status and code is one that --help lists.
func TestLimitsAreThoseOfHelp(t *testing.T) {
	exit, help := runToEnd(t, nil, "--help")
	_, help, found := strings.Cut(help, "\nLimits")
	if exit != 0 || !found {
		t.Fatalf("--help: exit code %d, limits found: %v", exit, found)
	}
	c := connect(t, start(t, t.TempDir(), "STORAGE=memory", "SHARDS=2"))
	do(t, c, 201, "POST", "/metrics", groups(10_001))
	f := func(status int, code, method, path, body string, header ...string) {
		t.Helper()
		a := do(t, c, status, method, path, body, header...)
		told := `{"error":{"code":"` + code + `"`
		if path == "/write" { // as clients of Influx are told
			told = `"reason":"` + code + `"`
		}
		if !strings.Contains(a.Body, told) {
			t.Errorf("%s %s: %.300s; want the code %s", method, path, a.Body, code)
		}
		if line := fmt.Sprintf("  %d %s\n", status, code); !strings.Contains(help, line) {
			t.Errorf("%s %s: --help does not list %q:\n%s", method, path, line, help)
		}
	}
	f(413, "body_too_large", "POST", "/metrics", strings.Repeat(" ", 16<<20+1))
	f(413, "too_many_samples", "POST", "/metrics", strings.Repeat("{\"metric_name\":\"m\",\"value\":1}\n", 100_001),
		"Content-Type", "application/x-ndjson")
	f(413, "too_many_samples", "POST", "/write", strings.Repeat("m value=1\n", 100_001))
	f(400, "invalid_argument", "POST", "/metrics", `{"metric_name":"`+strings.Repeat("n", 256)+`","value":1}`)
	f(400, "invalid_argument", "POST", "/metrics", `{"metric_name":"m","value":1}`, "Idempotency-Key", strings.Repeat("k", 256))

	f(422, "too_many_windows", "GET", "/aggregate?metric=g&window=1s&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", "")
	f(422, "too_many_groups", "GET", "/aggregate?metric=g&group_by=of", "")
	f(400, "invalid_argument", "GET", "/aggregate?"+url.Values{"metric": strings.Fields(strings.Repeat("g ", 21))}.Encode(), "")
	f(400, "invalid_argument", "GET", "/series?limit=100001", "")
	f(504, "query_timeout", "GET", "/aggregate?metric=g&timeout=1ns", "")
}

// groups returns a batch of n samples of the metric g, each with another value of the tag of.
func groups(n int) string {
	samples := make([]string, n)
	for i := range samples {
		samples[i] = fmt.Sprintf(`{"metric_name":"g","value":1,"tags":{"of":"%d"}}`, i)
	}
	return "[" + strings.Join(samples, ",") + "]"
}
