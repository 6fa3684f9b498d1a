package bootstrap

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// replicationObserver tells telemetry what replication does.
type replicationObserver struct {
	proposed, committed, logBytes      prometheus.Counter
	commands, sync, commit, applyTimes prometheus.Observer
}

var _ multiraft.Observer = (*replicationObserver)(nil)

func newReplicationObserver(t *telemetry.Telemetry) *replicationObserver {
	return &replicationObserver{
		proposed:   t.Counter(telemetry.CommandsProposed),
		committed:  t.Counter(telemetry.EntriesCommitted),
		logBytes:   t.Counter(telemetry.LogBytesWritten),
		commands:   t.Histogram(telemetry.EntryCommands),
		sync:       t.Histogram(telemetry.LogSyncSeconds),
		commit:     t.Histogram(telemetry.CommitSeconds),
		applyTimes: t.Histogram(telemetry.ApplySeconds),
	}
}

// BatchProposed implements multiraft.Observer.
func (o *replicationObserver) BatchProposed(_ multiraft.GroupID, commands, _ int) {
	o.proposed.Add(float64(commands))
	o.commands.Observe(float64(commands))
}

// LogWritten implements multiraft.Observer.
func (o *replicationObserver) LogWritten(_, _, bytes int, took time.Duration) {
	o.logBytes.Add(float64(bytes))
	o.sync.Observe(took.Seconds())
}

// EntriesApplied implements multiraft.Observer.
func (o *replicationObserver) EntriesApplied(_ multiraft.GroupID, entries, _ int, took time.Duration) {
	o.committed.Add(float64(entries))
	o.applyTimes.Observe(took.Seconds())
}

// ProposalAnswered implements multiraft.Observer.
func (o *replicationObserver) ProposalAnswered(_ multiraft.GroupID, took time.Duration, err error) {
	if err == nil {
		o.commit.Observe(took.Seconds())
	}
}

// LeaderChanged implements multiraft.Observer; the shards' gauges show who leads.
func (o *replicationObserver) LeaderChanged(multiraft.GroupID, multiraft.LeaderChanged) {}

// flushObserver is a flusher that tells telemetry of its flushes.
type flushObserver struct {
	outbound.StateFlusher
	stored, failed prometheus.Counter
	seconds        prometheus.Observer
}

func newFlushObserver(flusher outbound.StateFlusher, t *telemetry.Telemetry) *flushObserver {
	return &flushObserver{
		StateFlusher: flusher,
		stored:       t.Counter(telemetry.StorageFlushes, "ok"),
		failed:       t.Counter(telemetry.StorageFlushes, "failed"),
		seconds:      t.Histogram(telemetry.StorageFlushSeconds),
	}
}

// Flush implements outbound.StateFlusher.
func (o *flushObserver) Flush(ctx context.Context, id shard.ID) (uint64, error) {
	began := time.Now()
	durable, err := o.StateFlusher.Flush(ctx, id)
	o.seconds.Observe(time.Since(began).Seconds())
	if err != nil {
		o.failed.Inc()
	} else {
		o.stored.Inc()
	}
	return durable, err
}
