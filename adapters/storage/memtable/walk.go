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

// Pinned is everything that a table held in memory at one instant. It holds memory, so let go of it
// after use.
type Pinned struct {
	list       catalogue.List
	columns    []pinnedColumn // those of one series in log order
	durable    uint64
	cutoffs    []int64 // by metric
	tombstones []Tombstone
	sorted     bool // columns are by series id
	work       gathered
}

type pinnedColumn struct {
	column
	last uint64 // of the generation
}

// Durable returns the number of the newest durable generation, as View.Durable does.
func (p *Pinned) Durable() uint64 { return p.durable }

// Series returns all series of the shard as of the pin.
func (p *Pinned) Series() catalogue.List { return p.list }

// Forgets reports whether a row of the file, of a generation up to Durable, does not count: it lies behind
// the metric's cut-off or in the range of a deletion that the file does not know.
func (p *Pinned) Forgets(id catalogue.MetricID, at int64) bool {
	if at < p.cutoffs[id] {
		return true
	}
	for _, d := range p.tombstones {
		if d.Metric == id && at >= d.From && at <= d.To {
			return true
		}
	}
	return false
}

// Points appends one series' samples in memory to scratch[:0], sorted by time, ties in log order. It is
// for one goroutine at a time, and not beside Walk.
func (p *Pinned) Points(id catalogue.SeriesID, scratch []Point) []Point {
	points, _ := p.Resolved(id)
	return append(scratch[:0], points...)
}

// Resolved returns one series' samples in memory that count, as Resolve leaves them, valid until the next
// call. It is for one goroutine at a time, and not beside Walk.
func (p *Pinned) Resolved(id catalogue.SeriesID) ([]Point, []Effect) {
	if !p.sorted {
		slices.SortStableFunc(p.columns, func(a, b pinnedColumn) int { return cmp.Compare(a.series, b.series) })
		p.sorted = true
	}
	at, _ := slices.BinarySearchFunc(p.columns, id, func(c pinnedColumn, id catalogue.SeriesID) int { return cmp.Compare(c.series, id) })
	n := at
	for n < len(p.columns) && p.columns[n].series == id {
		n++
	}
	return p.resolve(p.columns[at:n])
}

// resolve gathers what counts of one series' columns.
func (p *Pinned) resolve(columns []pinnedColumn) ([]Point, []Effect) {
	p.work.reset()
	if len(columns) == 0 {
		return nil, nil
	}
	m := p.list.MetricOf(columns[0].series)
	dead := deadOf(p.tombstones, m)
	_, to := everything()
	for i := range columns {
		c := &columns[i]
		p.work.add(&c.column, p.cutoffs[m], to, deadFrom(dead, c.last))
	}
	return p.work.resolve(false)
}

// Walk calls use for every series with samples in memory that count, as of the pin, in the order of their
// keys, with the samples sorted by time, ties in log order. The points are valid until use returns, whose
// error ends the walk. It is for one goroutine at a time.
func (p *Pinned) Walk(use func(id catalogue.SeriesID, points []Point) error) error {
	p.sorted = false
	slices.SortStableFunc(p.columns, func(a, b pinnedColumn) int {
		if a.series == b.series {
			return 0
		}
		return p.list.CompareKeys(a.series, b.series)
	})
	for rest := p.columns; len(rest) > 0; {
		id, n := rest[0].series, 1
		for n < len(rest) && rest[n].series == id {
			n++
		}
		points, _ := p.resolve(rest[:n])
		rest = rest[n:]
		if len(points) == 0 {
			continue
		}
		if err := use(id, points); err != nil {
			return err
		}
	}
	return nil
}

// Walk is Pinned.Walk as of now, with the series made.
func (t *Table) Walk(use func(series metric.Series, points []Point) error) error {
	p := t.Pin()
	return p.Walk(func(id catalogue.SeriesID, points []Point) error {
		series, _ := p.list.At(id)
		return use(series, points)
	})
}

// Pin returns what the table holds now, at once; no later Append, Freeze or Drop changes it.
func (t *Table) Pin() *Pinned {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p := &Pinned{
		list: t.mu.catalogue.Series(), durable: t.mu.durable, tombstones: t.mu.tombstones, cutoffs: t.mu.catalogue.Cutoffs(),
	}
	for _, g := range append(slices.Clip(t.mu.sealed), t.mu.active) {
		g.columns.All(func(c *column) { p.columns = append(p.columns, pinnedColumn{column: *c, last: g.last}) })
	}
	return p
}

// Digest sums up a shard's logical content, equal on every replica that holds the same samples in
// the same order, however they are stored: SHA-256 over a version byte, then, series by series in
// the order of their keys, the key's length, the key and the series' PointsDigest, all numbers
// big-endian in 8 bytes. Digests of series may so be made in any order, as storage has them.
type Digest struct{ hash hash.Hash }

const digestVersion = 2

// NewDigest returns the digest of nothing yet.
func NewDigest() Digest {
	d := Digest{hash: sha256.New()}
	d.hash.Write([]byte{digestVersion})
	return d
}

// Series adds the series with this key, which must be greater than the one before. A series without
// samples counts as none and must be left out.
func (d Digest) Series(key []byte, points [sha256.Size]byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(key)))
	d.hash.Write(size[:])
	d.hash.Write(key)
	d.hash.Write(points[:])
}

// Sum returns the digest of what was added.
func (d Digest) Sum() [sha256.Size]byte { return [sha256.Size]byte(d.hash.Sum(nil)) }

// PointsDigest sums up one series: SHA-256 over its samples by time, ties in log order, each the
// timestamp and the value's bits, big-endian.
type PointsDigest struct{ hash hash.Hash }

// NewPointsDigest returns the digest of no samples yet.
func NewPointsDigest() PointsDigest { return PointsDigest{hash: sha256.New()} }

// Add adds the next samples.
func (d PointsDigest) Add(points []Point) {
	var b [16]byte
	for _, p := range points {
		binary.BigEndian.PutUint64(b[:8], uint64(p.At))
		binary.BigEndian.PutUint64(b[8:], math.Float64bits(p.Value))
		d.hash.Write(b[:])
	}
}

// Sum returns the digest of what was added and begins anew.
func (d PointsDigest) Sum() [sha256.Size]byte {
	sum := [sha256.Size]byte(d.hash.Sum(nil))
	d.hash.Reset()
	return sum
}
