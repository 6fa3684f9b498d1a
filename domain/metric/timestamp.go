package metric

import (
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Timestamp is a point in time: microseconds since 1970-01-01T00:00:00Z, between TimestampMin and
// TimestampMax, so that it can always be written as ISO 8601.
type Timestamp int64

// The ends of what can be recorded: years 1 to 9999, inclusive.
const (
	TimestampMin Timestamp = -62135596800_000000
	TimestampMax Timestamp = 253402300799_999999
)

const timestampForm = "ISO 8601 with offset and at most 6 digits of fraction, such as 2024-08-01T12:00:00Z"

// NewTimestamp checks that micros lies between TimestampMin and TimestampMax.
func NewTimestamp(micros int64) (Timestamp, error) {
	if t := Timestamp(micros); t >= TimestampMin && t <= TimestampMax {
		return t, nil
	}
	return 0, fault.Field("timestamp", "is outside the years 1 to 9999", "a time in them")
}

// TimestampOf converts t, truncating below a microsecond.
func TimestampOf(t time.Time) (Timestamp, error) { return NewTimestamp(t.UnixMicro()) }

// ParseTimestamp reads ISO 8601 with an offset (Z or ±hh:mm) and at most 6 digits of fraction.
// field names the input in the error.
func ParseTimestamp(field, text string) (Timestamp, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !isStrict(text) {
		return 0, fault.Field(field, "is "+quoteShort(text), timestampForm)
	}
	ts, err := TimestampOf(t)
	if err != nil {
		return 0, fault.Field(field, "is "+quoteShort(text)+", outside the years 1 to 9999", timestampForm)
	}
	return ts, nil
}

// Time returns t as a time.Time in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// String returns ISO 8601 in UTC with as many digits of fraction as needed.
func (t Timestamp) String() string { return t.Time().Format(time.RFC3339Nano) }

// AppendText appends String to b.
func (t Timestamp) AppendText(b []byte) ([]byte, error) {
	return t.Time().AppendFormat(b, time.RFC3339Nano), nil
}

// isStrict reports whether text, which time.Parse has read, is ISO 8601 in what that overlooks: an
// hour of one digit, a comma before the fraction, an offset of a day or more; and whether its
// fraction fits a Timestamp.
func isStrict(text string) bool {
	const hourEnd = len("2006-01-02T15")
	if text[hourEnd] != ':' || strings.IndexByte(text, ',') >= 0 || fractionDigits(text) > 6 {
		return false
	}
	offset := text[len(text)-len("hh:mm"):]
	return text[len(text)-1] == 'Z' || (offset[:2] <= "23" && offset[3:] <= "59")
}

func fractionDigits(text string) int {
	dot := strings.IndexByte(text, '.')
	if dot < 0 {
		return 0
	}
	n := 0
	for i := dot + 1; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		n++
	}
	return n
}

func quoteShort(text string) string {
	const shownBytesMax = 64
	if len(text) > shownBytesMax {
		return strings.ToValidUTF8(`"`+text[:shownBytesMax]+`…"`, "?")
	}
	return `"` + strings.ToValidUTF8(text, "?") + `"`
}
