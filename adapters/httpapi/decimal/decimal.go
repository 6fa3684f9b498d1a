// Package decimal reads decimal numbers from text, which every ingest format holds, at a fraction of the
// cost of strconv for the short ones that metrics are.
package decimal

import (
	"encoding/binary"
	"strconv"
)

// The powers of ten that float64 holds exactly.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
	1e18, 1e19, 1e20, 1e21, 1e22,
}

const (
	mantissaExactMax  = 1 << 53        // whole numbers up to here are exact in float64
	mantissaDigitsMax = 19             // so many digits fit uint64 whatever they are
	exponentTextMax   = 9              // digits of an exponent worth computing with
	exponentExactMax  = len(pow10) - 1 // scaling by these rounds once
)

// Outcome says what Scan found.
type Outcome uint8

// What Scan can find.
const (
	Finite     Outcome = iota // a number that float64 can hold
	OutOfRange                // a number, but too large
	Malformed                 // no number in this grammar
)

// Scan reads the number in JSON's grammar that begins at data[from]: its nearest float64, and end, the
// index behind it. For Malformed, end is where something else was expected. Numbers whose digits and
// power of ten are exact in float64 need one operation (Clinger, How to Read Floating Point Numbers
// Accurately, PLDI 1990); strconv does the others.
func Scan(data []byte, from int) (value float64, end int, outcome Outcome) {
	i := from
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	var mantissa uint64
	digitsFrom := i
	for ; i < len(data) && isDigit(data[i]); i++ {
		mantissa = mantissa*10 + uint64(data[i]-'0')
	}
	digits := i - digitsFrom
	switch {
	case i == digitsFrom:
		return 0, i, Malformed
	case data[digitsFrom] == '0' && i > digitsFrom+1:
		return 0, digitsFrom + 1, Malformed
	}
	exponent := 0
	if i < len(data) && data[i] == '.' {
		i++
		fractionFrom := i
		for ; i < len(data) && isDigit(data[i]); i++ {
			mantissa = mantissa*10 + uint64(data[i]-'0')
		}
		digits += i - fractionFrom
		if i == fractionFrom {
			return 0, i, Malformed
		}
		exponent = fractionFrom - i
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		e, end := exponentOf(data, i+1)
		if end < 0 {
			return 0, i + 1, Malformed
		}
		i, exponent = end, exponent+e
	}
	if digits > mantissaDigitsMax || mantissa > mantissaExactMax || exponent > exponentExactMax || exponent < -exponentExactMax {
		value, err := strconv.ParseFloat(string(data[from:i]), 64)
		if err != nil {
			return value, i, OutOfRange
		}
		return value, i, Finite
	}
	value = float64(mantissa)
	if exponent < 0 {
		value /= pow10[-exponent]
	} else {
		value *= pow10[exponent]
	}
	if negative {
		value = -value
	}
	return value, i, Finite
}

// exponentOf reads a sign and digits from i on and returns the exponent and the end, or a negative end
// when there are no digits. An exponent of many digits comes back as a large one.
func exponentOf(data []byte, i int) (exponent, end int) {
	negative := false
	if i < len(data) && (data[i] == '+' || data[i] == '-') {
		negative = data[i] == '-'
		i++
	}
	from := i
	for ; i < len(data) && isDigit(data[i]); i++ {
		if i-from < exponentTextMax {
			exponent = exponent*10 + int(data[i]-'0')
		} else {
			exponent = max(exponent, exponentExactMax+len(data)+1)
		}
	}
	if i == from {
		return 0, -1
	}
	if negative {
		exponent = -exponent
	}
	return exponent, i
}

// Whole reads the digits that begin at data[from] as a whole number, and returns the index behind them, from
// when there are none. More than WholeDigitsMax digits come back without a meaning.
func Whole(data []byte, from int) (value uint64, end int) {
	end = from
	for ; len(data)-end >= eight; end += eight {
		part := binary.LittleEndian.Uint64(data[end:])
		if !areDigits(part) {
			break
		}
		value = value*1e8 + eightDigits(part)
	}
	for ; end < len(data) && isDigit(data[end]); end++ {
		value = value*10 + uint64(data[end]-'0')
	}
	return value, end
}

// WholeDigitsMax is how many digits Whole understands.
const WholeDigitsMax = mantissaDigitsMax

// eight bytes are read at once.
const eight = 8

// areDigits reports whether all eight bytes are digits: their upper halves are 3, and stay so when 6 is
// added, which only the lower halves 0 to 9 allow.
func areDigits(part uint64) bool {
	const upper, threes, sixes = 0xf0f0f0f0f0f0f0f0, 0x3030303030303030, 0x0606060606060606
	return part&upper == threes && (part+sixes)&upper == threes
}

// eightDigits returns the number that eight digits spell, the first in the lowest byte: neighbours are joined
// to numbers of two, four and eight digits.
func eightDigits(part uint64) uint64 {
	part -= 0x3030303030303030
	part = (part*10 + part>>8) & 0x00ff00ff00ff00ff
	part = (part*100 + part>>16) & 0x0000ffff0000ffff
	return (part*10000 + part>>32) & 0xffffffff
}

func isDigit(c byte) bool { return c-'0' < 10 }
