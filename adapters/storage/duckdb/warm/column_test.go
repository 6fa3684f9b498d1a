package warm_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
)

// TestColumnFindsTimes compares with looking at every sample, for regular times and others.
func TestColumnFindsTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(-50, 50), 0, 30).Draw(t, "times")
		if rapid.Bool().Draw(t, "regular") {
			first, step := rapid.Int64Range(-50, 50).Draw(t, "first"), rapid.Int64Range(0, 7).Draw(t, "step")
			for i := range times {
				times[i] = first + int64(i)*step
			}
		}
		slices.Sort(times)
		values := make([]float64, len(times))
		c := warm.NewColumn(times, values)
		if c.Len() != len(times) {
			t.Fatalf("Len=%d, want %d", c.Len(), len(times))
		}
		lo := rapid.IntRange(0, len(times)).Draw(t, "lo")
		at := rapid.Int64Range(-60, 60).Draw(t, "at")
		want := lo
		for want < len(times) && times[want] < at {
			want++
		}
		if got := c.From(lo, at); got != want {
			t.Fatalf("From(%d, %d) of %v is %d, want %d", lo, at, times, got, want)
		}
		if got := c.Times(lo, len(times), nil); !slices.Equal(got, times[lo:]) {
			t.Fatalf("Times=%v, want %v", got, times[lo:])
		}
	})
}

func TestRegularTimesTakeNoRoom(t *testing.T) {
	times, values := []int64{10, 20, 30, 40}, []float64{1, 2, 3, 4}
	regular := warm.NewColumn(times, values)
	times = slices.Clone(times)
	times[3]++
	other := warm.NewColumn(times, values)
	if regular.Bytes() != 32 || other.Bytes() != 64 {
		t.Errorf("%d and %d bytes, want 32 and 64", regular.Bytes(), other.Bytes())
	}
}
