package retain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/application/retain"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a node: its view, its clock, and the shards that take cut-offs.
type rig struct {
	mu      sync.Mutex
	policy  metric.RetentionPolicy
	changed chan struct{}
	skew    metric.Timestamp // of the cluster's time against the bubble's
	leads   bool
	failing map[shard.ID]bool
	taken   map[shard.ID][]metric.Cutoffs
	told    []error
}

func newRig(policy metric.RetentionPolicy) *rig {
	return &rig{policy: policy, changed: make(chan struct{}), leads: true, failing: map[shard.ID]bool{}, taken: map[shard.ID][]metric.Cutoffs{}}
}

func (r *rig) Retention() metric.RetentionPolicy {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policy
}

func (r *rig) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *rig) ClusterTime() (metric.Timestamp, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return metric.Timestamp(time.Now().UnixMicro()) + r.skew, r.leads
}

func (r *rig) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (r *rig) Uint64() uint64 { return 7 }

func (r *rig) Retain(_ context.Context, id shard.ID, cutoffs metric.Cutoffs) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing[id] {
		return errors.New("no leader")
	}
	r.taken[id] = append(r.taken[id], cutoffs)
	return nil
}

func (r *rig) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// count returns how many cut-offs each shard took, and forgets them.
func (r *rig) count(shards int) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make([]int, shards)
	for id, taken := range r.taken {
		counts[id] = len(taken)
	}
	clear(r.taken)
	return counts
}

func (r *rig) keeper(shards int) *retain.Keeper {
	return retain.NewKeeper(retain.KeeperConfig{
		Shards: shards, Policy: r, Time: r, Proposer: r, Timer: r, Entropy: r,
		Report: func(_ string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, err)
		},
	})
}

func parse(t *testing.T, text string) metric.RetentionPolicy {
	t.Helper()
	p, err := metric.ParseRetentionPolicy("RETENTION", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestCutoffsMoveOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(parse(t, "30d,debug_*=7d"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.keeper(3).Run(ctx) }()
		want := func(when string, want ...int) {
			t.Helper()
			if got := r.count(3); !slices.Equal(got, want) {
				t.Fatalf("%s: %v proposals, want %v", when, got, want)
			}
		}
		pass(10 * time.Second)
		want("after the start", 1, 1, 1)
		pass(58 * time.Minute) // the bubble begins at the full hour
		want("within the hour", 0, 0, 0)
		pass(4 * time.Minute)
		want("in the next hour", 1, 1, 1)

		r.change(func() { r.policy = parse(t, "1d") })
		synctest.Wait()
		want("at once when the policy changes", 1, 1, 1)
		r.change(func() {})
		synctest.Wait()
		want("when something else changes", 0, 0, 0)

		r.change(func() { r.failing[1] = true })
		pass(time.Hour)
		want("with one shard that has no leader", 1, 0, 1)
		told := 0
		r.change(func() { told, r.failing[1] = len(r.told), false })
		if told == 0 {
			t.Fatal("nobody was told of the shard that could not be reached")
		}
		pass(10 * time.Second)
		want("when it has one again", 0, 1, 0)

		r.change(func() { r.leads = false })
		pass(3 * time.Hour)
		want("on a node that does not lead", 0, 0, 0)
		r.change(func() { r.leads = true })
		pass(2 * time.Minute)
		want("on a node that leads again", 1, 1, 1)

		r.change(func() { r.policy = metric.RetentionPolicy{} })
		pass(3 * time.Hour)
		want("when everything is kept", 0, 0, 0)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

// TestNothingIsForgottenTooEarly lets policies change and the cluster's time jump, and checks of every cut-off
// proposed that it is none beyond what its policy keeps of the time that held.
func TestNothingIsForgottenTooEarly(t *testing.T) {
	patterns := []string{"debug_*", "cpu", "*", "a?c"}
	names := []metric.Name{}
	for _, text := range []string{"debug_x", "cpu", "abc", "mem"} {
		n, err := metric.NewName(text)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(metric.RetentionPolicy{})
		k := r.keeper(2)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "change") {
				r.policy = metric.RetentionPolicy{Default: time.Duration(rapid.IntRange(0, 1000).Draw(t, "default")) * time.Hour}
				for range rapid.IntRange(0, 3).Draw(t, "rules") {
					r.policy.Rules = append(r.policy.Rules, metric.RetentionRule{
						Pattern: rapid.SampledFrom(patterns).Draw(t, "pattern"),
						Keep:    time.Duration(rapid.IntRange(0, 1000).Draw(t, "keep")) * time.Hour,
					})
				}
			}
			r.skew = metric.Timestamp(rapid.Int64Range(-1e16, 1e16).Draw(t, "skew"))
			if err := k.Round(context.Background()); err != nil {
				t.Fatal(err)
			}
			now, _ := r.ClusterTime()
			for id, taken := range r.taken {
				for _, c := range taken {
					for _, name := range names {
						keep := r.policy.Of(name)
						if limit := now - metric.Timestamp(keep.Microseconds()); keep == 0 && c.Of(name) != metric.TimestampMin || keep > 0 && c.Of(name) > limit {
							t.Fatalf("shard %v: cut-off of %v is %v at %v, kept for %v", id, name, c.Of(name), now, keep)
						}
					}
				}
			}
			clear(r.taken)
		}
	})
}

// TestMedianTime compares the median with its definition: at least half of the clocks show it or more, and
// more than half show it or less.
func TestMedianTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Int64Range(-100, 100), 1, 9).Draw(t, "clocks")
		clocks := make([]metric.Timestamp, len(raw))
		for i, c := range raw {
			clocks[i] = metric.Timestamp(c)
		}
		before := fmt.Sprint(clocks)
		got := metric.MedianTime(clocks)
		notBefore, notAfter := 0, 0
		for _, c := range clocks {
			if c >= got {
				notBefore++
			}
			if c <= got {
				notAfter++
			}
		}
		if !slices.Contains(clocks, got) || 2*notBefore <= len(clocks) || 2*notAfter < len(clocks) {
			t.Fatalf("median of %v is %v", clocks, got)
		}
		if fmt.Sprint(clocks) != before {
			t.Fatalf("the clocks were changed from %s to %v", before, clocks)
		}
	})
}
