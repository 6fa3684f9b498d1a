package multiraft

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Message is a Raft message and the group it belongs to.
type Message struct {
	Group   GroupID
	Message *raftpb.Message
}

// Transport carries messages to the nodes that hold the replicas they are for.
type Transport interface {
	// Send takes messages, which it may keep, and returns at once: what does not fit in its queues is
	// dropped. What arrives is given to Node.Receive there.
	Send(messages []Message)
}

// SnapshotStore moves snapshots of groups between replicas. Calls of one kind for one group are serial. An error of
// Make or Fetch is reported and the attempt repeated when raft asks again; one of Install ends the node.
type SnapshotStore interface {
	// Make returns a snapshot of the group's state at its newest applied index or close to it.
	Make(ctx context.Context, id GroupID) (Snapshot, error)
	// Fetch brings the data of a snapshot, offered by replica from, onto this node's disk, durable.
	Fetch(ctx context.Context, id GroupID, from uint64, s Snapshot) error
	// Install switches the state to the fetched snapshot, durable, and returns its state.
	Install(ctx context.Context, id GroupID, s Snapshot) (outbound.AppliedState, error)
}

// ShardConfig is one replica to run here.
type ShardConfig struct {
	Shard     shard.ID
	ReplicaID uint64
	// Founders are the replica ids that a new group starts with, the same on each of them; none for a
	// replica that joins an existing group. Without meaning once the replica exists.
	Founders []uint64
	// Applied is the durable state that storage opened with.
	Applied outbound.AppliedState
}

// MetaConfig is the meta group's replica to run here; see ShardConfig.
type MetaConfig struct {
	ReplicaID uint64
	Founders  []uint64
	Applied   outbound.AppliedState
	Applier   inbound.MetaApplier
}

// Config is what a Node needs. Log, Applier, Clock, Timer and Entropy must be set.
type Config struct {
	Log     Log
	Applier inbound.Applier
	Clock   outbound.Clock
	Timer   outbound.Timer
	Entropy outbound.Entropy
	// Shards are the replicas to begin with; Add and Remove change them.
	Shards []ShardConfig
	// Meta is nil on a node without a replica of the meta group.
	Meta *MetaConfig
	// Transport is nil on a node without peers.
	Transport Transport
	// Snapshots is nil on a node without peers.
	Snapshots SnapshotStore
	// Observer is nil for none.
	Observer Observer
	Logger   zerolog.Logger
	Limits   Limits
	// Workers is the number of goroutines that step groups, and of those that apply; 0: one a
	// processor, at least 2.
	Workers int
	// MailboxEventsMax bounds the events that wait for one group; beyond, messages are dropped and
	// proposals and reads refused; 0: 65,536.
	MailboxEventsMax int
	// LogBatchBytesMax bounds the entries merged into one write of the log; 0: 16 MiB.
	LogBatchBytesMax int
	// StopTimeout bounds the wait for proposals under way when Run's context ends; 0: 5 s.
	StopTimeout time.Duration
}

func (c *Config) fill() error {
	if c.Log == nil || c.Applier == nil || c.Clock == nil || c.Timer == nil || c.Entropy == nil {
		return errors.New("check replication config: Log, Applier, Clock, Timer and Entropy are needed")
	}
	if c.Workers < 0 || c.MailboxEventsMax < 0 || c.LogBatchBytesMax < 0 || c.StopTimeout < 0 {
		return errors.New("check replication config: a bound is negative")
	}
	seen := map[shard.ID]bool{}
	for _, s := range c.Shards {
		if s.ReplicaID == 0 || seen[s.Shard] {
			return fmt.Errorf("check replication config: shard %s occurs twice or has no replica id", s.Shard)
		}
		seen[s.Shard] = true
	}
	if c.Workers == 0 {
		c.Workers = max(2, runtime.GOMAXPROCS(0))
	}
	if c.MailboxEventsMax == 0 {
		c.MailboxEventsMax = 1 << 16
	}
	if c.LogBatchBytesMax == 0 {
		c.LogBatchBytesMax = 16 << 20
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 5 * time.Second
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	return c.Limits.fill()
}
