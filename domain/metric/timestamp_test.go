package metric_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func TestParseTimestamp(t *testing.T) {
	for text, want := range map[string]metric.Timestamp{
		"1970-01-01T00:00:00Z":             0,
		"1970-01-01T00:00:00.000001Z":      1,
		"1969-12-31T23:59:59.999999Z":      -1,
		"2024-08-01T12:00:00Z":             1722513600_000000,
		"2024-08-01T12:00:00+02:00":        1722506400_000000,
		"2024-08-01T12:00:00.5-23:59":      1722599940_500000,
		"2024-02-29T00:00:00Z":             1709164800_000000,
		"0001-01-01T00:00:00Z":             metric.TimestampMin,
		"9999-12-31T23:59:59.999999Z":      metric.TimestampMax,
		"9999-12-31T23:59:59.999999+00:00": metric.TimestampMax,
	} {
		got, err := metric.ParseTimestamp("timestamp", text)
		if err != nil || got != want {
			t.Errorf("ParseTimestamp(%q)=%d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "now", "2024-08-01", "2024-08-01T12:00:00", "2024-08-01 12:00:00Z", "2024-08-01T12:00Z", "1722513600",
		"2024-08-01T12:00:00.1234567Z", "2024-08-01T12:00:00,5Z", "2024-08-01T1:00:00Z", "2024-8-01T12:00:00Z",
		"2024-08-01T24:00:00Z", "2024-08-01T12:00:60Z", "2023-02-29T00:00:00Z", "2024-08-01T12:00:00z",
		"2024-08-01T12:00:00+24:00", "2024-08-01T12:00:00+23:60", "2024-08-01T12:00:00+0200",
		"0000-12-31T23:59:59Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z",
		strings.Repeat("9", 1000), "\xff\xfe",
	} {
		_, err := metric.ParseTimestamp("from", text)
		wantInvalid(t, fmt.Sprintf("ParseTimestamp(%q)", text), err)
		if err != nil && (len(err.Error()) > 300 || !strings.HasPrefix(err.Error(), "from: ")) {
			t.Errorf("ParseTimestamp(%q) says %q, want the field and a short text", text, err)
		}
	}
}

func TestTimestampRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		micros := rapid.Int64Range(int64(metric.TimestampMin), int64(metric.TimestampMax)).Draw(r, "micros")
		ts, err := metric.NewTimestamp(micros)
		if err != nil {
			r.Fatalf("NewTimestamp(%d): %v", micros, err)
		}
		text := ts.String()
		again, err := metric.ParseTimestamp("timestamp", text)
		if err != nil || again != ts {
			r.Fatalf("%d is %s is %d, %v", ts, text, again, err)
		}
		appended, err := ts.AppendText([]byte("at "))
		if err != nil || string(appended) != "at "+text {
			r.Fatalf("AppendText=%q, %v, want %q", appended, err, text)
		}
		if of, err := metric.TimestampOf(ts.Time().Add(999 * time.Nanosecond)); err != nil || of != ts {
			r.Fatalf("TimestampOf truncates %s to %s, %v", text, of, err)
		}
	})
}

func TestTimestampLimits(t *testing.T) {
	for _, micros := range []int64{int64(metric.TimestampMin) - 1, int64(metric.TimestampMax) + 1, -1 << 63, 1<<63 - 1} {
		_, err := metric.NewTimestamp(micros)
		wantInvalid(t, fmt.Sprint("NewTimestamp ", micros), err)
	}
	_, err := metric.TimestampOf(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	wantInvalid(t, "year 10000", err)
}

// TestTextIsThatOfPackageTime compares the own calendar with the usual one.
func TestTextIsThatOfPackageTime(t *testing.T) {
	check := func(t rapid.TB, at metric.Timestamp) {
		if got, want := at.String(), at.Time().Format(time.RFC3339Nano); got != want {
			t.Fatalf("%d is %s, want %s", at, got, want)
		}
	}
	const day = 86_400_000_000
	for at := metric.Timestamp(-135_000 * day); at < 157_000*day; at += day { // two cycles of 400 years
		check(t, at)
	}
	for _, at := range []metric.Timestamp{metric.TimestampMax, metric.TimestampMax + 1, metric.TimestampMin - 1} {
		check(t, at)
	}
	rapid.Check(t, func(r *rapid.T) {
		check(r, metric.Timestamp(rapid.Int64Range(int64(metric.TimestampMin), int64(metric.TimestampMax)).Draw(r, "at")))
	})
}
