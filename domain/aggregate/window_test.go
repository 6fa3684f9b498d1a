package aggregate_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func mustWindow(t interface{ Fatalf(string, ...any) }, text string) aggregate.Window {
	w, err := aggregate.ParseWindow(text)
	if err != nil {
		t.Fatalf("ParseWindow(%q): %v", text, err)
	}
	return w
}

func mustTime(t interface{ Fatalf(string, ...any) }, text string) metric.Timestamp {
	ts, err := metric.ParseTimestamp("time", text)
	if err != nil {
		t.Fatalf("ParseTimestamp(%q): %v", text, err)
	}
	return ts
}

func TestParseWindow(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1ms": time.Millisecond, "30s": 30 * time.Second, "5m": 5 * time.Minute, "1h": time.Hour,
		"1d": 24 * time.Hour, "1w": 7 * 24 * time.Hour, "90m": 90 * time.Minute, "36525d": 36525 * 24 * time.Hour,
	} {
		w, err := aggregate.ParseWindow(text)
		if err != nil || w.Width() != want.Microseconds() || w.String() != text || w.IsZero() {
			t.Errorf("ParseWindow(%q)=%d µs %q, %v, want %v", text, w.Width(), w, err, want)
		}
		same, err := aggregate.WindowOf(w.Width())
		if err != nil || same.Width() != w.Width() {
			t.Errorf("WindowOf(%d)=%d, %v", w.Width(), same.Width(), err)
		}
	}
	for _, text := range []string{
		"", "h", "1", "0s", "-5m", "+5m", "1.5h", "1h30m", "1y", "1 h", "1H", "36526d", "5218w", "9223372036854775807s",
		"99999999999999999999s", "ms", "1µs",
	} {
		if w, err := aggregate.ParseWindow(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseWindow(%q)=%v, %v, want Invalid", text, w, err)
		}
	}
	for _, width := range []int64{-1, 36525*86400*1_000_000 + 1, 1<<63 - 1} {
		if _, err := aggregate.WindowOf(width); fault.KindOf(err) != fault.Invalid {
			t.Errorf("WindowOf(%d): %v, want Invalid", width, err)
		}
	}
}

func TestWindowStart(t *testing.T) {
	for _, c := range []struct{ window, at, start, end string }{
		{"1w", "2024-08-01T12:00:00Z", "2024-07-29T00:00:00Z", "2024-08-05T00:00:00Z"}, // A Thursday, its Monday.
		{"1w", "2024-07-29T00:00:00Z", "2024-07-29T00:00:00Z", "2024-08-05T00:00:00Z"},
		{"1w", "2024-07-28T23:59:59.999999Z", "2024-07-22T00:00:00Z", "2024-07-29T00:00:00Z"},
		{"1w", "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"},
		{"1w", "1903-03-03T03:03:03Z", "1903-03-02T00:00:00Z", "1903-03-09T00:00:00Z"},
		{"1d", "1969-12-31T23:59:59.999999Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{"1h", "1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"},
		{"1h", "2024-08-01T12:59:59.999999Z", "2024-08-01T12:00:00Z", "2024-08-01T13:00:00Z"},
		{"5m", "2024-08-01T12:04:59Z", "2024-08-01T12:00:00Z", "2024-08-01T12:05:00Z"},
		{"30s", "1900-01-01T00:00:29Z", "1900-01-01T00:00:00Z", "1900-01-01T00:00:30Z"},
	} {
		w := mustWindow(t, c.window)
		start := w.Start(mustTime(t, c.at))
		if start.String() != c.start || w.End(start).String() != c.end {
			t.Errorf("%s window of %s is [%s, %s), want [%s, %s)", c.window, c.at, start, w.End(start), c.start, c.end)
		}
	}
	if start := (aggregate.Window{}).Start(5); start != 0 {
		t.Errorf("start without windows is %d, want 0", start)
	}
}

func TestWindowsTileTime(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w, err := aggregate.WindowOf(rapid.Int64Range(1, 36525*86400*1_000_000).Draw(r, "width"))
		if err != nil {
			r.Fatalf("WindowOf: %v", err)
		}
		at := metric.Timestamp(rapid.Int64Range(int64(metric.TimestampMin), int64(metric.TimestampMax)).Draw(r, "at"))
		start := w.Start(at)
		if start > at || at >= w.End(start) || w.Start(start) != start || w.Start(w.End(start)) != w.End(start) {
			r.Fatalf("window of %d is [%d, %d)", at, start, w.End(start))
		}
		if off := (int64(start) - w.Origin()) % w.Width(); off != 0 {
			r.Fatalf("window starts %d off the origin's grid", off)
		}
	})
}
