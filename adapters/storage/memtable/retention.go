package memtable

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Retention is the standing cut-offs of a shard, which only rise, for metrics known and unknown. It is
// immutable. The zero Retention forgets nothing.
//
// It keeps what it was ever told, as layers; a metric's cut-off is the greatest that any layer gives it.
// Since the same policy gives the same patterns with later times, layers are few: one a policy, until it
// is overtaken.
type Retention struct{ layers []metric.Cutoffs }

// retentionLayersMax bounds the policies whose cut-offs were not overtaken yet.
const retentionLayersMax = 100

// IsZero reports whether nothing is forgotten.
func (r Retention) IsZero() bool { return len(r.layers) == 0 }

// Equal reports whether r and o say the same.
func (r Retention) Equal(o Retention) bool { return bytes.Equal(r.Encode(), o.Encode()) }

// Of returns the cut-off of a metric: samples before it are forgotten.
func (r Retention) Of(name metric.Name) metric.Timestamp {
	at := metric.TimestampMin
	for _, l := range r.layers {
		at = max(at, l.Of(name))
	}
	return at
}

// With returns r with c's cut-offs wherever they are later. Where that would be more layers than are
// remembered, which takes as many different policies in a row, it returns r: then c counts once an
// earlier policy is overtaken, and nothing that was forgotten comes back.
func (r Retention) With(c metric.Cutoffs) Retention {
	c.Rules = slices.Clone(c.Rules)
	layers := make([]metric.Cutoffs, 0, len(r.layers)+1)
	for _, l := range r.layers {
		switch {
		case samePatterns(l, c):
			c.Default = max(c.Default, l.Default)
			for i := range c.Rules {
				c.Rules[i].Before = max(c.Rules[i].Before, l.Rules[i].Before)
			}
		default:
			layers = append(layers, l)
		}
	}
	low, high := extremes(c)
	layers = slices.DeleteFunc(layers, func(l metric.Cutoffs) bool {
		_, highest := extremes(l)
		return highest <= low
	})
	if high > metric.TimestampMin {
		layers = append(layers, c)
	}
	if len(layers) > retentionLayersMax {
		return r
	}
	return Retention{layers: layers}
}

func samePatterns(a, b metric.Cutoffs) bool {
	return slices.EqualFunc(a.Rules, b.Rules, func(a, b metric.CutoffRule) bool { return a.Pattern == b.Pattern })
}

// extremes returns the least and the greatest cut-off that c may give.
func extremes(c metric.Cutoffs) (low, high metric.Timestamp) {
	low, high = c.Default, c.Default
	for _, r := range c.Rules {
		low, high = min(low, r.Before), max(high, r.Before)
	}
	return low, high
}

// retentionVersion is the version of an encoded Retention:
//
//	version  1 byte
//	number of layers  4 bytes, then each: default cut-off  8 bytes, number of rules  4 bytes, then each:
//	  cut-off  8 bytes, 2 bytes of length, the pattern
//
// All numbers are big-endian.
const retentionVersion = 1

// Encode returns r for adapters to store; nil for the zero Retention.
func (r Retention) Encode() []byte {
	if r.IsZero() {
		return nil
	}
	b := binary.BigEndian.AppendUint32([]byte{retentionVersion}, uint32(len(r.layers)))
	for _, l := range r.layers {
		b = binary.BigEndian.AppendUint64(b, uint64(l.Default))
		b = binary.BigEndian.AppendUint32(b, uint32(len(l.Rules)))
		for _, rule := range l.Rules {
			b = binary.BigEndian.AppendUint64(b, uint64(rule.Before))
			b = binary.BigEndian.AppendUint16(b, uint16(len(rule.Pattern)))
			b = append(b, rule.Pattern...)
		}
	}
	return b
}

var errRetention = fault.New(fault.Corrupt, "retention_damaged", "the stored cut-offs are damaged or of an unknown version")

// DecodeRetention reads what Encode wrote. Nothing at all is the zero Retention.
func DecodeRetention(b []byte) (Retention, error) {
	if len(b) == 0 {
		return Retention{}, nil
	}
	d := retentionDecoder{rest: b}
	version, layers := d.number(1), d.number(4)
	if version != retentionVersion || layers > retentionLayersMax {
		return Retention{}, errRetention
	}
	r := Retention{}
	for range layers {
		l := metric.Cutoffs{Default: metric.Timestamp(d.number(8))}
		rules := d.number(4)
		if rules > metric.RetentionRulesMax {
			return Retention{}, errRetention
		}
		for range rules {
			before := metric.Timestamp(d.number(8))
			l.Rules = append(l.Rules, metric.CutoffRule{Pattern: string(d.bytes(int(d.number(2)))), Before: before})
		}
		r.layers = append(r.layers, l)
	}
	if d.short || len(d.rest) > 0 {
		return Retention{}, errRetention
	}
	return r, nil
}

// retentionDecoder takes an encoding apart. After short everything it returns is zero.
type retentionDecoder struct {
	rest  []byte
	short bool
}

func (d *retentionDecoder) bytes(n int) []byte {
	if d.short || n > len(d.rest) {
		d.short = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *retentionDecoder) number(size int) (n uint64) {
	for _, c := range d.bytes(size) {
		n = n<<8 | uint64(c)
	}
	return n
}
