package catalogue

import (
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// find returns the series with this key.
func (c *Catalogue) find(key string) (SeriesID, bool) {
	n, ok := c.ids.find(maphash.String(c.seed, key), func(n uint32) bool { return c.content.hasKey(SeriesID(n), key) })
	return SeriesID(n), ok
}

// add adds a series that is not there, whose memory it does not keep.
func (c *Catalogue) add(series metric.Series) {
	id := SeriesID(c.Len())
	m := c.metricNumber(series.Name())
	c.content.series.Add(entry{metric: m, set: c.setPlace(series.Tags())})
	c.ids.add(maphash.String(c.seed, series.Key()), uint32(id))
	c.newest.Add(newest{at: notKnown})
	c.byMetric[m].series = append(c.byMetric[m].series, id)
	c.bytes += int64(seriesBytes + seriesTagBytes*series.Tags().Len())
}

// metricNumber returns the number of a metric, which it adds where it is new.
func (c *Catalogue) metricNumber(name metric.Name) MetricID {
	if id, _, ok := c.Metric(name); ok {
		return id
	}
	n := len(c.byMetric)
	c.content.names.Add(name.Clone())
	c.metrics.add(maphash.String(c.seed, name.String()), uint32(n))
	c.byMetric = append(c.byMetric, metricEntry{index: &Index{}, cutoff: c.newCutoff(name)})
	c.cutoffMax = max(c.cutoffMax, c.byMetric[n].cutoff)
	c.bytes += int64(metricBytes + len(name.String()))
	return MetricID(n)
}

// setPlace returns the place of a set of tags, which it adds where it is new.
func (c *Catalogue) setPlace(tags metric.Tags) uint32 {
	run, text := append(c.scratch.run[:0], uint32(tags.Len())), c.scratch.text[:0]
	for i := range tags.Len() {
		n := c.tagNumber(tags.Checked(i))
		run, text = append(run, n), binary.LittleEndian.AppendUint32(text, n)
	}
	c.scratch.run, c.scratch.text = run, text
	hash := maphash.Bytes(c.seed, text)
	at, ok := c.sets.find(hash, func(at uint32) bool { return slices.Equal(c.content.set(at), run[1:]) })
	if !ok {
		at = c.content.sets.AddRun(run)
		c.sets.add(hash, at)
		c.bytes += int64(setBytes + setTagBytes*tags.Len())
	}
	return at
}

// tagNumber returns the number of a tag, which it adds where it is new.
func (c *Catalogue) tagNumber(checked metric.CheckedTag) uint32 {
	tag := checked.Tag()
	hash := hashTag(c.seed, tag.Key, tag.Value)
	n, ok := c.tags.find(hash, func(n uint32) bool { return c.content.tags.At(n).Tag() == tag })
	if ok {
		return n
	}
	key, known := c.tagKeys[tag.Key]
	if !known {
		key = c.texts.keep(tag.Key)
		c.tagKeys[key] = key
		c.bytes += int64(len(key))
	}
	n = uint32(c.content.tags.Len())
	c.content.tags.Add(checked.In(key, c.texts.keep(tag.Value)))
	c.tags.add(hash, n)
	c.bytes += int64(tagBytes + len(tag.Value))
	return n
}
