package bootstrap

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
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

// mergeObserver is a merger that tells telemetry of its steps.
type mergeObserver struct {
	outbound.RunMerger
	done, failed prometheus.Counter
	seconds      prometheus.Observer
}

func newMergeObserver(merger outbound.RunMerger, t *telemetry.Telemetry) *mergeObserver {
	return &mergeObserver{
		RunMerger: merger,
		done:      t.Counter(telemetry.StorageMerges, "ok"),
		failed:    t.Counter(telemetry.StorageMerges, "failed"),
		seconds:   t.Histogram(telemetry.StorageMergeSeconds),
	}
}

// Merge implements outbound.RunMerger.
func (o *mergeObserver) Merge(ctx context.Context, id shard.ID, all bool) (bool, error) {
	began := time.Now()
	more, err := o.RunMerger.Merge(ctx, id, all)
	o.seconds.Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		o.done.Inc()
	case ctx.Err() == nil: // not only told to stop
		o.failed.Inc()
	}
	return more, err
}

// watchStorage shows what the storage of the member behind the gate counts.
func watchStorage(t *telemetry.Telemetry, g *gate) {
	watch := func(read func(sampleStorage) float64) func() float64 {
		return func() float64 {
			if m := g.member.Load(); m != nil {
				return read(m.place.storage)
			}
			return 0
		}
	}
	ofFiles := func(read func(fileStorage) float64) func() float64 {
		return watch(func(s sampleStorage) float64 {
			if f, ok := s.(fileStorage); ok {
				return read(f)
			}
			return 0
		})
	}
	t.Watch(telemetry.MemtableBytes, watch(func(s sampleStorage) float64 { return float64(s.MemtableBytes()) }))
	t.WatchTotal(telemetry.StorageExpired, watch(func(s sampleStorage) float64 { return float64(s.ExpiredSamples()) }))
	t.WatchTotal(telemetry.StorageMergedRows, ofFiles(func(f fileStorage) float64 { return float64(f.Tidied().RowsMerged) }))
	t.WatchTotal(telemetry.StorageGoneRows, ofFiles(func(f fileStorage) float64 { return float64(f.Tidied().RowsGone) }))
	t.WatchTotal(telemetry.StorageFreedBytes, ofFiles(func(f fileStorage) float64 { return float64(f.Tidied().BytesFreed) }))
	t.WatchTotal(telemetry.CacheHits, ofFiles(func(f fileStorage) float64 { hits, _, _ := f.CacheUse(); return float64(hits) }))
	t.WatchTotal(telemetry.CacheMisses, ofFiles(func(f fileStorage) float64 { _, misses, _ := f.CacheUse(); return float64(misses) }))
	t.Watch(telemetry.CacheBytes, ofFiles(func(f fileStorage) float64 { _, _, bytes := f.CacheUse(); return float64(bytes) }))
}

// transportObserver tells telemetry what goes between nodes. Peers are few, so each has its own series.
type transportObserver struct{ telemetry *telemetry.Telemetry }

var _ transport.Observer = transportObserver{}

// FrameSent implements transport.Observer.
func (o transportObserver) FrameSent(peer cluster.NodeID, messages, bytes, queued int) {
	o.telemetry.Counter(telemetry.TransportSentMessages, peer.String()).Add(float64(messages))
	o.telemetry.Counter(telemetry.TransportSentBytes, peer.String()).Add(float64(bytes))
	o.telemetry.Histogram(telemetry.TransportQueued, peer.String()).Observe(float64(queued))
}

// FrameReceived implements transport.Observer.
func (o transportObserver) FrameReceived(peer cluster.NodeID, _, bytes int) {
	o.telemetry.Counter(telemetry.TransportReceivedBytes, peer.String()).Add(float64(bytes))
}

// MessagesDropped implements transport.Observer.
func (o transportObserver) MessagesDropped(peer cluster.NodeID, messages int) {
	o.telemetry.Counter(telemetry.TransportDropped, peer.String()).Add(float64(messages))
}

// Connected implements transport.Observer.
func (o transportObserver) Connected(peer cluster.NodeID) {
	o.telemetry.Counter(telemetry.TransportConnections, peer.String()).Inc()
}

// Disconnected implements transport.Observer.
func (o transportObserver) Disconnected(peer cluster.NodeID, _ error) {
	o.telemetry.Counter(telemetry.TransportFailures, peer.String()).Inc()
}

// RoundTrip implements transport.Observer.
func (o transportObserver) RoundTrip(peer cluster.NodeID, took time.Duration) {
	o.telemetry.Histogram(telemetry.TransportRoundTrip, peer.String()).Observe(took.Seconds())
}
