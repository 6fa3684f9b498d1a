package lineprotocol

import (
	"math"
	"strconv"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/decimal"
	"github.com/raftmetrics/raftmetrics/adapters/httpapi/excerpt"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// number reads the number or boolean that begins at i and returns the place behind it.
func number(text []byte, i int) (value float64, end int, problem error) {
	value, end, outcome := decimal.Scan(text, i)
	if outcome == decimal.Finite && (end == len(text) || isValueEnd(text[end])) {
		return value, end, nil
	}
	if outcome == decimal.Finite && isWhole(text, i, end) {
		return value + 0, end + 1, nil // whole numbers know no negative zero
	}
	return irregular(text, i)
}

// isWhole reports whether text[from:end], a number, is written as an integer and certainly fits its type.
func isWhole(text []byte, from, end int) bool {
	behind := end + 1
	if text[end] != 'i' && text[end] != 'u' || behind < len(text) && !isValueEnd(text[behind]) {
		return false
	}
	if text[from] == '-' {
		if from++; text[end] == 'u' {
			return false
		}
	}
	_, digitsEnd := decimal.Whole(text, from)
	return digitsEnd == end && digitsEnd-from < decimal.WholeDigitsMax
}

// irregular is number for what is not written as most numbers are.
func irregular(text []byte, i int) (value float64, end int, problem error) {
	for end = i; end < len(text) && !isValueEnd(text[end]); {
		end++
	}
	word := text[i:end]
	if len(word) == 0 {
		return 0, i, fault.Field("field", "has no value", valueForm)
	}
	switch string(word) {
	case "t", "T", "true", "True", "TRUE":
		return 1, end, nil
	case "f", "F", "false", "False", "FALSE":
		return 0, end, nil
	}
	digits := string(word[:len(word)-1])
	var err error
	switch word[len(word)-1] {
	case 'i':
		var whole int64
		whole, err = strconv.ParseInt(digits, 10, 64)
		value = float64(whole)
	case 'u':
		var whole uint64
		whole, err = strconv.ParseUint(digits, 10, 64)
		value = float64(whole)
	default:
		if !isDecimal(word) {
			return 0, i, fault.Field("value "+shown(word), "is no number", valueForm)
		}
		value, err = strconv.ParseFloat(string(word), 64)
	}
	if err != nil || math.IsInf(value, 0) {
		return 0, i, fault.Field("value "+shown(word), "is no number that a field can hold", valueForm)
	}
	return value, end, nil
}

const valueForm = `a finite number such as 12.5, 3i or 3u, a boolean, or a string in "quotes"`

// isDecimal reports whether word consists of what decimal numbers consist of, so that neither NaN and Inf
// nor hexadecimal numbers and underscores pass for numbers.
func isDecimal(word []byte) bool {
	for _, c := range word {
		if c-'0' > 9 && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return false
		}
	}
	return true
}

// isValueEnd reports whether c ends a value that is no string.
func isValueEnd(c byte) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// timestamp reads the time that begins at i and returns the place behind it.
func (p *point) timestamp(text []byte, i int, precision Precision) (end int, problem error) {
	end = i
	negative := text[end] == '-'
	if negative {
		end++
	}
	from := end
	magnitude, end := decimal.Whole(text, from)
	if end == from || end < len(text) && (!isValueEnd(text[end]) || text[end] == ',') {
		return i, fault.Field("timestamp", "is no whole number", "the time since 1970 in units of precision= ("+precision.String()+")")
	}
	units := int64(min(magnitude, math.MaxInt64))
	if negative {
		units = -units
	}
	micros, fits := precision.micros(units)
	at, err := metric.NewTimestamp(micros)
	if err != nil || !fits || magnitude > math.MaxInt64 || end-from > decimal.WholeDigitsMax {
		return i, fault.Field("timestamp", "is outside the years 1 to 9999", "a time in them, in units of precision= ("+precision.String()+")")
	}
	p.at, p.timed = at, true
	return end, nil
}

// shown returns the client's text in quotes, for messages.
func shown(text []byte) string { return `"` + excerpt.Of(text) + `"` }
