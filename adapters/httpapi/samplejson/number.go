package samplejson

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

// number passes over a number in JSON's grammar and returns its nearest float64; finite is false when
// that is out of range. Numbers whose digits and power of ten are exact in float64 need one operation
// (Clinger, How to Read Floating Point Numbers Accurately, PLDI 1990); strconv does the others.
func (s *scanner) number() (value float64, finite bool, err error) {
	data, start := s.data, s.pos
	i := start
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
		return 0, false, s.badNumber(i)
	case data[digitsFrom] == '0' && i > digitsFrom+1:
		return 0, false, s.badNumber(digitsFrom + 1)
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
			return 0, false, s.badNumber(i)
		}
		exponent = fractionFrom - i
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		e, end := exponentOf(data, i+1)
		if end < 0 {
			return 0, false, s.badNumber(i + 1)
		}
		i, exponent = end, exponent+e
	}
	s.pos = i
	if !exact || mantissa > mantissaExactMax || exponent > exponentExactMax || exponent < -exponentExactMax {
		value, err := strconv.ParseFloat(string(data[start:i]), 64)
		return value, err == nil, nil
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
	return value, true, nil
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

func (s *scanner) badNumber(pos int) error {
	s.pos = pos
	return s.syntax("expected a number such as -12.5 or 3e8")
}
