package catalogue

import "github.com/raftmetrics/raftmetrics/domain/metric"

// content is series as numbers, and what the numbers stand for. Equal names, tags and sets of tags are there
// once. Copies are immutable.
type content struct {
	series chunks[entry]
	names  chunks[metric.Name]       // by metric
	tags   chunks[metric.CheckedTag] // by number
	sets   chunks[uint32]            // for each set how many tags it has and their numbers, in the order of keys
}

// entry is a series.
type entry struct {
	metric MetricID
	set    uint32 // the place of its tags in sets
}

// partsUsual is how many tags have room on the stack.
const partsUsual = 8

// addSet adds a set of tags, and returns its place. A set lies in one piece of memory.
func (c *content) addSet(tags []uint32) uint32 {
	for c.sets.len%chunkLen+1+len(tags) > chunkLen {
		c.sets.add(0)
	}
	at := uint32(c.sets.len)
	c.sets.add(uint32(len(tags)))
	for _, n := range tags {
		c.sets.add(n)
	}
	return at
}

// set returns the numbers of a set's tags.
func (c *content) set(at uint32) []uint32 {
	piece, i := c.sets.pieces[at/chunkLen], at%chunkLen
	return piece[i+1 : i+1+piece[i]]
}

// appendTags appends the tags of a set.
func (c *content) appendTags(tags []metric.CheckedTag, set uint32) []metric.CheckedTag {
	for _, n := range c.set(set) {
		tags = append(tags, *c.tags.at(n))
	}
	return tags
}

func (c *content) name(id MetricID) metric.Name { return *c.names.at(uint32(id)) }

// appendKey appends a series' key to b.
func (c *content) appendKey(b []byte, id SeriesID) []byte {
	var room [partsUsual]metric.CheckedTag
	e := c.series.at(uint32(id))
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
	ea, eb := c.series.at(uint32(a)), c.series.at(uint32(b))
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
func (c *content) alone(tag uint32) metric.Tags {
	i := tag % chunkLen
	return metric.JoinTags(c.tags.pieces[tag/chunkLen][i : i+1])
}
