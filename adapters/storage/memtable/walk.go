package memtable

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// Walk calls use for every series with samples in memory, as of one instant, in the order of their
// keys, with the samples sorted by time, ties in log order. The points are valid until use returns,
// whose error ends the walk.
func (t *Table) Walk(use func(series metric.Series, points []Point) error) error {
	list, columns := t.pinAll()
	slices.SortStableFunc(columns, func(a, b column) int {
		if a.series == b.series {
			return 0
		}
		sa, _ := list.At(a.series)
		sb, _ := list.At(b.series)
		return cmp.Compare(sa.Key(), sb.Key())
	})
	var points []Point
	for i := 0; i < len(columns); {
		id := columns[i].series
		for points = points[:0]; i < len(columns) && columns[i].series == id; i++ {
			points = columns[i].appendTo(points)
		}
		sortPoints(points)
		series, _ := list.At(id)
		if err := use(series, points); err != nil {
			return err
		}
	}
	return nil
}

// pinAll returns every column, those of one series in log order.
func (t *Table) pinAll() (catalogue.List, []column) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var columns []column
	for _, g := range t.mu.sealed {
		columns = append(columns, g.columns...)
	}
	columns = append(columns, t.mu.active.columns...)
	return t.mu.catalogue.Series(), columns
}

// Digest sums up a shard's logical content, equal on every replica that holds the same samples in
// the same order, however they are stored: SHA-256 over a version byte, then, series by series in
// the order of their keys, 'S', the key's length and the key, and for each of its samples by time,
// ties in log order, 'P', the timestamp and the value's bits, all numbers big-endian in 8 bytes.
type Digest struct{ hash hash.Hash }

const digestVersion = 1

// NewDigest returns the digest of nothing yet.
func NewDigest() Digest {
	d := Digest{hash: sha256.New()}
	d.hash.Write([]byte{digestVersion})
	return d
}

// Series begins the samples of the series with this key, which must be greater than the one before.
func (d Digest) Series(key string) {
	d.hash.Write(binary.BigEndian.AppendUint64([]byte{'S'}, uint64(len(key))))
	d.hash.Write([]byte(key))
}

// Points adds the series' next samples.
func (d Digest) Points(points []Point) {
	var b [17]byte
	b[0] = 'P'
	for _, p := range points {
		binary.BigEndian.PutUint64(b[1:], uint64(p.At))
		binary.BigEndian.PutUint64(b[9:], math.Float64bits(p.Value))
		d.hash.Write(b[:])
	}
}

// Sum returns the digest of what was added.
func (d Digest) Sum() [sha256.Size]byte { return [sha256.Size]byte(d.hash.Sum(nil)) }
