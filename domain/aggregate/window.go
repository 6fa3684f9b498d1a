package aggregate

import (
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	microsPerSecond = int64(1_000_000)
	microsPerDay    = 24 * 60 * 60 * microsPerSecond
	// windowOrigin is Monday 1970-01-05: windows that divide a day start at the same instants as if
	// counted from the epoch, and weeks start on Monday.
	windowOrigin = 4 * microsPerDay
	// windowWidthMax keeps the arithmetic of window starts inside int64.
	windowWidthMax = 36525 * microsPerDay
)

var windowUnits = []struct {
	suffix string
	micros int64
}{
	{"ms", 1000},
	{"s", microsPerSecond},
	{"m", 60 * microsPerSecond},
	{"h", 3600 * microsPerSecond},
	{"d", microsPerDay},
	{"w", 7 * microsPerDay},
}

const windowForm = "a whole number and a unit of ms, s, m, h, d, w, such as 5m or 1h, at most 100 years"

// Window cuts time into buckets of one width, aligned in UTC. The zero Window means no cutting: one
// bucket holds everything.
type Window struct {
	width int64
	text  string
}

// ParseWindow reads a duration such as 30s, 5m, 1h, 1d or 1w.
func ParseWindow(text string) (Window, error) {
	for _, unit := range windowUnits {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || digits[0] == '+' {
			continue
		}
		if n < 1 || n > windowWidthMax/unit.micros {
			break
		}
		return Window{width: n * unit.micros, text: text}, nil
	}
	return Window{}, fault.Field("window", "is "+strconv.Quote(text), windowForm)
}

// WindowOf returns a window of width microseconds, for adapters that carry one as a number; 0 is none.
func WindowOf(width int64) (Window, error) {
	if width < 0 || width > windowWidthMax {
		return Window{}, fault.Field("window", "is "+strconv.FormatInt(width, 10)+" µs", windowForm)
	}
	return Window{width: width}, nil
}

// IsZero reports whether there is no cutting.
func (w Window) IsZero() bool { return w.width == 0 }

// Width returns the length of a bucket in microseconds, 0 without cutting.
func (w Window) Width() int64 { return w.width }

// Origin returns a time at which a bucket of every width starts.
func (w Window) Origin() int64 { return windowOrigin }

// String returns the text the window was parsed from.
func (w Window) String() string { return w.text }

// Start returns the start of the bucket that holds t; the zero Timestamp without cutting. It may lie
// before metric.TimestampMin for a t at the very beginning of time.
func (w Window) Start(t metric.Timestamp) metric.Timestamp {
	if w.width == 0 {
		return 0
	}
	offset := (int64(t) - windowOrigin) % w.width
	if offset < 0 {
		offset += w.width
	}
	return t - metric.Timestamp(offset)
}

// End returns the end, exclusive, of the bucket that starts at start.
func (w Window) End(start metric.Timestamp) metric.Timestamp {
	return start + metric.Timestamp(w.width)
}

// bounds returns the start and the end, exclusive, of the bucket that holds t; without cutting those of all time.
func (w Window) bounds(t metric.Timestamp) (start, end metric.Timestamp) {
	if w.width == 0 {
		return metric.TimestampMin, metric.TimestampMax + 1
	}
	start = w.Start(t)
	return start, w.End(start)
}
