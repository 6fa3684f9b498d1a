package catalogue

import "github.com/raftmetrics/raftmetrics/domain/metric"

// List is an immutable list of a shard's first series. It may be used concurrently with the
// catalogue's growth, which it neither copies nor holds up. The zero List is empty.
//
// A series is put together when it is asked for, which At does in memory of its own. What visits very many
// series takes MetricOf, Name, Tags, AppendKey and CompareKeys, which allocate nothing a series.
type List struct{ content *content }

// Parts is memory for the tags of one series at a time. The zero Parts is ready. It is for one goroutine.
type Parts struct{ tags []metric.CheckedTag }

// Len returns the number of series: their ids are 0 to Len-1.
func (l List) Len() int {
	if l.content == nil {
		return 0
	}
	return l.content.series.Len()
}

// At returns the series numbered id, below Len, and the number of its metric. It makes the series.
func (l List) At(id SeriesID) (metric.Series, MetricID) {
	e := l.content.series.At(uint32(id))
	tags := make([]metric.CheckedTag, 0, len(l.content.set(e.set)))
	return metric.JoinSeries(l.Name(e.metric), metric.JoinTags(l.content.appendTags(tags, e.set))), e.metric
}

// MetricOf returns the number of a series' metric.
func (l List) MetricOf(id SeriesID) MetricID { return l.content.series.At(uint32(id)).metric }

// Name returns the name of a metric, which has a series in the list.
func (l List) Name(id MetricID) metric.Name { return l.content.name(id) }

// Tags returns a series' tags, valid until the next use of parts. The texts in them stay.
func (l List) Tags(id SeriesID, parts *Parts) metric.Tags {
	parts.tags = l.content.appendTags(parts.tags[:0], l.content.series.At(uint32(id)).set)
	return metric.JoinTags(parts.tags)
}

// AppendKey appends a series' key to b.
func (l List) AppendKey(b []byte, id SeriesID) []byte {
	return l.content.appendKey(b, id)
}

// CompareKeys compares the keys of two series.
func (l List) CompareKeys(a, b SeriesID) int { return l.content.compareKeys(a, b) }
