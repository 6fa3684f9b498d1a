package aggregate

import (
	"math"
	"math/bits"
	"slices"
	"sort"
)

// A Sketch estimates quantiles within a relative error. It counts values in buckets whose bounds grow
// geometrically, as DDSketch does (Masson, Rim, Lee, VLDB 12, 2019), with bounds that the float's own
// bits give: sign, exponent and the leading bits of the mantissa. So a bucket costs no logarithm and is
// the same on every machine. Where more than sketchBuckets buckets are in use neighbours become one
// (uniform collapse: Epicoco et al., UDDSketch, IEEE Access 8, 2020), which loosens the error for all
// values alike. How often that happens depends on the set of values alone, not on order or merging.
// Values nearer to zero than 2^-1022 count as zero. The zero Sketch is empty.
type Sketch struct {
	level    uint // how often buckets were collapsed
	zero     uint64
	used     int // buckets that are not empty
	positive []sketchPage
	negative []sketchPage // by magnitude
}

// sketchPage is 64 neighbouring buckets: at level 0 those of one exponent.
type sketchPage struct {
	page   int32
	counts [sketchPageSize]uint64
}

const (
	sketchPageBits = 6
	sketchPageSize = 1 << sketchPageBits
	sketchShift    = 52 - sketchPageBits // from a float's bits to its bucket at level 0
	// sketchBuckets bounds the buckets in use: at level 0 enough for 19 decades without a gap.
	sketchBuckets = 4096
	// sketchLevels is the highest level: a bucket an exponent, of which there are fewer than 4096.
	sketchLevels = sketchPageBits
)

// relativeErrors are bounds, rounded up, for the levels: a bucket at level l splits an exponent into
// 2^k parts, k = 6-l, and its representative is off by at most 1/(2^(k+1)+1).
var relativeErrors = [sketchLevels + 1]float64{0.01, 0.02, 0.035, 0.06, 0.12, 0.2, 0.34}

// RelativeError returns by how much an estimate may be off, as a share of the true value.
func (s *Sketch) RelativeError() float64 { return relativeErrors[s.level] }

// Count returns the number of values.
func (s *Sketch) Count() uint64 {
	n := s.zero
	for _, side := range [][]sketchPage{s.positive, s.negative} {
		for i := range side {
			for _, c := range side[i].counts {
				n += c
			}
		}
	}
	return n
}

// Add takes a finite value.
func (s *Sketch) Add(v float64) { s.add(v, 1) }

func (s *Sketch) add(v float64, n uint64) {
	switch {
	case v >= 0x1p-1022:
		s.count(&s.positive, sketchBucket(v, s.level), n)
	case v <= -0x1p-1022:
		s.count(&s.negative, sketchBucket(-v, s.level), n)
	default:
		s.zero += n
	}
}

// addAll is Add for many values, of which neighbours are mostly on one page.
func (s *Sketch) addAll(values []float64) {
	var page *sketchPage
	for _, v := range values {
		if !(v >= 0x1p-1022) {
			s.Add(v)
			page = nil // it may have moved
			continue
		}
		bucket := sketchBucket(v, s.level)
		if page != nil && page.page == bucket>>sketchPageBits && page.counts[bucket&(sketchPageSize-1)] > 0 {
			page.counts[bucket&(sketchPageSize-1)]++
			continue
		}
		s.count(&s.positive, bucket, 1)
		page = pageOf(&s.positive, sketchBucket(v, s.level)>>sketchPageBits)
	}
}

// sketchBucket returns the bucket of a positive value.
func sketchBucket(v float64, level uint) int32 {
	return int32(math.Float64bits(v) >> (sketchShift + level))
}

func (s *Sketch) count(side *[]sketchPage, bucket int32, n uint64) {
	c := &pageOf(side, bucket>>sketchPageBits).counts[bucket&(sketchPageSize-1)]
	if *c == 0 {
		s.used++
	}
	*c += n
	for s.used > sketchBuckets {
		s.collapse()
	}
}

// pageOf finds or inserts a page. The last pages of a side are tried first.
func pageOf(side *[]sketchPage, page int32) *sketchPage {
	pages := *side
	for i := len(pages) - 1; i >= 0 && i >= len(pages)-4; i-- {
		if pages[i].page == page {
			return &pages[i]
		}
	}
	i := sort.Search(len(pages), func(i int) bool { return pages[i].page >= page })
	if i == len(pages) || pages[i].page != page {
		pages = slices.Insert(pages, i, sketchPage{page: page})
		*side = pages
	}
	return &pages[i]
}

