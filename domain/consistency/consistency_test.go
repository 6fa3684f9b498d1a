package consistency_test

import (
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

func TestRequirements(t *testing.T) {
	f := func(r consistency.Requirement, level consistency.Level, freshnessMax time.Duration, text string) {
		t.Helper()
		if r.Level() != level || r.FreshnessMax() != freshnessMax || r.String() != text {
			t.Errorf("%v within %v, %q; want %v within %v, %q", r.Level(), r.FreshnessMax(), r, level, freshnessMax, text)
		}
	}
	f(consistency.Requirement{}, consistency.Linearizable, 0, "linearizable")
	f(consistency.Of(consistency.Linearizable), consistency.Linearizable, 0, "linearizable")
	f(consistency.Of(consistency.None), consistency.None, 0, "none")
	fresh, err := consistency.FreshWithin(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	f(fresh, consistency.None, 5*time.Second, "none; freshness=5s")
}

func TestFreshnessIsPositive(t *testing.T) {
	for _, d := range []time.Duration{0, -time.Second} {
		if r, err := consistency.FreshWithin(d); fault.KindOf(err) != fault.Invalid {
			t.Errorf("within %v: %v, %v, want invalid", d, r, err)
		}
	}
}
