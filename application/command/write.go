package command

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// A Write's body in version 2. Samples stand in runs: neighbours of one series. Where a gateway has put
// each series' samples side by side, as it does, a series costs a few bytes and a sample one to three.
//
//	flags                           byte
//	home, number of the Begin       uvarint each, only with identity
//	series                          uvarint
//	each: its number, less that of the number before, zigzag, plus 1; or 0 for the next key  uvarint
//	lengths of the keys             uvarint each
//	bytes of the keys
//	samples                         uvarint
//	runs, up to so many samples, each:
//	  head                          byte
//	  series                        uvarint, unless headNext
//	  samples                       uvarint, unless headSameCount
//	  times                         unless headSameTimes, see appendTimes
//	  values                        see appendValues

// The flags of a Write.
const (
	flagIdentity = 1 << iota // an identity follows
	flagReplace              // outbound.Columns.Replace
	flagsKnown   = 1<<iota - 1
)

// The head of a run. Its low bits say how the values are written.
const (
	headCoding    = 7      // mask: decimals, or codingRaw
	headNext      = 1 << 3 // the series is the one behind that of the run before, at first the first
	headSameCount = 1 << 4 // as many samples as the run before
	headSameTimes = 1 << 5 // the times of the run before, which has as many
	headKnown     = 1<<6 - 1
)

// EncodeWrite makes the frame a Write of columns, which it does not keep. The columns must be what
// outbound.Columns asks for: equal lengths, at most metric.BatchSamplesMax, indexes within Keys, finite
// values, valid timestamps.
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
	d = appendTable(d, columns.Keys, columns.Numbers)
	f.data = appendRuns(d, columns)
}

// appendTable appends the series: numbers, which may be nil, and keys.
func appendTable(d []byte, keys []string, numbers []uint32) []byte {
	d = binary.AppendUvarint(d, uint64(len(keys)))
	if numbers == nil {
		d = append(d, make([]byte, len(keys))...)
	} else {
		last := int64(0)
		for _, n := range numbers {
			if n == 0 {
				d = append(d, 0)
				continue
			}
			step := int64(n-1) - last
			d = appendUvarint(d, uint64(step<<1)^uint64(step>>63)+1)
			last = int64(n - 1)
		}
	}
	for i, k := range keys {
		if numbers == nil || numbers[i] == 0 {
			d = binary.AppendUvarint(d, uint64(len(k)))
		}
	}
	for i, k := range keys {
		if numbers == nil || numbers[i] == 0 {
			d = append(d, k...)
		}
	}
	return d
}

func appendRuns(d []byte, c outbound.Columns) []byte {
	d = binary.AppendUvarint(d, uint64(len(c.Series)))
	var before []int64
	next, decimals := uint32(0), 0
	for at := 0; at < len(c.Series); {
		series := c.Series[at]
		end := at + 1
		for end < len(c.Series) && c.Series[end] == series {
			end++
		}
		times := c.Timestamps[at:end]
		head := len(d)
		d = append(d, 0)
		if series == next {
			d[head] |= headNext
		} else {
			d = binary.AppendUvarint(d, uint64(series))
		}
		if len(times) == len(before) {
			d[head] |= headSameCount
		} else {
			d = binary.AppendUvarint(d, uint64(len(times)))
		}
		if slices.Equal(times, before) {
			d[head] |= headSameTimes
		} else {
			d = appendTimes(d, times, first(before))
		}
		var coding byte
		d, coding = appendValues(d, c.Values[at:end], &decimals)
		d[head] |= coding
		before, next, at = times, series+1, end
	}
	return d
}

// first returns the first of times, 0 when there is none.
func first(times []int64) int64 {
	if len(times) == 0 {
		return 0
	}
	return times[0]
}

// Decoder reads writes and keeps its columns' memory from one to the next. The zero Decoder is ready
// for use, by one goroutine at a time.
type Decoder struct {
	columns outbound.Columns
	numbers []uint32 // memory of columns.Numbers
}

// Write reads the body of a Write with header h. The columns are valid until the next call; their keys
// are not copied but share body's memory, which must not change while they are in use.
func (d *Decoder) Write(h Header, body []byte) (Identity, outbound.Columns, error) {
	if h.Version == 1 {
		return d.write1(body)
	}
	r := reader{rest: body}
	var identity Identity
	identity, d.columns.Replace = r.flags()
	d.table(&r)
	count := r.uvarint()
	// A sample takes at least a byte but for those of times that repeat: this bounds what is allocated.
	if r.bad || count == 0 || count > uint64(len(r.rest)) || count > metric.BatchSamplesMax {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	d.runs(&r, int(count))
	if r.bad || len(r.rest) != 0 {
		return Identity{}, outbound.Columns{}, ErrMalformed
	}
	return identity, d.columns, nil
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

// table reads the series into Keys and Numbers.
func (d *Decoder) table(r *reader) {
	count := r.uvarint()
	if r.bad || count == 0 || count > uint64(len(r.rest)) {
		r.bad = true
		return
	}
	d.columns.Keys = resize(d.columns.Keys, int(count))
	d.numbers = resize(d.numbers, int(count))
	last, told := int64(0), 0
	for i := range d.numbers {
		z := r.uvarint()
		if z == 0 {
			d.numbers[i] = 0
			continue
		}
		z--
		last += int64(z>>1) ^ -int64(z&1)
		if last < 0 || last > numberMax {
			r.bad = true
			return
		}
		d.numbers[i] = uint32(last) + 1
		told++
	}
	d.columns.Numbers = d.numbers
	if told == 0 {
		d.columns.Numbers = nil
	}
	if told == len(d.numbers) {
		clear(d.columns.Keys)
		return
	}
	d.keys(r, d.columns.Numbers)
}

// numberMax is the greatest number of a series: one more must fit in 32 bits.
const numberMax = 1<<32 - 2

// keys reads the keys of the series that numbers, which may be nil, do not tell.
func (d *Decoder) keys(r *reader, numbers []uint32) {
	lengths := *r
	total := uint64(0)
	for i := range d.columns.Keys {
		if numbers != nil && numbers[i] > 0 {
			continue
		}
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
	for i := range d.columns.Keys {
		if numbers != nil && numbers[i] > 0 {
			d.columns.Keys[i] = ""
			continue
		}
		n := lengths.uvarint()
		d.columns.Keys[i] = text[:n]
		text = text[n:]
	}
}

func (d *Decoder) runs(r *reader, count int) {
	c := &d.columns
	c.Series = resize(c.Series, count)
	c.Timestamps = resize(c.Timestamps, count)
	c.Values = resize(c.Values, count)
	var before []int64
	next := uint64(0)
	for at := 0; at < count; {
		head := r.byte()
		series, samples := next, uint64(len(before))
		if head&headNext == 0 {
			series = r.uvarint()
		}
		if head&headSameCount == 0 {
			samples = r.uvarint()
		}
		if r.bad || head&^headKnown != 0 || series >= uint64(len(c.Keys)) || samples == 0 || samples > uint64(count-at) {
			r.bad = true
			return
		}
		end := at + int(samples)
		times := c.Timestamps[at:end]
		switch {
		case head&headSameTimes == 0:
			r.times(times, first(before))
		case len(before) == len(times):
			copy(times, before)
		default:
			r.bad = true
		}
		r.values(c.Values[at:end], head&headCoding)
		if r.bad {
			return
		}
		run := c.Series[at:end]
		for i := range run {
			run[i] = uint32(series)
		}
		before, next, at = times, series+1, end
	}
}
