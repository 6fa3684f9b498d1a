// Package samplejson reads samples from JSON: one object, an array of them, or one a line (NDJSON). It
// is stricter than encoding/json (DESIGN.md beside it lists the differences) and several times cheaper.
package samplejson

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/seriescache"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// ReportedMax bounds how many bad samples of a batch an error describes.
	ReportedMax = 10
	// observationsKeptMax bounds the room that a Decoder keeps for its next use, in samples.
	observationsKeptMax = 20_000
	// chunkBytes is how much of a stream of lines is read at once.
	chunkBytes = 64 << 10
	// spellingKeptBytesMax bounds the scratch room that a Decoder keeps for its next use.
	spellingKeptBytesMax = 64 << 10
)

// SampleFault says what is wrong with one sample of a batch.
type SampleFault struct {
	Index  int    `json:"index"` // the sample's place in the batch, from 0
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Decoder turns text into observations. It may be used again after Reset, and is not safe for
// concurrent use.
type Decoder struct {
	cache        *seriescache.Cache
	scan         scanner
	observations []metric.Observation
	spelling     []byte // scratch: the cache key of the sample at hand
	unescaped    []byte // scratch: a string without its escapes
	chunk        []byte // scratch: what was read of a stream of lines
	badCount     int
	reported     []SampleFault
}

// NewDecoder returns a decoder that shares cache with others.
func NewDecoder(cache *seriescache.Cache) *Decoder { return &Decoder{cache: cache} }

// Reset forgets what was decoded, so that no series is kept alive by it, and keeps some of the room.
func (d *Decoder) Reset() {
	clear(d.observations)
	d.observations = d.observations[:0]
	if cap(d.observations) > observationsKeptMax {
		d.observations = nil
	}
	if cap(d.spelling) > spellingKeptBytesMax {
		d.spelling = nil
	}
	if cap(d.unescaped) > spellingKeptBytesMax {
		d.unescaped = nil
	}
	if cap(d.chunk) > chunkBytes {
		d.chunk = nil
	}
	d.scan, d.badCount, d.reported = scanner{}, 0, nil
}

// Decode reads one sample, or an array of samples (many), and nothing behind it. The observations
// belong to the decoder until its next Reset; nothing of body is kept. Errors are faults: Invalid
// (invalid_json with line and column; invalid_argument with the field of a lone sample; invalid_batch
// with up to ReportedMax SampleFaults as errors) or TooLarge (too_many_samples).
func (d *Decoder) Decode(body []byte) (observations []metric.Observation, many bool, err error) {
	d.scan = scanner{data: body}
	d.scan.skipSpace()
	switch d.scan.peek() {
	case '{':
		err = d.lone()
	case '[':
		many, err = true, d.array()
	default:
		return nil, false, d.scan.syntax("expected a sample such as {\"metric_name\":\"cpu_usage\",\"value\":75.5} or an array of samples")
	}
	if err != nil {
		return nil, many, err
	}
	if !d.scan.atEnd() {
		return nil, many, d.scan.syntax("something follows the end; send several samples as an array, or one a line as application/x-ndjson")
	}
	if many {
		err = d.batchFault()
	}
	return d.observations, many, err
}

// DecodeLines reads one sample a line from r until its end; empty lines are skipped. It holds one chunk
// of r at a time, or one line if that is longer. Observations and errors are as Decode's for many; a
// line that is not JSON is one bad sample; errors of r come back wrapped.
func (d *Decoder) DecodeLines(r io.Reader) ([]metric.Observation, error) {
	if d.chunk == nil {
		d.chunk = make([]byte, chunkBytes)
	}
	line, held := 0, 0
	for {
		if held == len(d.chunk) {
			d.chunk = append(d.chunk, make([]byte, len(d.chunk))...)
		}
		n, err := r.Read(d.chunk[held:])
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return nil, fmt.Errorf("read lines: %w", err)
		}
		text := d.chunk[:held+n]
		whole := bytes.LastIndexByte(text[held:], '\n') + 1
		if whole > 0 {
			whole += held
		}
		if ended {
			whole = len(text)
		}
		if line, err = d.lines(text[:whole], line); err != nil {
			return nil, err
		}
		if ended {
			return d.observations, d.batchFault()
		}
		held = copy(d.chunk, text[whole:])
	}
}

// lines reads the samples of whole lines, the first of which has the number line+1.
func (d *Decoder) lines(text []byte, line int) (int, error) {
	for ; len(text) > 0; line++ {
		var one []byte
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			one, text = text[:end], text[end+1:]
		} else {
			one, text = text, nil
		}
		d.scan = scanner{data: one, line: line}
		if d.scan.atEnd() {
			continue
		}
		if err := d.room(); err != nil {
			return line, err
		}
		var problem, err error
		if d.scan.peek() == '{' {
			problem, err = d.sample()
		} else {
			err = d.scan.syntax("expected one sample, an object, on each line")
		}
		if err == nil && !d.scan.atEnd() {
			err = d.scan.syntax("something follows the sample on its line")
		}
		switch {
		case err != nil:
			d.reject(err)
		case problem != nil:
			d.reject(problem)
		}
	}
	return line, nil
}

// lone reads one sample that is not part of a batch.
func (d *Decoder) lone() error {
	problem, err := d.sample()
	if err != nil {
		return err
	}
	return problem
}

func (d *Decoder) array() error {
	s := &d.scan
	s.pos++
	s.skipSpace()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.skipSpace()
		if err := d.element(); err != nil {
			return err
		}
		s.skipSpace()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return s.syntax("expected ',' or ']' after a sample")
		}
	}
}

func (d *Decoder) element() error {
	if err := d.room(); err != nil {
		return err
	}
	if d.scan.peek() != '{' {
		if err := d.scan.skipValue(0); err != nil {
			return err
		}
		d.reject(fault.New(fault.Invalid, "invalid_argument", "is not an object; expected a sample"))
		return nil
	}
	problem, err := d.sample()
	if err != nil {
		return err
	}
	if problem != nil {
		d.reject(problem)
	}
	return nil
}

// room refuses one sample more than a batch may hold.
func (d *Decoder) room() error {
	if len(d.observations)+d.badCount < metric.BatchSamplesMax {
		return nil
	}
	return metric.ErrTooManySamples
}

// reject counts a bad sample and keeps the first few reasons.
func (d *Decoder) reject(problem error) {
	index := len(d.observations) + d.badCount
	d.badCount++
	if len(d.reported) == ReportedMax {
		return
	}
	e := fault.From(problem)
	bad := SampleFault{Index: index, Reason: e.Message()}
	for _, detail := range e.Details() {
		if field, ok := detail.Value.(string); ok && detail.Name == "field" {
			bad.Field = field
		}
	}
	d.reported = append(d.reported, bad)
}

// batchFault returns the refusal of a batch that is empty or holds bad samples.
func (d *Decoder) batchFault() error {
	total := len(d.observations) + d.badCount
	switch {
	case total == 0:
		return fault.Newf(fault.Invalid, "empty_batch", "the batch holds no samples; send 1 to %d", metric.BatchSamplesMax)
	case d.badCount == 0:
		return nil
	}
	return fault.Newf(fault.Invalid, "invalid_batch",
		"%d of %d samples are bad, the first at index %d: %s; nothing was stored",
		d.badCount, total, d.reported[0].Index, d.reported[0].Reason).
		WithDetail("bad", d.badCount).WithDetail("errors", d.reported)
}
