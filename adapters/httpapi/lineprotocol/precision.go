package lineprotocol

import (
	"math"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Precision is the unit of a batch's timestamps. The zero Precision is nanoseconds.
type Precision uint8

// The units.
const (
	Nanoseconds Precision = iota
	Microseconds
	Milliseconds
	Seconds
	Minutes
	Hours
)

var precisions = map[string]Precision{
	"": Nanoseconds, "n": Nanoseconds, "ns": Nanoseconds, "u": Microseconds, "us": Microseconds, "µ": Microseconds,
	"ms": Milliseconds, "s": Seconds, "m": Minutes, "h": Hours,
}

var precisionNames = [...]string{"ns", "us", "ms", "s", "m", "h"}

// microsOf is how many microseconds each unit has; a nanosecond has none.
var microsOf = [...]int64{0, 1, 1e3, 1e6, 60e6, 3600e6}

// ParsePrecision reads a precision as clients of either version write it.
func ParsePrecision(text string) (Precision, error) {
	p, known := precisions[text]
	if !known {
		return 0, fault.Field("precision", "is unknown", "n, ns, u, us, ms, s, m or h")
	}
	return p, nil
}

// String returns the precision as it is written.
func (p Precision) String() string { return precisionNames[p] }

// micros converts units to microseconds, down to the whole one before; false if they do not fit.
func (p Precision) micros(units int64) (int64, bool) {
	if p == Nanoseconds {
		const perMicro = 1000
		micros := units / perMicro
		if units%perMicro < 0 {
			micros--
		}
		return micros, true
	}
	each := microsOf[p]
	if units > math.MaxInt64/each || units < math.MinInt64/each {
		return 0, false
	}
	return units * each, true
}
