package metric_test

import (
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func TestRetentionPolicyText(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		p, err := metric.ParseRetentionPolicy("RETENTION", text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if p.String() != want {
			t.Errorf("%q reads as %v, want %s", text, p, want)
		}
		again, err := metric.ParseRetentionPolicy("RETENTION", p.String())
		if err != nil || !again.Equal(p) {
			t.Errorf("%q written and read again is %v, %v", text, again, err)
		}
	}
	f("", "0")
	f("0", "0")
	f("30d", "30d")
	f("2w", "14d")
	f("36h", "36h")
	f("30d, debug_*=7d,keep_?=0,a=b=1h", "30d,debug_*=7d,keep_?=0,a=b=1h")

	wrong := func(text string) {
		t.Helper()
		if p, err := metric.ParseRetentionPolicy("RETENTION", text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q reads as %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"d", "30", "30m", "-1d", "0d", "1.5d", "debug_*=7d", "30d,7d", "30d,=7d", "30d,a=", "30d,", "1000000d"} {
		wrong(text)
	}
}

func TestRetentionOfMetrics(t *testing.T) {
	p, err := metric.ParseRetentionPolicy("RETENTION", "30d,debug_*=7d,debug_important=0,*/tmp=1h")
	if err != nil {
		t.Fatal(err)
	}
	cutoffs := p.Cutoffs(metric.Timestamp(1_700_000_000_000_000)) // 22:13:20
	f := func(name string, keep time.Duration, before string) {
		t.Helper()
		n, err := metric.NewName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Of(n); got != keep {
			t.Errorf("%s is kept for %v, want %v", name, got, keep)
		}
		if got := cutoffs.Of(n); got.String() != before {
			t.Errorf("cut-off of %s is %v, want %s", name, got, before)
		}
	}
	f("cpu", 30*24*time.Hour, "2023-10-15T22:00:00Z")
	f("debug_x", 7*24*time.Hour, "2023-11-07T22:00:00Z")
	f("debug_important", 7*24*time.Hour, "2023-11-07T22:00:00Z") // the first rule that matches decides
	f("a/b/tmp", time.Hour, "2023-11-14T21:00:00Z")
	if got := cutoffs.Newest(); got.String() != "2023-11-14T21:00:00Z" {
		t.Errorf("newest cut-off %v", got)
	}
	if got := (metric.RetentionPolicy{}).Cutoffs(0).Newest(); got != metric.TimestampMin {
		t.Errorf("a policy that keeps everything cuts off at %v", got)
	}
}
