package memtable_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// TestRetentionOnlyRises compares with all cut-offs ever told, and stores it now and then.
func TestRetentionOnlyRises(t *testing.T) {
	names := []metric.Name{mustName(t, "cpu"), mustName(t, "cpu_idle"), mustName(t, "mem")}
	rapid.Check(t, func(r *rapid.T) {
		anyTime := rapid.OneOf(rapid.Map(rapid.IntRange(-5, 5), func(i int) metric.Timestamp { return metric.Timestamp(i) }),
			rapid.Just(metric.TimestampMin))
		var kept memtable.Retention
		var told []metric.Cutoffs
		for range rapid.IntRange(1, 10).Draw(r, "steps") {
			c := metric.Cutoffs{Default: anyTime.Draw(r, "default")}
			for _, pattern := range rapid.SampledFrom([][]string{nil, {"cpu"}, {"cpu*"}, {"mem", "c*"}}).Draw(r, "patterns") {
				c.Rules = append(c.Rules, metric.CutoffRule{Pattern: pattern, Before: anyTime.Draw(r, pattern)})
			}
			told = append(told, c)
			kept = kept.With(c)
			if rapid.Bool().Draw(r, "store") {
				again, err := memtable.DecodeRetention(kept.Encode())
				if err != nil || !again.Equal(kept) {
					r.Fatalf("stored %v came back as %v: %v", kept, again, err)
				}
				kept = again
			}
			for _, name := range names {
				want := metric.TimestampMin
				for _, c := range told {
					want = max(want, c.Of(name))
				}
				if got := kept.Of(name); got != want {
					r.Fatalf("cut-off of %s is %d, want %d after %v", name, got, want, told)
				}
			}
		}
	})
}

func TestRetentionIsBounded(t *testing.T) {
	var kept memtable.Retention
	for i := range 200 {
		c := metric.Cutoffs{Default: metric.TimestampMin, Rules: []metric.CutoffRule{{Pattern: fmt.Sprint("m", i), Before: 10}}}
		kept = kept.With(c)
	}
	if early, late := kept.Of(mustName(t, "m99")), kept.Of(mustName(t, "m100")); early != 10 || late != metric.TimestampMin {
		t.Errorf("the 100th policy gives %d, the 101st %d, want 10 and none", early, late)
	}
	if n := len(kept.Encode()); n > 3000 {
		t.Errorf("%d bytes", n)
	}
	kept = kept.With(metric.Cutoffs{Default: 11}) // It would be one too many, but overtakes all.
	if got := kept.Of(mustName(t, "m100")); got != 11 || len(kept.Encode()) > 30 {
		t.Errorf("the cut-off after all were overtaken is %d in %d bytes, want 11", got, len(kept.Encode()))
	}
}

func TestRetentionGolden(t *testing.T) {
	const golden = "01" + "00000001" + "0000000000000005" + "00000001" + "fffffffffffffff9" + "0002" + "632a"
	kept := memtable.Retention{}.With(metric.Cutoffs{Default: 5, Rules: []metric.CutoffRule{{Pattern: "c*", Before: -7}}})
	if got := hex.EncodeToString(kept.Encode()); got != golden {
		t.Errorf("encoded %s, want %s", got, golden)
	}
	whole, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := memtable.DecodeRetention(whole); err != nil || !again.Equal(kept) {
		t.Errorf("decoded %v, %v", again, err)
	}
	for n := 1; n < len(whole); n++ {
		if _, err := memtable.DecodeRetention(whole[:n]); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%d bytes: %v, want Corrupt", n, err)
		}
	}
	for _, bad := range []string{"02" + golden[2:], "01ffffffff", golden + "00", "01" + "00000001" + "0000000000000005" + "ffffffff"} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := memtable.DecodeRetention(b); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v, want Corrupt", bad, err)
		}
	}
}
