package workload

import (
	"strconv"
	"strings"
	"time"
)

// LinesABatch makes batches of 10,000 samples.
const LinesABatch = 1_000

// Format is how a stream writes.
type Format int

const (
	// Lines is the Influx line protocol, a line a host and time with all fields.
	Lines Format = iota
	// JSON is the body of POST /metrics.
	JSON
)

// Stream writes the part of a load that one connection sends: that of its own hosts, time after time, so
// that each series' samples stay in order. It is not safe for concurrent use.
type Stream struct {
	shape  Shape
	format Format
	first  int // of the hosts
	walks  []walk
	tags   []string
	now    int // the time that comes next
	next   int // the host of it, counted from first
}

// Stream returns the part of the number-th of so many connections.
func (s Shape) Stream(format Format, number, connections int) *Stream {
	first, after := s.Hosts*number/connections, s.Hosts*(number+1)/connections
	r := &Stream{shape: s, format: format, first: first}
	for host := first; host < after; host++ {
		r.tags = append(r.tags, tagText(host))
		for field := range Fields {
			r.walks = append(r.walks, s.walk(host, field))
		}
	}
	return r
}

// Batch returns the next LinesABatch lines, or what is left, and how many samples they are: 0 at the end.
func (r *Stream) Batch() (body string, samples int) {
	var b []byte
	for lines := 0; lines < LinesABatch && r.now < r.shape.Times && len(r.tags) > 0; lines++ {
		if b == nil {
			b = make([]byte, 0, r.bytesMax())
		}
		if r.format == JSON {
			b = r.appendJSON(b)
		} else {
			b = r.appendLine(b)
		}
		samples += len(Fields)
		if r.next++; r.next == len(r.tags) {
			r.next = 0
			r.now++
		}
	}
	if samples > 0 && r.format == JSON {
		b = append(b, ']')
	}
	return string(b), samples
}

// bytesMax is more than most batches take.
func (r *Stream) bytesMax() int {
	const lineBytes, jsonBytes = 300, 200
	if r.format == JSON {
		return LinesABatch * len(Fields) * jsonBytes
	}
	return LinesABatch * lineBytes
}

func (r *Stream) appendLine(b []byte) []byte {
	b = append(append(append(b, Measurement...), ','), r.tags[r.next]...)
	separator := byte(' ')
	for field := range Fields {
		b = append(append(append(b, separator), Fields[field]...), '=')
		b = appendValue(b, r.walks[r.next*len(Fields)+field].next())
		separator = ','
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, at(r.now).UnixNano(), 10)
	return append(b, '\n')
}

func (r *Stream) appendJSON(b []byte) []byte {
	tags := strings.NewReplacer("=", `":"`, ",", `","`).Replace(r.tags[r.next])
	for field := range Fields {
		separator := byte(',')
		if len(b) == 0 {
			separator = '['
		}
		b = append(append(b, separator), `{"metric_name":"`...)
		b = append(append(b, MetricName(field)...), `","value":`...)
		b = appendValue(b, r.walks[r.next*len(Fields)+field].next())
		b = append(b, `,"timestamp":"`...)
		b = at(r.now).AppendFormat(b, time.RFC3339)
		b = append(append(append(b, `","tags":{"`...), tags...), `"}}`...)
	}
	return b
}

// appendValue writes hundredths with two decimals.
func appendValue(b []byte, hundredths int) []byte {
	b = strconv.AppendInt(b, int64(hundredths/100), 10)
	return append(b, '.', byte('0'+hundredths/10%10), byte('0'+hundredths%10))
}
