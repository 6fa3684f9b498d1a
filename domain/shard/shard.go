// Package shard places series: a shard is a fixed slice of all series, kept by one Raft group.
package shard

import (
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// ID numbers a shard of a cluster, from 0.
type ID uint32

// String returns the number.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// Limits and defaults of a cluster's partitioning.
const (
	// CountMax bounds SHARDS.
	CountMax = 4096
	// CountDefault is SHARDS when nothing is said.
	CountDefault = 8
	// SpreadDefault is METRIC_SPREAD when nothing is said.
	SpreadDefault = 8
	// MapVersion numbers the placement function; it is stored in the cluster record.
	MapVersion = 1
)

// Map is the placement function of a cluster: chosen when it is founded, stored, never changed.
type Map struct {
	count  uint32
	spread uint32
}

// NewMap returns the map with count shards in which a metric uses at most spread of them.
func NewMap(count, spread int) (Map, error) {
	if count < 1 || count > CountMax {
		return Map{}, fault.Field("SHARDS", "is "+strconv.Itoa(count), "1 to "+strconv.Itoa(CountMax))
	}
	if spread < 1 {
		return Map{}, fault.Field("METRIC_SPREAD", "is "+strconv.Itoa(spread), "at least 1")
	}
	return Map{count: uint32(count), spread: uint32(min(spread, count))}, nil
}

// Count returns the number of shards.
func (m Map) Count() int { return int(m.count) }

// Spread returns the most shards that one metric uses.
func (m Map) Spread() int { return int(m.spread) }

// Of returns the shard that keeps series.
func (m Map) Of(series metric.Series) ID {
	first := uint32(series.NameHash() % uint64(m.count))
	step := uint32(series.KeyHash() % uint64(m.spread))
	return ID((first + step) % m.count)
}

// OfMetric returns every shard that may keep series of name, in ascending order of the walk from the
// name's first shard; each once.
func (m Map) OfMetric(name metric.Name) []ID {
	first := uint32(name.Hash() % uint64(m.count))
	ids := make([]ID, m.spread)
	for i := range ids {
		ids[i] = ID((first + uint32(i)) % m.count)
	}
	return ids
}

// OfKey returns the home shard of an idempotency key, by a hash of it.
func (m Map) OfKey(keyHash uint64) ID { return ID(keyHash % uint64(m.count)) }

// All returns every shard, ascending.
func (m Map) All() []ID {
	ids := make([]ID, m.count)
	for i := range ids {
		ids[i] = ID(i)
	}
	return ids
}
