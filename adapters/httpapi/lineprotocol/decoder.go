// Package lineprotocol reads samples from Influx line protocol: measurement,tag=v field=v,field=v time.
package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// ReportedMax bounds how many bad lines of a batch an error describes.
	ReportedMax = 10
	// SkippedNamesMax bounds how many names of string fields Skipped tells.
	SkippedNamesMax = 10
	// observationsKeptMax bounds the room that a Decoder keeps for its next use, in samples.
	observationsKeptMax = 20_000
	// chunkBytes is how much of a body is read at once.
	chunkBytes = 64 << 10
)

// LineFault says what is wrong with one line of a batch.
type LineFault struct {
	Line   int    `json:"line"` // from 1
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Options say how to read a batch.
type Options struct {
	Precision Precision
	// RefuseStrings makes a string field a fault of its line; else it is left out and counted.
	RefuseStrings bool
}

// Skipped tells of string fields that were left out.
type Skipped struct {
	Fields int      // how many
	Names  []string // the metrics that the first of them would belong to, each once
}

// Decoder turns text into observations. It may be used again after Reset, and is not safe for
// concurrent use.
type Decoder struct {
	cache        *Cache
	options      Options
	observations []metric.Observation
	skipped      Skipped
	chunk        []byte // scratch: what was read of a body
	lineCount    int    // lines before the one at hand
	badCount     int
	reported     []LineFault
	point        point
}

// NewDecoder returns a decoder that shares cache with others.
func NewDecoder(cache *Cache) *Decoder { return &Decoder{cache: cache} }

// Reset forgets what was decoded, and keeps some of the room and of the groups.
func (d *Decoder) Reset() {
	clear(d.observations)
	d.observations = d.observations[:0]
	if cap(d.observations) > observationsKeptMax {
		d.observations = nil
	}
	if cap(d.chunk) > chunkBytes {
		d.chunk = nil
	}
	d.point.forget()
	d.options, d.skipped, d.lineCount, d.badCount, d.reported = Options{}, Skipped{}, 0, 0, nil
}

// Decode reads lines from r until its end. It holds one chunk of r at a time, or one line if that is
// longer. A batch without samples is no error. The observations belong to the decoder until its next
// Reset. Errors are faults, Invalid (invalid_lines, with the number of the first bad line as line and up
// to ReportedMax LineFaults as errors) or TooLarge (too_many_samples); errors of r come back wrapped.
func (d *Decoder) Decode(r io.Reader, options Options) ([]metric.Observation, Skipped, error) {
	d.options = options
	if d.chunk == nil {
		d.chunk = make([]byte, chunkBytes)
	}
	held := 0
	for {
		if held == len(d.chunk) {
			d.chunk = append(d.chunk, make([]byte, len(d.chunk))...)
		}
		// Full chunks bound how often the line that a chunk cuts is read anew.
		n, err := io.ReadFull(r, d.chunk[held:])
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return nil, Skipped{}, fmt.Errorf("read lines: %w", err)
		}
		text := d.chunk[:held+n]
		read, err := d.lines(text, ended)
		if err != nil {
			return nil, Skipped{}, err
		}
		if ended {
			return d.observations, d.skipped, d.batchFault()
		}
		held = copy(d.chunk, text[read:])
	}
}

// lines reads the lines of text and returns how much of text they are. Unless text is the last of its
// body, a line without end is left for the next time.
func (d *Decoder) lines(text []byte, last bool) (read int, err error) {
	for read < len(text) {
		end, problem := d.point.read(d.cache, text, read, d.options)
		if problem != nil {
			if next := bytes.IndexByte(text[end:], '\n'); next >= 0 {
				end += next
			} else {
				end = len(text)
			}
		}
		if end == len(text) && !last {
			return read, nil
		}
		if problem != nil {
			d.reject(problem)
		} else if err := d.accept(); err != nil {
			return read, err
		}
		d.lineCount += 1 + d.point.innerLines
		read = min(end+1, len(text))
	}
	return read, nil
}

// accept takes over what the line at hand holds.
func (d *Decoder) accept() error {
	p := &d.point
	if len(d.observations)+len(p.values) > metric.BatchSamplesMax {
		return metric.ErrTooManySamples
	}
	for i := range p.values {
		var o metric.Observation
		var problem error
		if p.timed {
			o, problem = metric.NewObservationAt(p.values[i].series, p.at, p.values[i].value)
		} else {
			o, problem = metric.NewObservation(p.values[i].series, p.values[i].value)
		}
		if problem != nil {
			d.reject(problem)
			return nil
		}
		d.observations = append(d.observations, o)
	}
	d.skip(p.strings)
	return nil
}

// reject counts a bad line and keeps the first few reasons.
func (d *Decoder) reject(problem error) {
	d.badCount++
	if len(d.reported) == ReportedMax {
		return
	}
	e := fault.From(problem)
	bad := LineFault{Line: d.lineCount + 1, Reason: e.Message()}
	for _, detail := range e.Details() {
		if field, ok := detail.Value.(string); ok && detail.Name == "field" {
			bad.Field = field
		}
	}
	d.reported = append(d.reported, bad)
}

// batchFault returns the refusal of a batch that holds bad lines.
func (d *Decoder) batchFault() error {
	if d.badCount == 0 {
		return nil
	}
	first := d.reported[0]
	return fault.Newf(fault.Invalid, "invalid_lines", "line %d: %s; nothing was stored (%d of %d lines are bad)",
		first.Line, first.Reason, d.badCount, d.lineCount).
		WithDetail("line", first.Line).WithDetail("bad", d.badCount).WithDetail("errors", d.reported)
}
