package catalogue

import (
	"github.com/raftmetrics/raftmetrics/adapters/storage/chunks"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// content is series as numbers, and what the numbers stand for. Equal names, tags and sets of tags are there
// once. Copies are immutable.
type content struct {
	series chunks.List[entry]
	names  chunks.List[metric.Name]       // by metric
	tags   chunks.List[metric.CheckedTag] // by number
	sets   chunks.List[uint32]            // of each set the number of its tags, then theirs in the order of keys, as one run
}

// entry is a series.
type entry struct {
	metric MetricID
	set    uint32 // the place of its tags in sets
}

// partsUsual is how many tags have room on the stack.
const partsUsual = 8

// set returns the numbers of a set's tags.
func (c *content) set(at uint32) []uint32 {
	count := *c.sets.At(at)
	return c.sets.Run(at, int(1+count))[1:]
}

// appendTags appends the tags of a set.
func (c *content) appendTags(tags []metric.CheckedTag, set uint32) []metric.CheckedTag {
	for _, n := range c.set(set) {
		tags = append(tags, *c.tags.At(n))
	}
	return tags
}

func (c *content) name(id MetricID) metric.Name { return *c.names.At(uint32(id)) }

// appendKey appends a series' key to b.
func (c *content) appendKey(b []byte, id SeriesID) []byte {
	var room [partsUsual]metric.CheckedTag
	e := c.series.At(uint32(id))
	return metric.AppendSeriesKey(b, c.name(e.metric), metric.JoinTags(c.appendTags(room[:0], e.set)))
}

// hasKey reports whether a series has this key.
func (c *content) hasKey(id SeriesID, key string) bool {
	const usualBytesMax = 256
	var room [usualBytesMax]byte
	return string(c.appendKey(room[:0], id)) == key
}

// compareKeys compares the keys of two series.
func (c *content) compareKeys(a, b SeriesID) int {
	ea, eb := c.series.At(uint32(a)), c.series.At(uint32(b))
	if ea.metric == eb.metric {
		return c.compareSets(ea.set, eb.set)
	}
	var roomA, roomB [partsUsual]metric.CheckedTag
	return metric.CompareSeriesKeys(
		c.name(ea.metric), metric.JoinTags(c.appendTags(roomA[:0], ea.set)),
		c.name(eb.metric), metric.JoinTags(c.appendTags(roomB[:0], eb.set)))
}

// compareSets compares the tags of two series of one metric as their keys compare.
func (c *content) compareSets(a, b uint32) int {
	if a == b {
		return 0
	}
	sa, sb := c.set(a), c.set(b)
	for i := range min(len(sa), len(sb)) {
		if sa[i] != sb[i] { // All before is equal, and what comes behind does not count.
			return metric.CompareTags(c.alone(sa[i]), c.alone(sb[i]))
		}
	}
	var roomA, roomB [partsUsual]metric.CheckedTag
	return metric.CompareTags(metric.JoinTags(c.appendTags(roomA[:0], a)), metric.JoinTags(c.appendTags(roomB[:0], b)))
}

// alone returns a tag as a set of its own.
func (c *content) alone(tag uint32) metric.Tags { return metric.JoinTags(c.tags.Run(tag, 1)) }
