package samplejson

import "github.com/raftmetrics/raftmetrics/domain/metric"

const (
	microsPerSecond = 1_000_000
	secondsPerDay   = 24 * 60 * 60
	fractionDigits  = 6
)

var daysBeforeMonth = [...]int64{0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334}

// timestampOf reads the usual spelling, YYYY-MM-DDThh:mm:ss[.f]Z with one to six digits of fraction, or
// with ±hh:mm for Z. It returns false for anything else, also for what is wrong:
// metric.ParseTimestamp decides about that. What it accepts, it reads as ParseTimestamp does.
func timestampOf(text []byte) (metric.Timestamp, bool) {
	const fixed = len("2006-01-02T15:04:05")
	if len(text) <= fixed || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return 0, false
	}
	century, year := twoDigits(text, 0), twoDigits(text, 2)
	month, day := twoDigits(text, 5), twoDigits(text, 8)
	hour, minute, second := twoDigits(text, 11), twoDigits(text, 14), twoDigits(text, 17)
	if century|year|month|day|hour|minute|second < 0 {
		return 0, false
	}
	year += 100 * century
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	micros, rest, ok := fraction(text[fixed:])
	if !ok {
		return 0, false
	}
	offset, ok := offsetSeconds(rest)
	if !ok {
		return 0, false
	}
	seconds := daysSinceEpoch(year, month, day)*secondsPerDay + hour*3600 + minute*60 + second - offset
	at, err := metric.NewTimestamp(seconds*microsPerSecond + micros)
	return at, err == nil
}

// twoDigits returns the number that the two bytes at i spell, or a negative one.
func twoDigits(text []byte, i int) int64 {
	tens, ones := text[i]-'0', text[i+1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int64(tens)*10 + int64(ones)
}

// fraction reads an optional fraction of a second.
func fraction(text []byte) (micros int64, rest []byte, ok bool) {
	if text[0] != '.' {
		return 0, text, true
	}
	i := 1
	for ; i < len(text) && isDigit(text[i]); i++ {
		micros = micros*10 + int64(text[i]-'0')
		if i > fractionDigits {
			return 0, nil, false
		}
	}
	if i == 1 {
		return 0, nil, false
	}
	for n := i - 1; n < fractionDigits; n++ {
		micros *= 10
	}
	return micros, text[i:], true
}

// offsetSeconds reads Z or ±hh:mm.
func offsetSeconds(text []byte) (int64, bool) {
	if len(text) == 1 && text[0] == 'Z' {
		return 0, true
	}
	if len(text) != len("+00:00") || text[3] != ':' || (text[0] != '+' && text[0] != '-') {
		return 0, false
	}
	hours, minutes := twoDigits(text, 1), twoDigits(text, 4)
	if hours|minutes < 0 || hours > 23 || minutes > 59 {
		return 0, false
	}
	if text[0] == '-' {
		hours, minutes = -hours, -minutes
	}
	return hours*3600 + minutes*60, true
}

func isLeap(year int64) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if isLeap(year) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSinceEpoch counts days from 1970-01-01 in the proleptic Gregorian calendar, year >= 1.
func daysSinceEpoch(year, month, day int64) int64 {
	const daysToEpoch = 719_162 // from 0001-01-01 to 1970-01-01
	y := year - 1
	days := y*365 + y/4 - y/100 + y/400 + daysBeforeMonth[month] + day - 1
	if month > 2 && isLeap(year) {
		days++
	}
	return days - daysToEpoch
}
