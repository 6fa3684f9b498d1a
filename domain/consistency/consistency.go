// Package consistency says how up to date a read must be.
package consistency

import (
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Level is how up to date an answer must be.
type Level uint8

// The levels.
const (
	// Linearizable answers contain every write acknowledged before the question was asked.
	Linearizable Level = iota
	// None answers hold whatever the answering node has.
	None
)

// String returns the name used in requests and answers.
func (l Level) String() string {
	if l == None {
		return "none"
	}
	return "linearizable"
}

// Requirement is a level and, with None, how stale an answer may be. The zero Requirement is
// linearizable.
type Requirement struct {
	level     Level
	freshness time.Duration
}

// Of returns the requirement of a level alone.
func Of(level Level) Requirement { return Requirement{level: level} }

// FreshWithin returns the requirement that every answering replica has, within freshnessMax before it
// reads, heard from its leader with a commit index that it has applied. freshnessMax is positive.
func FreshWithin(freshnessMax time.Duration) (Requirement, error) {
	if freshnessMax <= 0 {
		return Requirement{}, fault.Field("freshness", "is "+freshnessMax.String(), "a positive duration, such as 5s")
	}
	return Requirement{level: None, freshness: freshnessMax}, nil
}

// Level returns the level.
func (r Requirement) Level() Level { return r.level }

// FreshnessMax returns how stale an answer may be, 0 for any.
func (r Requirement) FreshnessMax() time.Duration { return r.freshness }

// String returns what clients are told was used: "linearizable", "none" or "none; freshness=5s".
func (r Requirement) String() string {
	if r.freshness == 0 {
		return r.level.String()
	}
	return r.level.String() + "; freshness=" + r.freshness.String()
}

// Read says which shards to read and how up to date.
type Read struct {
	Shards      []shard.ID // each once, not empty
	Requirement Requirement
}

// Stale says that no replica of these shards could be read within freshnessMax.
func Stale(shards []uint32, freshnessMax time.Duration) error {
	return fault.Newf(fault.Timeout, "stale", "what can be read of shards %v may be older than %v; try again, or allow more", shards, freshnessMax).
		WithDetail("shards", shards)
}
