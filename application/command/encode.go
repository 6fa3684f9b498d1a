package command

import (
	"encoding/binary"
	"math"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// headerBytesMax is the room that a header can take: version, kind, three uvarints.
const headerBytesMax = 2 + 3*binary.MaxVarintLen64

// Frame holds one command: the body is encoded once, the header put before it when the command gets
// its place in a session. The zero Frame is ready for use; a body replaces the one before and reuses
// its memory. It is not safe for concurrent use.
type Frame struct {
	kind Kind
	data []byte // headerBytesMax of room, then the body
}

// Seal returns the command: h's session, sequence and lowest before the body. The bytes belong to
// the frame and stay as they are until the next call of any of its methods.
func (f *Frame) Seal(h Header) []byte {
	var room [headerBytesMax]byte
	head := append(room[:0], Version, byte(f.kind))
	head = binary.AppendUvarint(head, h.Session)
	head = binary.AppendUvarint(head, h.Sequence)
	head = binary.AppendUvarint(head, h.Sequence-h.Lowest)
	start := headerBytesMax - len(head)
	copy(f.data[start:], head)
	return f.data[start:]
}

// Len returns the most bytes that Seal can return.
func (f *Frame) Len() int { return len(f.data) }

// Kind returns the kind of the body.
func (f *Frame) Kind() Kind { return f.kind }

func (f *Frame) begin(kind Kind) {
	f.kind = kind
	if cap(f.data) < headerBytesMax {
		f.data = make([]byte, headerBytesMax, 2*headerBytesMax)
	}
	f.data = f.data[:headerBytesMax]
}

// EncodeRegister returns a command that asks for a session.
func EncodeRegister() []byte { return outside(Register) }

// EncodeMark returns a command that marks its place in the log with a number.
func EncodeMark(mark uint64) []byte {
	return binary.LittleEndian.AppendUint64(outside(Mark), mark)
}

// outside returns the header of a command outside sessions.
func outside(kind Kind) []byte { return []byte{Version, byte(kind), 0, 0, 0} }

// EncodeBegin makes the frame a Begin.
func (f *Frame) EncodeBegin(b BeginBody) {
	f.begin(Begin)
	f.data = append(f.data, b.Key[:]...)
	f.data = append(f.data, b.Digest[:]...)
	f.data = binary.AppendVarint(f.data, int64(b.Received))
}

// EncodeFinish makes the frame a Finish.
func (f *Frame) EncodeFinish(b FinishBody) {
	f.begin(Finish)
	f.data = append(f.data, b.Key[:]...)
	f.data = binary.AppendUvarint(f.data, b.Number)
	f.data = binary.AppendUvarint(f.data, b.Stored)
}

// The flags of a Write.
const (
	flagIdentity = 1 << iota // an identity follows
	flagReplace              // outbound.Columns.Replace
	flagsKnown   = 1<<iota - 1
)

// EncodeWrite makes the frame a Write of columns, which it does not keep. The columns must be what
// outbound.Columns asks for: equal lengths, indexes within Keys, finite values, valid timestamps.
//
//	flags                           byte
//	home, number of the Begin       uvarint each, only with identity
//	keys                            uvarint
//	key lengths                     uvarint each
//	key bytes
//	samples                         uvarint
//	unit of time                    byte: 0 µs, 1 ms, 2 s
//	series                          varint each: index less the one before; left out for one key
//	timestamps                      varint each: units less the one before
//	values                          8 bytes each, IEEE 754, little endian
func (f *Frame) EncodeWrite(identity Identity, columns outbound.Columns) {
	f.begin(Write)
	flags := byte(0)
	if !identity.IsNone() {
		flags |= flagIdentity
	}
	if columns.Replace {
		flags |= flagReplace
	}
	d := f.data
	d = append(d, flags)
	if !identity.IsNone() {
		d = binary.AppendUvarint(d, uint64(identity.Home))
		d = binary.AppendUvarint(d, identity.Number)
	}
	d = appendKeys(d, columns.Keys)
	d = binary.AppendUvarint(d, uint64(len(columns.Values)))
	u := unitOf(columns.Timestamps)
	d = append(d, byte(u))
	if len(columns.Keys) > 1 {
		d = appendSeries(d, columns.Series)
	}
	d = appendTimestamps(d, columns.Timestamps, u)
	f.data = appendValues(d, columns.Values)
}

func appendKeys(d []byte, keys []string) []byte {
	d = binary.AppendUvarint(d, uint64(len(keys)))
	for _, k := range keys {
		d = binary.AppendUvarint(d, uint64(len(k)))
	}
	for _, k := range keys {
		d = append(d, k...)
	}
	return d
}

func appendSeries(d []byte, series []uint32) []byte {
	last := int64(0)
	for _, s := range series {
		d = appendVarint(d, int64(s)-last)
		last = int64(s)
	}
	return d
}

// unit is the coarsest step of time that all timestamps of a command are whole multiples of.
type unit byte

const (
	unitMicro  unit = 0
	unitMilli  unit = 1
	unitSecond unit = 2
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

func appendTimestamps(d []byte, timestamps []int64, u unit) []byte {
	last := int64(0)
	for _, t := range timestamps {
		if t == last {
			d = append(d, 0)
			continue
		}
		// The divisions are by constants, so that they cost a multiplication.
		step := t - last
		switch u {
		case unitSecond:
			step /= 1_000_000
		case unitMilli:
			step /= 1_000
		case unitMicro:
		}
		d = appendVarint(d, step)
		last = t
	}
	return d
}

func appendValues(d []byte, values []float64) []byte {
	at := len(d)
	d = append(d, make([]byte, 8*len(values))...)
	for i, v := range values {
		binary.LittleEndian.PutUint64(d[at+8*i:], math.Float64bits(v))
	}
	return d
}

// appendVarint is binary.AppendVarint with the one-byte case, by far the most frequent, in front.
func appendVarint(d []byte, v int64) []byte {
	z := uint64(v<<1) ^ uint64(v>>63)
	if z < 0x80 {
		return append(d, byte(z))
	}
	return binary.AppendUvarint(d, z)
}

// validTimestamp reports whether units of length micros make a valid timestamp.
func validTimestamp(units, micros int64) bool {
	return units >= int64(metric.TimestampMin)/micros && units <= int64(metric.TimestampMax)/micros
}
