package ingest

import (
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// splitter sorts a write's observations into one set of columns a shard, each series once and its samples
// side by side, in the order in which they came. It keeps its memory from one write to the next.
type splitter struct {
	table    table    // of places, by handle and by number or key
	places   []place  // of the series seen, in order of appearance
	placeOf  []uint32 // by observation: index into places
	parts    []part   // in order of appearance
	ofShard  []ofShard
	keyed    int // places whose series is told by its key
	keyBytes int
	lookup   struct { // arguments of NumberSeries
		keys    [1]string
		numbers [1]uint32
	}
}

// ofShard is what a splitter knows of a shard.
type ofShard struct {
	part uint32 // index of its part, plus one
	era  uint32 // of its series' numbers, once it has a part
}

// place is where a series' samples go.
type place struct {
	series metric.Series
	number uint32 // as in outbound.Columns
	part   uint32
	count  uint32 // of its samples; then where the next one goes
}

type part struct {
	shard   shard.ID
	samples uint32
	columns outbound.Columns
}

// KeyBytesMax bounds the names and tags of the series in one batch.
const KeyBytesMax = command.BytesMax / 2

// ErrTooLarge is what a batch with more than KeyBytesMax gets.
var ErrTooLarge = fault.Newf(fault.TooLarge, "batch_too_large",
	"the names and tags of the batch exceed %d bytes; send smaller batches", KeyBytesMax)

// split fills parts; numberer may be nil. It fails when the keys exceed what a command may hold.
func (s *splitter) split(shards shard.Map, numberer outbound.SeriesNumberer, observations []metric.Observation, received metric.Timestamp) error {
	s.prepare(shards, len(observations))
	var last metric.Series
	at := uint32(0)
	for i := range observations {
		if series := observations[i].Series(); series != last {
			at, last = s.locate(shards, numberer, series), series
			if s.keyBytes > KeyBytesMax {
				return ErrTooLarge
			}
		}
		s.places[at].count++
		s.placeOf[i] = at
	}
	s.layOut()
	for i := range observations {
		sample := observations[i].At(received)
		p := &s.places[s.placeOf[i]]
		c := &s.parts[p.part].columns
		c.Timestamps[p.count] = int64(sample.Timestamp())
		c.Values[p.count] = sample.Value()
		p.count++
	}
	return nil
}

// layOut gives each place its stretch of its part's columns: count becomes the index of its next sample.
func (s *splitter) layOut() {
	for i := range s.places {
		s.parts[s.places[i].part].samples += s.places[i].count
	}
	for i := range s.parts {
		p := &s.parts[i]
		p.columns.Series = resize(p.columns.Series, int(p.samples))
		p.columns.Timestamps = resize(p.columns.Timestamps, int(p.samples))
		p.columns.Values = resize(p.columns.Values, int(p.samples))
		p.samples = 0
	}
	for i := range s.places {
		at := &s.places[i]
		p := &s.parts[at.part]
		c := &p.columns
		first, series := p.samples, uint32(len(c.Keys))
		p.samples += at.count
		for j := first; j < p.samples; j++ {
			c.Series[j] = series
		}
		c.Numbers = append(c.Numbers, at.number)
		if at.number > 0 {
			c.Keys = append(c.Keys, "")
		} else {
			c.Keys = append(c.Keys, at.series.Key())
		}
		at.count = first
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func (s *splitter) prepare(shards shard.Map, count int) {
	s.release()
	s.placeOf = resize(s.placeOf, count)
	if len(s.ofShard) != shards.Count() {
		s.ofShard = make([]ofShard, shards.Count())
	}
}

// release lets go of the series and keys of the write before.
func (s *splitter) release() {
	if s.table.used > 0 || s.table.slots == nil {
		s.table.reset(2 * len(s.places))
	}
	clear(s.places)
	s.places = s.places[:0]
	for i := range s.parts {
		p := &s.parts[i]
		s.ofShard[p.shard] = ofShard{}
		clear(p.columns.Keys)
		p.columns.Keys, p.columns.Numbers = p.columns.Keys[:0], p.columns.Numbers[:0]
		p.samples = 0
	}
	s.parts = s.parts[:0]
	s.keyed, s.keyBytes = 0, 0
}

// locate finds a series' place, or makes it one: by its handle where that came before, which is what
// happens to almost every sample.
func (s *splitter) locate(shards shard.Map, numberer outbound.SeriesNumberer, series metric.Series) uint32 {
	hash := hashHandle(series)
	for i := hash; ; i++ {
		found := s.table.at(i)
		if found.index == 0 {
			return s.meet(shards, numberer, series, hash)
		}
		if found.hash == hash && s.places[found.index-1].series == series {
			return found.index - 1
		}
	}
}

// meet takes up a handle that did not come before. Its series may have come by another handle.
func (s *splitter) meet(shards shard.Map, numberer outbound.SeriesNumberer, series metric.Series, hash uint32) uint32 {
	id := shards.Of(series)
	part := s.partOf(id, numberer)
	number := s.number(id, numberer, series)
	index := uint32(0)
	if number > 0 {
		index = s.byNumber(part, number)
	}
	if number == 0 || index == 0 && s.keyed > 0 {
		// A series that got its number while this batch was split stays where it was put by its key.
		index = s.byKey(series.Key())
	}
	if index == 0 {
		s.places = append(s.places, place{series: series, number: number, part: part})
		index = uint32(len(s.places))
		if number > 0 {
			s.table.add(hashNumber(part, number), index)
		} else {
			s.keyed++
			s.keyBytes += len(series.Key())
			s.table.add(hashKey(series.Key()), index)
		}
	}
	s.table.add(hash, index)
	return index - 1
}

// byNumber returns the place of a series, plus one, or 0.
func (s *splitter) byNumber(part, number uint32) uint32 {
	hash := hashNumber(part, number)
	for i := hash; ; i++ {
		found := s.table.at(i)
		if found.index == 0 {
			return 0
		}
		if p := &s.places[found.index-1]; found.hash == hash && p.number == number && p.part == part {
			return found.index
		}
	}
}

// byKey returns the place of a series told by its key, plus one, or 0.
func (s *splitter) byKey(key string) uint32 {
	hash := hashKey(key)
	for i := hash; ; i++ {
		found := s.table.at(i)
		if found.index == 0 {
			return 0
		}
		if p := &s.places[found.index-1]; found.hash == hash && p.number == 0 && p.series.Key() == key {
			return found.index
		}
	}
}

func (s *splitter) partOf(id shard.ID, numberer outbound.SeriesNumberer) uint32 {
	known := &s.ofShard[id]
	if known.part == 0 {
		if len(s.parts) < cap(s.parts) {
			s.parts = s.parts[:len(s.parts)+1]
		} else {
			s.parts = append(s.parts, part{})
		}
		s.parts[len(s.parts)-1].shard = id
		known.part = uint32(len(s.parts))
		if numberer != nil {
			known.era = numberer.SeriesEra(id)
		}
	}
	return known.part - 1
}

// number returns the number of a series as in outbound.Columns. A handle's note holds the era and, in the
// lower half, the number that was found in it: so a handle that is kept is looked up once.
func (s *splitter) number(id shard.ID, numberer outbound.SeriesNumberer, series metric.Series) uint32 {
	era := s.ofShard[id].era
	if era == 0 {
		return 0
	}
	if note := atomic.LoadUint64(series.Note()); uint32(note>>32) == era {
		return uint32(note)
	}
	s.lookup.keys[0] = series.Key()
	now := numberer.NumberSeries(id, s.lookup.keys[:], s.lookup.numbers[:])
	s.lookup.keys[0] = ""
	if now != era {
		return 0
	}
	number := s.lookup.numbers[0]
	if number > 0 {
		atomic.StoreUint64(series.Note(), uint64(era)<<32|uint64(number))
	}
	return number
}

// Prepare splits the write by shard and encodes a command for each; numberer, which may be nil, knows
// what the node has applied. It is the costly part of a write and touches nothing but the write and its
// series' notes: drivers call it outside their locks.
func (w *Write) Prepare(shards shard.Map, numberer outbound.SeriesNumberer) {
	if w.deletion != nil {
		w.prepareDeletion(shards)
		return
	}
	if w.err = w.splitter.split(shards, numberer, w.request.Observations, w.received); w.err != nil {
		return
	}
	parts := w.splitter.parts
	w.makeStores(len(parts))
	for i := range parts {
		t := &w.stores[i]
		t.reset(w, parts[i].shard, len(parts[i].columns.Values))
		parts[i].columns.Replace = w.request.Replace
		t.frame.EncodeWrite(w.identity, parts[i].columns)
	}
}

func (w *Write) prepareDeletion(shards shard.Map) {
	ids := shards.OfMetric(w.deletion.Metric)
	w.makeStores(len(ids))
	for i, id := range ids {
		t := &w.stores[i]
		t.reset(w, id, 0)
		t.frame.EncodeDelete(*w.deletion)
	}
}

// makeStores makes count tasks, in the memory of former ones.
func (w *Write) makeStores(count int) {
	if cap(w.stores) < count {
		w.stores = append(w.stores[:cap(w.stores)], make([]Task, count-cap(w.stores))...)
	}
	w.stores = w.stores[:count]
}
