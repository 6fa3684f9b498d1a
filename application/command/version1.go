package command

import (
	"encoding/binary"
	"math"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// write1 reads a Write's body in version 1, which no program writes any more.
//
//	home+1, or 0 without identity   uvarint
//	number of the Begin             uvarint, only with identity
//	keys                            uvarint
//	key lengths                     uvarint each
//	key bytes
//	samples                         uvarint
//	unit of time                    byte: 0 µs, 1 ms, 2 s
//	series                          varint each: index less the one before; left out for one key
//	timestamps                      varint each: units less the one before
//	values                          8 bytes each, IEEE 754, little endian
func (d *Decoder) write1(body []byte) (Identity, outbound.Columns, error) {
	r := reader{rest: body}
	identity := r.identity1()
	d.columns.Replace, d.columns.Numbers = false, nil
	keys := r.uvarint()
	if keys == 0 || keys > uint64(len(r.rest)) {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	d.columns.Keys = resize(d.columns.Keys, int(keys))
	d.keys(&r, nil)
	count := r.uvarint()
	// A sample takes at least a byte of time and eight of value: this bounds what is allocated.
	if r.bad || count == 0 || count > uint64(len(r.rest))/9 || count > BytesMax {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	micros := unit(r.byte()).micros()
	d.series1(&r, int(count))
	d.timestamps1(&r, int(count), micros)
	d.values1(&r, int(count))
	if r.bad || len(r.rest) != 0 {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	return identity, d.columns, nil
}

func (d *Decoder) series1(r *reader, count int) {
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

func (d *Decoder) timestamps1(r *reader, count int, micros int64) {
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

func (d *Decoder) values1(r *reader, count int) {
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