// collapse makes one bucket of every two.
func (s *Sketch) collapse() { s.collapseTo(s.level + 1) }

func (s *Sketch) collapseTo(level uint) {
	old := *s
	*s = Sketch{level: level, zero: old.zero}
	shift := level - old.level
	old.each(func(negative bool, bucket int32, n uint64) {
		s.count(s.side(negative), bucket>>shift, n)
	})
}

func (s *Sketch) side(negative bool) *[]sketchPage {
	if negative {
		return &s.negative
	}
	return &s.positive
}

// each visits the buckets in use, but for that of zero, ascending by magnitude on each side.
func (s *Sketch) each(visit func(negative bool, bucket int32, n uint64)) {
	for _, negative := range []bool{true, false} {
		for _, p := range *s.side(negative) {
			for i, n := range p.counts {
				if n > 0 {
					visit(negative, p.page<<sketchPageBits+int32(i), n)
				}
			}
		}
	}
}

// Merge takes all values of o.
func (s *Sketch) Merge(o *Sketch) {
	if o.level > s.level {
		s.collapseTo(o.level)
	}
	s.zero += o.zero
	o.each(func(negative bool, bucket int32, n uint64) {
		s.count(s.side(negative), bucket>>(s.level-o.level), n)
	})
}

func (s *Sketch) clone() *Sketch {
	c := *s
	c.positive, c.negative = slices.Clone(s.positive), slices.Clone(s.negative)
	return &c
}

// quantile returns an estimate of the rank-th least of the values, from 1.
func (s *Sketch) quantile(rank uint64) float64 {
	for i := len(s.negative) - 1; i >= 0; i-- {
		p := &s.negative[i]
		for j := sketchPageSize - 1; j >= 0; j-- {
			if rank <= p.counts[j] {
				return -s.middle(p.page<<sketchPageBits + int32(j))
			}
			rank -= p.counts[j]
		}
	}
	if rank <= s.zero {
		return 0
	}
	rank -= s.zero
	for i := range s.positive {
		p := &s.positive[i]
		for j, n := range p.counts {
			if rank <= n {
				return s.middle(p.page<<sketchPageBits + int32(j))
			}
			rank -= n
		}
	}
	return 0
}

// middle returns what is relatively nearest to all values of a bucket: the harmonic mean of its bounds.
func (s *Sketch) middle(bucket int32) float64 {
	low := math.Float64frombits(uint64(bucket) << (sketchShift + s.level))
	high := math.Float64frombits(uint64(bucket+1)<<(sketchShift+s.level) - 1)
	return low / (low/2/high + 0.5) // 2·low·high/(low+high) without leaving the range
}

// SketchParts are the plain numbers of a Sketch: its level, the values that count as zero, and for each
// side the buckets in use, ascending by magnitude.
type SketchParts struct {
	Level              uint
	Zero               uint64
	Positive, Negative []SketchBucket
}

// SketchBucket is one bucket in use.
type SketchBucket struct {
	Bucket uint32
	Count  uint64
}

// Parts returns the plain numbers.
func (s *Sketch) Parts() SketchParts {
	parts := SketchParts{Level: s.level, Zero: s.zero}
	s.each(func(negative bool, bucket int32, n uint64) {
		one := SketchBucket{Bucket: uint32(bucket), Count: n}
		if negative {
			parts.Negative = append(parts.Negative, one)
		} else {
			parts.Positive = append(parts.Positive, one)
		}
	})
	return parts
}

// RestoreSketch rebuilds a sketch. It refuses what none has as Corrupt.
func RestoreSketch(p SketchParts) (*Sketch, error) {
	if p.Level > sketchLevels || len(p.Positive)+len(p.Negative) > sketchBuckets {
		return nil, errParts
	}
	s := &Sketch{level: p.Level, zero: p.Zero}
	total := p.Zero
	for i, side := range [][]SketchBucket{p.Negative, p.Positive} {
		for j, b := range side {
			sum, carry := bits.Add64(total, b.Count, 0)
			if total = sum; b.Count == 0 || carry != 0 || j > 0 && b.Bucket <= side[j-1].Bucket ||
				uint64(b.Bucket) >= uint64(0x7ff)<<(52-sketchShift)>>p.Level {
				return nil, errParts
			}
			s.count(s.side(i == 0), int32(b.Bucket), b.Count)
		}
	}
	return s, nil
}
