package command

import "github.com/raftmetrics/raftmetrics/domain/metric"

// unit is the coarsest step of time that all timestamps of a run are whole multiples of.
type unit byte

const (
	unitMicro  unit = 0
	unitMilli  unit = 1
	unitSecond unit = 2
)

// The head of a run's times: a unit in the low bits, and a flag.
const (
	timesUnit   = 3      // mask
	timesSteady = 1 << 2 // each is as far from the one before
	timesKnown  = 1<<3 - 1
)

// micros returns the unit's length in microseconds, 0 for an unknown unit.
func (u unit) micros() int64 {
	switch u {
	case unitMicro:
		return 1
	case unitMilli:
		return 1_000
	case unitSecond:
		return 1_000_000
	}
	return 0
}

func unitOf(timestamps []int64) unit {
	u := unitSecond
	for _, t := range timestamps {
		if u == unitSecond && t%1_000_000 != 0 {
			u = unitMilli
		}
		if u == unitMilli && t%1_000 != 0 {
			return unitMicro
		}
	}
	return u
}

// in returns t, rounded towards zero, in units. The divisions are by constants, so that they cost a
// multiplication.
func (u unit) in(t int64) int64 {
	switch u {
	case unitSecond:
		return t / 1_000_000
	case unitMilli:
		return t / 1_000
	case unitMicro:
	}
	return t
}

// isSteady reports whether times, at least one, are equally far from each other.
func isSteady(times []int64) bool {
	for i := 2; i < len(times); i++ {
		if times[i]-times[i-1] != times[1]-times[0] {
			return false
		}
	}
	return true
}

// appendTimes appends a run's timestamps; base is the first of the run before, 0 in the first run.
//
//	head                            byte
//	first, less base                varint: units
//	steady: the step                varint, unless there is one sample
//	else: each step, less the step before, at first 0   varint each
func appendTimes(d []byte, times []int64, base int64) []byte {
	u := unitOf(times)
	steady := isSteady(times)
	head := byte(u)
	if steady {
		head |= timesSteady
	}
	d = append(d, head)
	d = appendVarint(d, u.in(times[0])-u.in(base))
	if steady {
		if len(times) > 1 {
			d = appendVarint(d, u.in(times[1]-times[0]))
		}
		return d
	}
	last, step := times[0], int64(0)
	for _, t := range times[1:] {
		now := u.in(t - last)
		d = appendVarint(d, now-step)
		last, step = t, now
	}
	return d
}

// times reads what appendTimes wrote into times, at least one.
func (r *reader) times(times []int64, base int64) {
	head := r.byte()
	u := unit(head & timesUnit)
	micros := u.micros()
	if r.bad || head&^timesKnown != 0 || micros == 0 {
		r.bad = true
		return
	}
	at := u.in(base) + r.varint()
	if !validTimestamp(at, micros) {
		r.bad = true
		return
	}
	times[0] = at * micros
	steady := head&timesSteady != 0
	step := int64(0)
	if steady && len(times) > 1 {
		step = r.varint()
	}
	for i := 1; i < len(times); i++ {
		if !steady {
			step += r.varint()
		}
		at += step
		if !validTimestamp(at, micros) {
			r.bad = true
			return
		}
		times[i] = at * micros
	}
}

// validTimestamp reports whether units of length micros make a valid timestamp.
func validTimestamp(units, micros int64) bool {
	return units >= int64(metric.TimestampMin)/micros && units <= int64(metric.TimestampMax)/micros
}
