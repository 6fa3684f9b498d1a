// Package maintain is the use case that moves what shards have applied to disk: when they have grown,
// when they have waited long enough, and before the node stops; and that has merged what lies there in
// many pieces.
package maintain

import (
	"time"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Machine is what this package needs of the state machine, see package apply.
type Machine interface {
	// Shards returns the shards of this node, ascending.
	Shards() []shard.ID
	// Applied returns the index of the newest entry that the shard has applied.
	Applied(id shard.ID) uint64
	// Cut freezes what the shard has applied; false when there is nothing new to freeze.
	Cut(id shard.ID) bool
	// CutReady returns a channel that holds a value while TakeCut may have shards.
	CutReady() <-chan struct{}
	// TakeCut returns the shards that were cut since the call before.
	TakeCut() []shard.ID
}

// Limits and defaults of a Maintainer.
const (
	// AgeMaxDefault is how long an applied entry may wait to be flushed.
	AgeMaxDefault = 2 * time.Minute
	// FlushesMaxDefault bounds the flushes under way at once.
	FlushesMaxDefault = 2
	// mergesMax bounds the merges under way at once. One leaves the other core to writes and queries.
	mergesMax = 1
	// StopTimeoutDefault bounds the flushes of a stop.
	StopTimeoutDefault = 30 * time.Second

	tickEvery    = time.Second // between looks at ages and due retries
	backoffFirst = time.Second
	backoffMost  = time.Minute
)

// Options are what a Maintainer works with.
type Options struct {
	Machine     Machine
	Flusher     outbound.StateFlusher
	Merger      outbound.RunMerger // nil: there is nothing to merge
	Truncator   outbound.LogTruncator
	Clock       outbound.Clock
	Timer       outbound.Timer
	AgeMax      time.Duration // 0: AgeMaxDefault
	FlushesMax  int           // 0: FlushesMaxDefault
	StopTimeout time.Duration // 0: StopTimeoutDefault
	// Failed is told of every failed flush, in turn and soon to return; nil: nobody is told. A
	// failure of kind Corrupt is final: the shard is not flushed again. Others are tried again.
	Failed func(id shard.ID, err error)
	// MergeFailed is Failed for merges.
	MergeFailed func(id shard.ID, err error)
}

// Maintainer flushes and merges a node's shards in the background.
type Maintainer struct {
	options  Options
	requests chan request
}

var _ inbound.NodeFlusher = (*Maintainer)(nil)

// request asks Run to flush and merge everything; it answers once.
type request struct{ done chan error }

// New returns a Maintainer; Run does the work.
func New(o Options) *Maintainer {
	if o.AgeMax == 0 {
		o.AgeMax = AgeMaxDefault
	}
	if o.FlushesMax == 0 {
		o.FlushesMax = FlushesMaxDefault
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = StopTimeoutDefault
	}
	if o.Failed == nil {
		o.Failed = func(shard.ID, error) {}
	}
	if o.MergeFailed == nil {
		o.MergeFailed = func(shard.ID, error) {}
	}
	if o.Merger == nil {
		o.Merger = noMerger{}
	}
	return &Maintainer{options: o, requests: make(chan request)}
}
