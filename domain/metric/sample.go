package metric

import (
	"math"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Sample is one finite value of one series at one time.
type Sample struct {
	series Series
	at     Timestamp
	value  float64
}

// NewSample builds a sample; value must be finite and at in range.
func NewSample(series Series, at Timestamp, value float64) (Sample, error) {
	o, err := NewObservation(series, value)
	if err != nil {
		return Sample{}, err
	}
	if at, err = NewTimestamp(int64(at)); err != nil {
		return Sample{}, err
	}
	return o.At(at), nil
}

// Series returns which series the sample belongs to.
func (s Sample) Series() Series { return s.series }

// Timestamp returns when it was observed.
func (s Sample) Timestamp() Timestamp { return s.at }

// Value returns the observed value, always finite.
func (s Sample) Value() float64 { return s.value }

// NewerThan reports whether s comes before o as the newest sample of several series: by the later
// timestamp, then the greater series key. Within one series the last in the log is newer, which the
// caller must know.
func (s Sample) NewerThan(o Sample) bool {
	if s.at != o.at {
		return s.at > o.at
	}
	return s.series.Key() > o.series.Key()
}

// Observation is a sample whose timestamp may still be open: then it takes the time of receipt.
type Observation struct {
	sample Sample
	timed  bool
}

// NewObservation builds an observation without a timestamp; value must be finite.
func NewObservation(series Series, value float64) (Observation, error) {
	if series.IsZero() {
		return Observation{}, fault.Field("metric_name", "is missing", "a metric name")
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return Observation{}, fault.Field("value", "is not finite", "a finite number")
	}
	return Observation{sample: Sample{series: series, value: value}}, nil
}

// NewObservationAt builds an observation with its own timestamp, which must be in range.
func NewObservationAt(series Series, at Timestamp, value float64) (Observation, error) {
	// Decoders call this for every sample, so it is kept small enough to be inlined.
	if series.data != nil && math.Abs(value) <= math.MaxFloat64 && at >= TimestampMin && at <= TimestampMax {
		return Observation{sample: Sample{series: series, at: at, value: value}, timed: true}, nil
	}
	return Observation{}, refusal(series, at, value)
}

// refusal says why there is no such sample.
func refusal(series Series, at Timestamp, value float64) error {
	_, err := NewSample(series, at, value)
	return err
}

// At returns the observation as a sample: with its own timestamp, or with received when it has none.
// received must be a valid Timestamp.
func (o Observation) At(received Timestamp) Sample {
	if !o.timed {
		o.sample.at = received
	}
	return o.sample
}

// Series returns which series was observed.
func (o Observation) Series() Series { return o.sample.series }
