package metric_test

import (
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func TestSelection(t *testing.T) {
	set, err := metric.NewTags([]metric.Tag{{Key: "host", Value: "web-1"}, {Key: "zone", Value: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(op metric.MatcherOp, key string, want bool, values ...string) {
		t.Helper()
		m, err := metric.NewSelection([]metric.Matcher{{Key: key, Op: op, Values: values}})
		if err != nil || m.Match(set) != want {
			t.Errorf("op %d %s %v: Match=%v, %v, want %v", op, key, values, m.Match(set), err, want)
		}
	}
	f(metric.MatchAnyOf, "host", true, "x", "web-1")
	f(metric.MatchAnyOf, "none", false, "x")
	f(metric.MatchNoneOf, "host", false, "x", "web-1")
	f(metric.MatchNoneOf, "none", true, "x")
	f(metric.MatchPattern, "host", true, "web-.")
	f(metric.MatchPattern, "host", false, "web")
	f(metric.MatchPattern, "host", true, "x|web-1")
	f(metric.MatchPattern, "none", true, ".*")
	f(metric.MatchPattern, "none", false, ".+")
	for what, bad := range map[string][]metric.Matcher{
		"bad pattern":      {{Key: "a", Op: metric.MatchPattern, Values: []string{"("}}},
		"no value":         {{Key: "a", Op: metric.MatchAnyOf}},
		"unknown op":       {{Key: "a", Op: 9, Values: []string{"x"}}},
		"twice":            {{Key: "a", Op: metric.MatchAnyOf, Values: []string{"x"}}, {Key: "a", Op: metric.MatchAnyOf, Values: []string{"y"}}},
		"empty key":        {{Key: "", Op: metric.MatchNoneOf, Values: []string{"x"}}},
		"several patterns": {{Key: "a", Op: metric.MatchPattern, Values: []string{"x", "y"}}},
	} {
		_, err := metric.NewSelection(bad)
		wantInvalid(t, what, err)
	}
}

func TestRetentionPolicy(t *testing.T) {
	p, err := metric.ParseRetentionPolicy("RETENTION", "30d,debug_*=1d,a/?=2w,forever=0")
	if err != nil {
		t.Fatal(err)
	}
	now := metric.Timestamp(time.Date(2026, 11, 23, 14, 20, 1, 0, time.UTC).UnixMicro())
	cutoffs := p.Cutoffs(now)
	for name, want := range map[string]string{
		"cpu": "2026-10-24T14:00:00Z", "debug_x/y": "2026-11-22T14:00:00Z", "a/b": "2026-11-09T14:00:00Z",
		"a/bc": "2026-10-24T14:00:00Z", "forever": metric.TimestampMin.String(),
	} {
		n, err := metric.NewName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := cutoffs.Of(n).String(); got != want {
			t.Errorf("cut-off of %s=%s, want %s", name, got, want)
		}
	}
	for _, bad := range []string{"x", "a=1d", "30d,7d", "30m", "0h", "30d,=7d", "-1d", "1d,[=2d,3"} {
		_, err := metric.ParseRetentionPolicy("RETENTION", bad)
		wantInvalid(t, bad, err)
	}
	if p, err := metric.ParseRetentionPolicy("RETENTION", ""); err != nil || p.Cutoffs(now).Of(metric.Name{}) != metric.TimestampMin {
		t.Errorf("the empty policy forgets something: %v", err)
	}
}
