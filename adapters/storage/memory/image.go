package memory

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// imageVersion is the version of an image as the data of a snapshot:
//
//	version  1 byte
//	index, term, log time in ns  8 bytes each
//	membership, machine, cut-offs  each 4 bytes of length and as many bytes
//	number of series  4 bytes, then in the order of their ids: 4 bytes of length, the key
//	then every series that has samples: id  4 bytes, samples  4 bytes, then by time, ties in the
//	  order of the log, each: timestamp, value  8 bytes each
//
// All numbers are big-endian. The manifest tells where the data ends, and that it is intact. Version 1
// had no cut-offs, which memtable.Retention encodes.
const (
	imageVersion            = 2
	imageVersionNoRetention = 1
)

const pointBytes = 16

// parts encodes an image piece by piece; a piece is valid until the next one is asked for.
func (i image) parts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := i.encodeHead()
		if !yield(b) {
			return
		}
		_ = memtable.EachSeries(i.generations, func(id catalogue.SeriesID, points []memtable.Point) error {
			b = binary.BigEndian.AppendUint32(b[:0], uint32(id))
			b = binary.BigEndian.AppendUint32(b, uint32(len(points)))
			for _, p := range points {
				b = binary.BigEndian.AppendUint64(b, uint64(p.At))
				b = binary.BigEndian.AppendUint64(b, math.Float64bits(p.Value))
			}
			if !yield(b) {
				return io.ErrClosedPipe // Ends the walk; nobody sees it.
			}
			return nil
		})
	}
}

func (i image) encodeHead() []byte {
	b := []byte{imageVersion}
	for _, n := range []uint64{i.state.Index, i.state.Term, uint64(i.state.LogTime)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, blob := range [][]byte{i.state.Membership, i.state.Machine, i.retention.Encode()} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(blob)))
		b = append(b, blob...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(i.series.Len()))
	for id := range catalogue.SeriesID(i.series.Len()) {
		at := len(b)
		b = i.series.AppendKey(append(b, 0, 0, 0, 0), id)
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	return b
}

// imageReader reads an image's encoding, of which it holds one piece at a time.
type imageReader struct {
	next func() ([]byte, bool)
	stop func()
	rest []byte
}

func newImageReader(i image) *imageReader {
	r := &imageReader{}
	r.next, r.stop = iter.Pull(i.parts())
	return r
}

// Read implements io.Reader.
func (r *imageReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		more, ok := r.next()
		if !ok {
			return 0, io.EOF
		}
		r.rest = more
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *imageReader) Close() error {
	r.stop()
	return nil
}

var errImage = fault.New(fault.Corrupt, "snapshot_damaged", "the snapshot's data contradicts itself")

// decodeImage reads what parts encoded, for a store that takes seriesMax series a shard.
func decodeImage(b []byte, seriesMax int) (image, error) {
	d := decoder{rest: b}
	version := d.bytes(1)[0]
	if version != imageVersion && version != imageVersionNoRetention {
		return image{}, errImage
	}
	i := image{state: outbound.AppliedState{Index: d.uint64(), Term: d.uint64(), LogTime: time.Duration(d.uint64())}}
	i.state.Membership, i.state.Machine = d.blob(), d.blob()
	if version != imageVersionNoRetention {
		var err error
		if i.retention, err = memtable.DecodeRetention(d.blob()); err != nil {
			return image{}, err
		}
	}
	keys := make([]string, 0)
	for n := d.uint32(); n > 0 && !d.short; n-- {
		keys = append(keys, string(d.blob()))
	}
	if d.short {
		return image{}, errImage
	}
	table := memtable.New(0, seriesMax)
	if err := table.Define(keys); err != nil {
		return image{}, fmt.Errorf("define series: %w", err)
	}
	table.RestoreRetention(i.retention)
	for len(d.rest) > 0 && !d.short {
		if err := d.series(table, keys); err != nil {
			return image{}, err
		}
	}
	if d.short {
		return image{}, errImage
	}
	table.Freeze()
	i.series, i.generations = table.Series(), table.Frozen()
	return i, nil
}

// decoder takes an encoding apart. After short everything it returns is zero.
type decoder struct {
	rest  []byte
	short bool
}

// bytes returns the next n bytes.
func (d *decoder) bytes(n int) []byte {
	if d.short || len(d.rest) < n {
		d.short = true
		return make([]byte, min(n, 8))
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uint32() uint32 { return binary.BigEndian.Uint32(d.bytes(4)) }

func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.bytes(8)) }

// blob returns a copy of the next bytes that follow their length, nil when there are none.
func (d *decoder) blob() []byte {
	n := d.uint32()
	if n == 0 {
		return nil
	}
	return append([]byte(nil), d.bytes(int(n))...)
}

// series adds the next series' samples to table.
func (d *decoder) series(table *memtable.Table, keys []string) error {
	id, samples := d.uint32(), int(d.uint32())
	if d.short || int(id) >= len(keys) || len(d.rest)/pointBytes < samples {
		return errImage
	}
	c := outbound.Columns{
		Keys: []string{keys[id]}, Series: make([]uint32, samples),
		Timestamps: make([]int64, samples), Values: make([]float64, samples),
	}
	for i := range samples {
		c.Timestamps[i], c.Values[i] = int64(d.uint64()), math.Float64frombits(d.uint64())
	}
	return table.Append(c)
}
