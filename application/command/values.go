package command

import (
	"encoding/binary"
	"math"
)

// codingRaw is the coding of values that are written as they are.
const codingRaw = 7

// decimalsMax is the most digits behind the point that decimal values may have.
const decimalsMax = 4

// scales are the powers of ten by which decimal values become whole numbers.
var scales = [decimalsMax + 1]float64{1, 10, 100, 1_000, 10_000}

// infinite is the exponent of infinities and NaNs.
const infinite = 0x7ff << 52

// appendValues appends a run's values and returns how it wrote them: what people measure mostly has few
// digits behind the point, so it is a small whole number divided by a power of ten; a parser of decimals
// and that division both round to the nearest double, so the way back gives the very same bits. This is
// checked for every value (which excludes -0 as well); values that are no such decimals are written raw.
// decimals is what the run before took and this run will likely take.
//
//	decimal: the whole number, less the one before, at first 0   varint each
//	raw: IEEE 754, little endian    8 bytes each
func appendValues(d []byte, values []float64, decimals *int) ([]byte, byte) {
	start := len(d)
	for digits := digitsOf(values[0], *decimals); digits <= decimalsMax; digits++ {
		var whole bool
		if d, whole = appendDecimals(d[:start], values, scales[digits]); whole {
			*decimals = digits
			return d, byte(digits)
		}
	}
	d = d[:start]
	for _, v := range values {
		d = binary.LittleEndian.AppendUint64(d, math.Float64bits(v))
	}
	return d, codingRaw
}

// digitsOf guesses how many digits behind the point a run needs that begins with v: few, or as many as
// the run before.
func digitsOf(v float64, before int) int {
	for digits := range min(before, 2) {
		if _, ok := wholeOf(v, scales[digits]); ok {
			return digits
		}
	}
	return before
}

// wholeOf returns the whole number that v is when divided by scale.
func wholeOf(v, scale float64) (int64, bool) {
	x := v * scale
	var n int64
	// The bounds keep the conversion defined; doubles this large have no digits behind the point.
	switch {
	case x >= 0 && x < 1<<52:
		n = int64(x + 0.5)
	case x < 0 && x > -1<<52:
		n = int64(x - 0.5)
	default:
		return 0, false
	}
	return n, math.Float64bits(float64(n)/scale) == math.Float64bits(v)
}

func appendDecimals(d []byte, values []float64, scale float64) ([]byte, bool) {
	last := int64(0)
	for _, v := range values {
		n, ok := wholeOf(v, scale)
		if !ok {
			return d, false
		}
		d = appendVarint(d, n-last)
		last = n
	}
	return d, true
}

// values reads what appendValues wrote into values.
func (r *reader) values(values []float64, coding byte) {
	switch {
	case coding == codingRaw:
		r.raw(values)
	case coding <= decimalsMax:
		r.decimals(values, scales[coding])
	default:
		r.bad = true
	}
}

func (r *reader) raw(values []float64) {
	block := r.take(8 * len(values))
	if r.bad {
		return
	}
	for i := range values {
		bits := binary.LittleEndian.Uint64(block[8*i:])
		if bits&infinite == infinite {
			r.bad = true
			return
		}
		values[i] = math.Float64frombits(bits)
	}
}

func (r *reader) decimals(values []float64, scale float64) {
	if r.bad {
		return
	}
	rest, last := r.rest, int64(0)
	for i := range values {
		var z uint64
		switch {
		case len(rest) > 0 && rest[0] < 0x80:
			z = uint64(rest[0])
			rest = rest[1:]
		case len(rest) > 1 && rest[1] < 0x80:
			z = uint64(rest[0]&0x7f) | uint64(rest[1])<<7
			rest = rest[2:]
		default:
			v, n := binary.Uvarint(rest)
			if n <= 0 {
				r.bad = true
				return
			}
			z, rest = v, rest[n:]
		}
		last += int64(z>>1) ^ -int64(z&1)
		values[i] = float64(last) / scale
	}
	r.rest = rest
}
