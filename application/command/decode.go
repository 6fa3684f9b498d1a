package command

import (
	"encoding/binary"
	"errors"
	"math"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
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

// Decoder reads writes and keeps its columns' memory from one to the next. The zero Decoder is ready
// for use, by one goroutine at a time.
type Decoder struct {
	columns outbound.Columns
}

// Write reads the body of a Write with header h. The columns are valid until the next call; their keys
// are not copied but share body's memory, which must not change while they are in use.
func (d *Decoder) Write(h Header, body []byte) (Identity, outbound.Columns, error) {
	r := reader{rest: body}
	var identity Identity
	if h.Version == 1 {
		identity, d.columns.Replace = r.identity1(), false
	} else {
		identity, d.columns.Replace = r.flags()
	}
	d.keys(&r)
	count := r.uvarint()
	// A sample takes at least a byte of time and eight of value: this bounds what is allocated.
	if r.bad || count == 0 || count > uint64(len(r.rest))/9 || count > BytesMax {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	micros := unit(r.byte()).micros()
	d.series(&r, int(count))
	d.timestamps(&r, int(count), micros)
	d.values(&r, int(count))
	if r.bad || len(r.rest) != 0 {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	return identity, d.columns, nil
}

func (d *Decoder) keys(r *reader) {
	count := r.uvarint()
	if count == 0 || count > uint64(len(r.rest)) {
		r.bad = true
		return
	}
	lengths := *r
	total := uint64(0)
	for range count {
		n := r.uvarint()
		if n == 0 || n > metric.SeriesKeyBytesMax {
			r.bad = true
			return
		}
		total += n
	}
	if total > uint64(len(r.rest)) {
		r.bad = true
		return
	}
	block := r.take(int(total))
	if r.bad {
		return
	}
	text := unsafe.String(unsafe.SliceData(block), len(block)) //nolint:gosec // documented aliasing: no copy of every key
	d.columns.Keys = d.columns.Keys[:0]
	for range count {
		n := lengths.uvarint()
		d.columns.Keys = append(d.columns.Keys, text[:n])
		text = text[n:]
	}
}

func (d *Decoder) series(r *reader, count int) {
	d.columns.Series = resize(d.columns.Series, count)
	if len(d.columns.Keys) == 1 {
		clear(d.columns.Series)
		return
	}
	last, keys := int64(0), int64(len(d.columns.Keys))
	for i := range d.columns.Series {
		last += r.varint()
		if last < 0 || last >= keys {
			r.bad = true
			return
		}
		d.columns.Series[i] = uint32(last)
	}
}

func (d *Decoder) timestamps(r *reader, count int, micros int64) {
	d.columns.Timestamps = resize(d.columns.Timestamps, count)
	if r.bad || micros == 0 {
		r.bad = true
		return
	}
	last := int64(0)
	for i := range d.columns.Timestamps {
		last += r.varint()
		if !validTimestamp(last, micros) {
			r.bad = true
			return
		}
		d.columns.Timestamps[i] = last * micros
	}
}

func (d *Decoder) values(r *reader, count int) {
	block := r.take(8 * count)
	if r.bad {
		return
	}
	d.columns.Values = resize(d.columns.Values, count)
	for i := range d.columns.Values {
		bits := binary.LittleEndian.Uint64(block[8*i:])
		if bits&infinite == infinite {
			r.bad = true
			return
		}
		d.columns.Values[i] = math.Float64frombits(bits)
	}
}

// infinite is the exponent of infinities and NaNs.
const infinite = 0x7ff << 52

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

// flags reads a Write's flags and identity.
func (r *reader) flags() (identity Identity, replace bool) {
	flags := r.byte()
	if flags&^flagsKnown != 0 {
		r.bad = true
	}
	if flags&flagIdentity != 0 {
		home, number := r.uvarint(), r.uvarint()
		if home >= shard.CountMax || number == 0 {
			r.bad = true
		}
		identity = Identity{Home: shard.ID(home), Number: number}
	}
	return identity, flags&flagReplace != 0
}

// identity1 reads a Write's identity in version 1.
func (r *reader) identity1() Identity {
	home := r.uvarint()
	if home == 0 {
		return Identity{}
	}
	number := r.uvarint()
	if home > shard.CountMax || number == 0 {
		r.bad = true
	}
	return Identity{Home: shard.ID(home - 1), Number: number}
}
