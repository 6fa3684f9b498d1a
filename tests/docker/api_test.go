package docker

import (
	"context"
	"strings"
	"testing"
)

// documented are requests that the documentation shows and what each port must answer, once
// writeDocumented has written.
var documented = []struct{ path, want string }{
	{"/metrics/cpu_usage", `{"metric_name":"cpu_usage","value":75.5,"timestamp":"2026-01-01T00:00:00Z"}`},
	{"/aggregate?metric=requests", `{"metric":"requests","aggregations":{"avg":30,"min":10,"max":60,"count":3}}`},
	{
		"/aggregate?metric=requests&from=2026-01-01T00:30:00Z&to=2026-01-01T01:10:00Z",
		`{"metric":"requests","aggregations":{"avg":40,"min":20,"max":60,"count":2}}`,
	},
	{"/aggregate?metric=requests&tag.host=b", `{"metric":"requests","aggregations":{"avg":20,"min":20,"max":20,"count":1}}`},
	{
		"/aggregate?metric=requests&window=1h", `{"metric":"requests","window":"1h","windows":[` +
			`{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T01:00:00Z","aggregations":{"avg":15,"min":10,"max":20,"count":2}},` +
			`{"start":"2026-01-01T01:00:00Z","end":"2026-01-01T02:00:00Z","aggregations":{"avg":60,"min":60,"max":60,"count":1}}]}`,
	},
	{
		"/aggregate?metric=requests&group_by=host&agg=sum,count", `{"metric":"requests","groups":[` +
			`{"tags":{"host":"a"},"aggregations":{"sum":70,"count":2}},{"tags":{"host":"b"},"aggregations":{"sum":20,"count":1}}]}`,
	},
}

// writeDocumented writes one sample through the first node and a batch through the last.
func writeDocumented(ctx context.Context, t *testing.T, s *stack) {
	t.Helper()
	first, last := s.fleet.Nodes[0], s.fleet.Nodes[len(s.fleet.Nodes)-1]
	// The documentation that users start from has this comma after the last member.
	ask(ctx, t, first, 201, "POST", "/metrics", `{"metric_name": "cpu_usage", "value": 75.5, "timestamp": "2026-01-01T00:00:00Z",}`)
	ask(ctx, t, last, 201, "POST", "/metrics", `[
		{"metric_name":"requests","value":10,"timestamp":"2026-01-01T00:10:00Z","tags":{"host":"a"}},
		{"metric_name":"requests","value":20,"timestamp":"2026-01-01T00:50:00Z","tags":{"host":"b"}},
		{"metric_name":"requests","value":60,"timestamp":"2026-01-01T01:10:00Z","tags":{"host":"a"}}]`)
}

// checkDocumented asks every port all of it.
func checkDocumented(ctx context.Context, t *testing.T, s *stack) {
	t.Helper()
	for _, n := range s.fleet.Nodes {
		for _, d := range documented {
			if got := strings.TrimSpace(ask(ctx, t, n, 200, "GET", d.path, "").Body); got != d.want {
				t.Errorf("%s: GET %s: %s, want %s", n.Name, d.path, got, d.want)
			}
		}
		if got := ask(ctx, t, n, 200, "GET", "/health", "").Body; !strings.HasPrefix(got, `{"status":"healthy","message":"`+n.Name+` is operational"`) {
			t.Errorf("%s: GET /health: %s", n.Name, got)
		}
		if got := ask(ctx, t, n, 200, "GET", "/metrics", "").Body; !strings.Contains(got, "\nraftmetrics_") {
			t.Errorf("%s: GET /metrics has no metric of its own:\n%s", n.Name, tail(got))
		}
		ask(ctx, t, n, 401, "GET", "/metrics/cpu_usage", "", "Authorization", "Bearer wrong")
		ask(ctx, t, n, 404, "GET", "/metrics/unheard_of", "")
	}
}
