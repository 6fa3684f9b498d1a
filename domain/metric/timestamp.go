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
func (t Timestamp) String() string {
	text, _ := t.AppendText(make([]byte, 0, len("2006-01-02T15:04:05.000000Z"))) // never fails
	return string(text)
}

// AppendText appends String to b. Answers may hold hundreds of thousands of times, so it does by itself, in a
// fifth of the time, what package time can do as well.
func (t Timestamp) AppendText(b []byte) ([]byte, error) {
	if t < TimestampMin || t > TimestampMax { // the edge of a window may lie outside
		return t.Time().AppendFormat(b, time.RFC3339Nano), nil
	}
	const microsPerSecond, secondsPerDay = 1_000_000, 86_400
	seconds, micros := floorDivide(int64(t), microsPerSecond)
	days, clock := floorDivide(seconds, secondsPerDay)
	year, month, day := civil(days)
	b = appendDigits(b, year, 4)
	b = appendDigits(append(b, '-'), month, 2)
	b = appendDigits(append(b, '-'), day, 2)
	b = appendDigits(append(b, 'T'), clock/3600, 2)
	b = appendDigits(append(b, ':'), clock/60%60, 2)
	b = appendDigits(append(b, ':'), clock%60, 2)
	if micros != 0 {
		b = appendDigits(append(b, '.'), micros, 6)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 'Z'), nil
}

func floorDivide(a, by int64) (quotient, rest int64) {
	quotient, rest = a/by, a%by
	if rest < 0 {
		return quotient - 1, rest + by
	}
	return quotient, rest
}

// civil returns the date of a day counted from 1970-01-01, by shifting the year's begin to March so that
// leap days come last (the arithmetic of the Gregorian calendar's 400-year cycle of 146,097 days).
func civil(days int64) (year, month, day int64) {
	const cycle, march = 146_097, 719_468 // from 0000-03-01 to 1970-01-01
	era, inEra := floorDivide(days+march, cycle)
	inCycle := (inEra - inEra/1460 + inEra/36_524 - inEra/146_096) / 365
	inYear := inEra - (365*inCycle + inCycle/4 - inCycle/100)
	fromMarch := (5*inYear + 2) / 153
	day = inYear - (153*fromMarch+2)/5 + 1
	year = inCycle + era*400
	if fromMarch >= 10 {
		return year + 1, fromMarch - 9, day
	}
	return year, fromMarch + 3, day
}

// appendDigits appends n with width digits.
func appendDigits(b []byte, n int64, width int) []byte {
	b = append(b, "000000"[:width]...)
	for i := len(b) - 1; n > 0 && width > 0; i, width = i-1, width-1 {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
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
