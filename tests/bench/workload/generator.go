// Package workload makes the load of the benchmarks, the questions that are asked of it and their exact
// answers: hosts that report ten cpu metrics every ten seconds, as in the Time Series Benchmark Suite.
package workload

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// Measurement is the name before each field's.
	Measurement = "cpu"
	// Interval is the time between two samples of a series.
	Interval = 10 * time.Second

	valueMax = 10_000 // in hundredths
	stepBits = 16
	// stepDeviation is the standard deviation of the sum of four 16-bit numbers, 2^16/√3.
	stepDeviation = 37_837
)

// Begin is the time of each series' first sample, the start of an hour.
var Begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Fields are what every host reports.
var Fields = [...]string{
	"usage_user", "usage_system", "usage_idle", "usage_nice", "usage_iowait",
	"usage_irq", "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice",
}

// StepUsual is the step at which VictoriaMetrics takes the 1.64 bytes a sample that the goals were set by;
// at 1.00, as in the Time Series Benchmark Suite, it takes 1.29.
const StepUsual = 500

// Shape is a load: each host reports each field so many times. The same shape is the same load.
type Shape struct {
	Hosts, Times int
	Seed         uint64
	// Step is the standard deviation of the difference between two samples of a series, in hundredths.
	Step int
}

// Samples returns how many samples the load has.
func (s Shape) Samples() int { return s.Hosts * s.Times * len(Fields) }

// End returns the time of each series' last sample.
func (s Shape) End() time.Time { return at(s.Times - 1) }

// at returns the time of every series' sample k.
func at(k int) time.Time { return Begin.Add(time.Duration(k) * Interval) }

// MetricName returns the metric that a field is stored as.
func MetricName(field int) string { return Measurement + "_" + Fields[field] }

// HostName returns the value of the tag host.
func HostName(host int) string { return fmt.Sprintf("host_%d", host) }

// tagText returns a host's tags, sorted by key, as line protocol has them.
func tagText(host int) string {
	regions := [...]string{"eu-central-1", "eu-west-1", "us-east-1", "us-west-2", "ap-south-1"}
	systems := [...]string{"Debian13", "Ubuntu24.04", "Alpine3.22"}
	region := regions[host%len(regions)]
	return fmt.Sprintf("datacenter=%s%c,host=%s,os=%s,region=%s", region, 'a'+rune(host/len(regions)%3), HostName(host), systems[host%len(systems)], region)
}

// walk is a series' random walk, in hundredths between 0 and 100.00, so that all arithmetic on it is exact.
type walk struct {
	random rand.PCG
	at     int
	step   int
}

func (s Shape) walk(host, field int) walk {
	w := walk{random: *rand.NewPCG(s.Seed, uint64(host*len(Fields)+field)), step: s.Step}
	w.at = int(w.random.Uint64() % (valueMax + 1))
	return w
}

// next returns the walk's next value. The step's distribution is nearly normal; at its ends the walk turns
// back, for if it stayed there, many hosts would have the same greatest value.
func (w *walk) next() int {
	bits := w.random.Uint64()
	const mask = 1<<stepBits - 1
	sum := int(bits&mask) + int(bits>>stepBits&mask) + int(bits>>(2*stepBits)&mask) + int(bits>>(3*stepBits))
	w.at += (sum - 2*mask) * w.step / stepDeviation
	if w.at < 0 {
		w.at = -w.at
	}
	if w.at > valueMax {
		w.at = 2*valueMax - w.at
	}
	return w.at
}

// values returns a series' samples in hundredths, in order of time.
func (s Shape) values(host, field int) []int {
	w, all := s.walk(host, field), make([]int, s.Times)
	for k := range all {
		all[k] = w.next()
	}
	return all
}
