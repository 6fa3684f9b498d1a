package metric

import "github.com/raftmetrics/raftmetrics/domain/fault"

// Limits on what a sample may carry. They are part of the documented API.
const (
	// NameBytesMax bounds a metric name, in bytes of UTF-8.
	NameBytesMax = 255
	// TagsMax bounds the number of tags of one series.
	TagsMax = 32
	// TagKeyBytesMax bounds a tag key, in bytes of UTF-8.
	TagKeyBytesMax = 255
	// SeriesKeyBytesMax bounds the canonical text of a series, in bytes.
	SeriesKeyBytesMax = 8 << 10
	// BatchSamplesMax bounds the samples of one write.
	BatchSamplesMax = 100_000
	// SeriesPerShardMax bounds the series that one shard holds.
	SeriesPerShardMax = 1_000_000
)

// ErrTooManySamples is what a write of more than BatchSamplesMax samples gets.
var ErrTooManySamples = fault.Newf(fault.TooLarge, "too_many_samples",
	"the batch holds more than %d samples; send it in parts", BatchSamplesMax).WithDetail("limit", BatchSamplesMax)
