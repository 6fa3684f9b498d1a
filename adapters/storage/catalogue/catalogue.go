// Package catalogue numbers the series and metrics of one shard and remembers each series' newest sample.
package catalogue

import (
	"hash/maphash"
	"math"

	"github.com/raftmetrics/raftmetrics/adapters/storage/chunks"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// SeriesID numbers a shard's series densely from 0, in the order of their first appearance in the log.
type SeriesID uint32

// MetricID numbers a shard's metrics densely from 0, in the order of their first series.
type MetricID uint32

// What things cost besides the texts that they hold, as BenchmarkBytes measures them.
const (
	// seriesBytes: the two numbers 8, the newest sample 16, the slot of its key 11 to 21, its place in its metric 5,
	// and 8 for a value in an index, which each may be the first of; rounded up.
	seriesBytes = 58
	// seriesTagBytes: the place of a series in the index of each of its tags.
	seriesTagBytes = 4
	// setBytes: of a set of tags the slot and how many there are.
	setBytes = 20
	// setTagBytes: a tag's number in a set.
	setTagBytes = 4
	// tagBytes: of a distinct tag the headers of two texts and the slot.
	tagBytes = 56
	// metricBytes: what a metric has besides its series.
	metricBytes = 120
)

// Catalogue is the list of a shard's series. It only grows: a series without samples stays, and is the
// same when it has some again. A series with samples is called live. It has no lock: its owner guards it. What
// Series and OfMetric return stays valid and unchanged while the catalogue grows.
type Catalogue struct {
	seriesMax int
	content   content // all series
	list      List    // a copy of content
	seed      maphash.Seed
	ids       numbers // of series, by key
	metrics   numbers // by name
	tags      numbers
	sets      numbers           // places in content, by the numbers of tags
	tagKeys   map[string]string // each to itself: tags share them
	texts     texts
	scratch   struct {
		run  []uint32
		text []byte
	}
	newest    chunks.List[newest]
	byMetric  []metricEntry
	bytes     int64
	cutoffOf  func(metric.Name) int64 // nil: none
	cutoffMax int64                   // the latest cut-off of any metric here
}

type metricEntry struct {
	series []SeriesID
	index  *Index
	live   int   // how many of series have samples
	cutoff int64 // samples before it do not count
}

// newest is a series' newest sample; without one at is notKnown.
type newest struct {
	at    int64
	value float64
}

const notKnown = math.MinInt64

func (n *newest) known() bool { return n.at != notKnown }

// New returns an empty catalogue that takes up to seriesMax series; 0 means metric.SeriesPerShardMax.
func New(seriesMax int) *Catalogue {
	if seriesMax <= 0 {
		seriesMax = metric.SeriesPerShardMax
	}
	return &Catalogue{
		seriesMax: seriesMax, seed: maphash.MakeSeed(), tagKeys: map[string]string{}, cutoffMax: int64(metric.TimestampMin),
	}
}

// Plan is what Define would do with some keys: prepared without changing the catalogue. Until Define it is as
// valid as the memory of the keys.
type Plan struct {
	ids     []SeriesID
	unknown []int // indexes in ids of the series that are to be created
	created []metric.Series
}

// errNumber means that a series was told by a number that no series has here.
var errNumber = fault.New(fault.Corrupt, "series_unknown", "the log names a series that this replica does not have")

// Prepare numbers keys, each of which stands once, without changing the catalogue; numbers, unless nil,
// are those of outbound.Columns. The catalogue keeps nothing of keys' memory, not even after Define. It returns an error of kind
// Unprocessable with code series_limit when the new ones exceed the limit, Corrupt for a number that no
// series has, and a fault.Invalid for a key that is not canonical. scratch, which may be nil, is a plan
// that is no longer needed.
func (c *Catalogue) Prepare(keys []string, numbers []uint32, scratch *Plan) (*Plan, error) {
	p := scratch
	if p == nil {
		p = &Plan{}
	}
	p.ids, p.unknown, p.created = p.ids[:0], p.unknown[:0], p.created[:0]
	for i, key := range keys {
		if numbers != nil && numbers[i] > 0 {
			if int(numbers[i]) > c.Len() {
				return nil, errNumber
			}
			p.ids = append(p.ids, SeriesID(numbers[i]-1))
			continue
		}
		id, ok := c.find(key)
		if !ok {
			p.unknown = append(p.unknown, i)
		}
		p.ids = append(p.ids, id)
	}
	if len(p.unknown) == 0 {
		return p, nil
	}
	if c.Len()+len(p.unknown) > c.seriesMax {
		return nil, fault.Newf(fault.Unprocessable, "series_limit",
			"the shard would hold more than %d series; use fewer distinct tag values", c.seriesMax).
			WithDetail("limit", c.seriesMax)
	}
	for n, i := range p.unknown {
		series, err := metric.ParseSeriesKey(keys[i])
		if err != nil {
			return nil, err
		}
		p.created = append(p.created, series)
		p.ids[i] = SeriesID(c.Len() + n)
	}
	return p, nil
}

// Number sets each of numbers to one more than the number of the series with the key at its place in
// keys, or to 0.
func (c *Catalogue) Number(keys []string, numbers []uint32) {
	for i, key := range keys {
		numbers[i] = 0
		if id, ok := c.find(key); ok {
			numbers[i] = uint32(id) + 1
		}
	}
}

// IDs returns the number of each key, in the order given to Prepare.
func (p *Plan) IDs() []SeriesID { return p.ids }

// Define adds the plan's new series. The catalogue must not have grown since Prepare.
func (c *Catalogue) Define(p *Plan) {
	if len(p.created) == 0 {
		return
	}
	for _, series := range p.created {
		c.add(series)
	}
	clear(p.created)
	grown := c.content
	c.list = List{content: &grown}
}

// Observe takes a sample of id, later in the log than all before it, as the newest unless an earlier
// one has a later timestamp, or the sample lies before the cut-off.
func (c *Catalogue) Observe(id SeriesID, at int64, value float64) {
	n := c.newest.At(uint32(id))
	if at < n.at {
		return
	}
	if !n.known() {
		m := &c.byMetric[c.metricOf(id)]
		if at < m.cutoff {
			return
		}
		m.live++
	}
	*n = newest{at: at, value: value}
}

// Forget makes id a series without samples.
func (c *Catalogue) Forget(id SeriesID) {
	if n := c.newest.At(uint32(id)); n.known() {
		c.byMetric[c.metricOf(id)].live--
		*n = newest{at: notKnown}
	}
}

// SetCutoffs sets the cut-offs of all metrics, those to come included, and forgets the series that have
// only older samples. Cut-offs must not fall.
func (c *Catalogue) SetCutoffs(of func(metric.Name) int64) {
	c.cutoffOf = of
	for i := range c.byMetric {
		m := &c.byMetric[i]
		before := m.cutoff
		m.cutoff = of(c.content.name(MetricID(i)))
		c.cutoffMax = max(c.cutoffMax, m.cutoff)
		if m.cutoff == before {
			continue
		}
		for _, id := range m.series {
			if n := c.newest.At(uint32(id)); n.known() && n.at < m.cutoff {
				c.Forget(id)
			}
		}
	}
}

func (c *Catalogue) newCutoff(name metric.Name) int64 {
	if c.cutoffOf == nil {
		return int64(metric.TimestampMin)
	}
	return c.cutoffOf(name)
}

// Cutoff returns a metric's cut-off: samples before it do not count.
func (c *Catalogue) Cutoff(id MetricID) int64 { return c.byMetric[id].cutoff }

// Cutoffs returns the cut-offs of all metrics by their numbers, as of now.
func (c *Catalogue) Cutoffs() []int64 {
	cutoffs := make([]int64, len(c.byMetric))
	for i := range c.byMetric {
		cutoffs[i] = c.byMetric[i].cutoff
	}
	return cutoffs
}

// CutoffOf returns the cut-off of a series' metric.
func (c *Catalogue) CutoffOf(id SeriesID) int64 { return c.byMetric[c.metricOf(id)].cutoff }

// CutoffMax returns the latest cut-off of any metric.
func (c *Catalogue) CutoffMax() int64 { return c.cutoffMax }

// Index returns the index of a metric's series.
func (c *Catalogue) Index(id MetricID) *Index { return c.byMetric[id].index }

// LiveMetrics returns the names of the metrics that have live series.
func (c *Catalogue) LiveMetrics() []metric.Name {
	names := make([]metric.Name, 0, len(c.byMetric))
	for i := range c.byMetric {
		if c.byMetric[i].live > 0 {
			names = append(names, c.content.name(MetricID(i)))
		}
	}
	return names
}

// Live returns how many series of a metric have samples.
func (c *Catalogue) Live(id MetricID) int { return c.byMetric[id].live }

// Newest returns the newest sample of id (of several with one timestamp the last in the log) and
// whether there is one.
func (c *Catalogue) Newest(id SeriesID) (at int64, value float64, ok bool) {
	n := c.newest.At(uint32(id))
	return n.at, n.value, n.known()
}

// Len returns the number of series.
func (c *Catalogue) Len() int { return c.content.series.Len() }

// Bytes estimates the memory in use.
func (c *Catalogue) Bytes() int64 { return c.bytes }

// Metric returns a metric's number and its series in ascending order, those without samples included;
// callers must not change them. ok tells that the metric has, or had, a series.
func (c *Catalogue) Metric(name metric.Name) (id MetricID, series []SeriesID, ok bool) {
	n, ok := c.metrics.find(maphash.String(c.seed, name.String()), func(n uint32) bool { return *c.content.names.At(n) == name })
	if !ok {
		return 0, nil, false
	}
	return MetricID(n), c.byMetric[n].series, true
}

// Series returns the list of all series so far.
func (c *Catalogue) Series() List { return c.list }

func (c *Catalogue) metricOf(id SeriesID) MetricID { return c.content.series.At(uint32(id)).metric }
