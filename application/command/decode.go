package command

import (
	"encoding/binary"
	"errors"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// ErrMalformed means that bytes are not a command, or outcome, of this version.
var ErrMalformed = errors.New("malformed command")

// DecodeHeader splits a command into its header and its body.
func DecodeHeader(data []byte) (Header, []byte, error) {
	if len(data) < 2 || len(data) > BytesMax || data[0] == 0 || data[0] > Version {
		return Header{}, nil, ErrMalformed
	}
	r := reader{rest: data[2:]}
	h := Header{Version: data[0], Kind: Kind(data[1]), Session: r.uvarint(), Sequence: r.uvarint()}
	gap := r.uvarint()
	if r.bad {
		return Header{}, nil, ErrMalformed
	}
	h.Lowest = h.Sequence - gap
	if !h.makesSense(gap, len(r.rest)) {
		return Header{}, nil, ErrMalformed
	}
	return h, r.rest, nil
}

func (h Header) makesSense(gap uint64, bodyBytes int) bool {
	isOutside := h == Header{Version: h.Version, Kind: h.Kind}
	switch h.Kind {
	case Register:
		return isOutside && bodyBytes == 0
	case Mark:
		return isOutside && bodyBytes == markBytes
	case Retain:
		return isOutside && h.Version > 1
	case Write, Begin, Finish:
		return h.Session != 0 && gap < h.Sequence
	case Delete:
		return h.Session != 0 && gap < h.Sequence && h.Version > 1
	default:
		return false
	}
}

// markBytes is the length of a Mark's body.
const markBytes = 8

// DecodeMark reads the body of a Mark, which DecodeHeader has checked.
func DecodeMark(body []byte) uint64 { return binary.LittleEndian.Uint64(body) }

// DecodeBegin reads a Begin's body.
func DecodeBegin(body []byte) (BeginBody, error) {
	r := reader{rest: body}
	var b BeginBody
	copy(b.Key[:], r.take(len(b.Key)))
	copy(b.Digest[:], r.take(len(b.Digest)))
	b.Received = metric.Timestamp(r.varint())
	if r.bad || len(r.rest) != 0 || !validTimestamp(int64(b.Received), 1) {
		return BeginBody{}, ErrMalformed
	}
	return b, nil
}

// DecodeFinish reads a Finish's body.
func DecodeFinish(body []byte) (FinishBody, error) {
	r := reader{rest: body}
	var b FinishBody
	copy(b.Key[:], r.take(len(b.Key)))
	b.Number, b.Stored = r.uvarint(), r.uvarint()
	if r.bad || len(r.rest) != 0 || b.Number == 0 {
		return FinishBody{}, ErrMalformed
	}
	return b, nil
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// reader consumes bytes; after the first failure bad is set and all it returns is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if r.bad || len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 && !r.bad {
		v := uint64(r.rest[0])
		r.rest = r.rest[1:]
		return v
	}
	return r.uvarintLong()
}

func (r *reader) uvarintLong() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	z := r.uvarint()
	return int64(z>>1) ^ -int64(z&1)
}
