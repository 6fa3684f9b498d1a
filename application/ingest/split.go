package ingest

import (
	"hash/maphash"
	"math/bits"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// splitter sorts a write's observations into one set of columns a shard, each series once. It keeps
// its memory from one write to the next.
type splitter struct {
	slots   []slot   // open addressing, a power of two, at most half full
	places  []place  // of the series seen, in order of appearance
	parts   []part   // in order of appearance
	ofShard []uint32 // by shard: index of its part, plus one
}

type slot struct {
	hash  uint32
	index uint32 // into places, plus one
}

type place struct {
	series metric.Series
	part   uint32
	local  uint32 // index of its key in the part
}

type part struct {
	shard   shard.ID
	columns outbound.Columns
}

// seed makes the table's collisions unpredictable for whoever chooses the tags.
var seed = maphash.MakeSeed()

var errTooLarge = fault.Newf(fault.TooLarge, "batch_too_large",
	"the names and tags of the batch exceed %d bytes; send smaller batches", command.BytesMax/2)

// split fills parts. It fails when the keys exceed what a command may hold.
func (s *splitter) split(shards shard.Map, observations []metric.Observation, received metric.Timestamp) error {
	s.prepare(shards, len(observations))
	var last metric.Series
	var at place
	keyBytes := 0
	for i := range observations {
		sample := observations[i].At(received)
		if series := sample.Series(); series != last {
			places := len(s.places)
			at, last = s.locate(shards, series), series
			if len(s.places) > places {
				keyBytes += len(series.Key())
				if keyBytes > command.BytesMax/2 {
					return errTooLarge
				}
			}
		}
		c := &s.parts[at.part].columns
		c.Series = append(c.Series, at.local)
		c.Timestamps = append(c.Timestamps, int64(sample.Timestamp()))
		c.Values = append(c.Values, sample.Value())
	}
	return nil
}

func (s *splitter) prepare(shards shard.Map, count int) {
	size := 4 << bits.Len(uint(count))
	if cap(s.slots) < size {
		s.slots = make([]slot, size)
	} else {
		s.slots = s.slots[:size]
		clear(s.slots)
	}
	if len(s.ofShard) != shards.Count() {
		s.ofShard = make([]uint32, shards.Count())
	}
	s.release()
}

// release lets go of the series and keys of the write before.
func (s *splitter) release() {
	clear(s.places)
	s.places = s.places[:0]
	for i := range s.parts {
		p := &s.parts[i]
		s.ofShard[p.shard] = 0
		clear(p.columns.Keys)
		p.columns.Keys = p.columns.Keys[:0]
		p.columns.Series = p.columns.Series[:0]
		p.columns.Timestamps = p.columns.Timestamps[:0]
		p.columns.Values = p.columns.Values[:0]
	}
	s.parts = s.parts[:0]
}

// locate finds a series' place, or makes it one.
func (s *splitter) locate(shards shard.Map, series metric.Series) place {
	key := series.Key()
	hash := maphash.String(seed, key)
	mask := uint64(len(s.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		found := &s.slots[i]
		if found.index == 0 {
			s.places = append(s.places, s.place(shards, series, key))
			*found = slot{hash: uint32(hash >> 32), index: uint32(len(s.places))}
			return s.places[len(s.places)-1]
		}
		if found.hash != uint32(hash>>32) {
			continue
		}
		if p := s.places[found.index-1]; p.series == series || p.series.Key() == key {
			return p
		}
	}
}

func (s *splitter) place(shards shard.Map, series metric.Series, key string) place {
	id := shards.Of(series)
	if s.ofShard[id] == 0 {
		if len(s.parts) < cap(s.parts) {
			s.parts = s.parts[:len(s.parts)+1]
		} else {
			s.parts = append(s.parts, part{})
		}
		s.parts[len(s.parts)-1].shard = id
		s.ofShard[id] = uint32(len(s.parts))
	}
	index := s.ofShard[id] - 1
	c := &s.parts[index].columns
	c.Keys = append(c.Keys, key)
	return place{series: series, part: index, local: uint32(len(c.Keys) - 1)}
}

// Prepare splits the write by shard and encodes a command for each. It is the costly part of a write
// and touches nothing but the write: drivers call it outside their locks.
func (w *Write) Prepare(shards shard.Map) {
	if w.deletion != nil {
		w.prepareDeletion(shards)
		return
	}
	if w.err = w.splitter.split(shards, w.request.Observations, w.received); w.err != nil {
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
