// Package decimal reads decimal numbers from text, which every ingest format holds, at a fraction of the
// cost of strconv for the short ones that metrics are.
package decimal

import (
	"math"
	"strconv"
)

// The powers of ten that float64 holds exactly.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
	1e18, 1e19, 1e20, 1e21, 1e22,
}

const (
	mantissaExactMax = 1 << 53                   // whole numbers up to here are exact in float64
	mantissaRoomMax  = (math.MaxUint64 - 9) / 10 // up to here one more digit fits
	exponentTextMax  = 9                         // digits of an exponent worth computing with
	exponentExactMax = len(pow10) - 1            // scaling by these rounds once
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
	exact := true
	digitsFrom := i
	for ; i < len(data) && isDigit(data[i]); i++ {
		exact = exact && mantissa <= mantissaRoomMax
		mantissa = mantissa*10 + uint64(data[i]-'0')
	}
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
			exact = exact && mantissa <= mantissaRoomMax
			mantissa = mantissa*10 + uint64(data[i]-'0')
		}
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
	if !exact || mantissa > mantissaExactMax || exponent > exponentExactMax || exponent < -exponentExactMax {
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

func isDigit(c byte) bool { return c-'0' < 10 }
