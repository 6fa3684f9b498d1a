package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// snapshots moves the state of groups between nodes: shards as storage's files on a stream of their
// own, the meta group's small state inside the manifest.
type snapshots struct {
	member  *member
	sender  *transport.SnapshotSender
	fetcher *transport.SnapshotFetcher
}

var (
	_ multiraft.SnapshotStore  = (*snapshots)(nil)
	_ transport.SnapshotSource = (*snapshots)(nil)
)

func newSnapshots(m *member) *snapshots {
	s := &snapshots{member: m}
	s.sender = transport.NewSnapshotSender(s, 0)
	s.fetcher = transport.NewSnapshotFetcher(func(ctx context.Context, node cluster.NodeID) (net.Conn, error) {
		return m.peers.Dial(ctx, node, link.Snapshot)
	})
	return s
}

// metaManifest is the meta group's whole snapshot.
type metaManifest struct {
	Format  int             `json:"format"`
	LogTime time.Duration   `json:"log_time_ns"`
	State   json.RawMessage `json:"state"`
}

const metaManifestFormat = 1

var errNoReplica = fault.New(fault.Unavailable, "no_replica", "the replica is not here any more")

// Make implements multiraft.SnapshotStore. What the shard has applied by now is flushed first, so that
// the snapshot is as new as its receiver needs.
func (s *snapshots) Make(ctx context.Context, group multiraft.GroupID) (multiraft.Snapshot, error) {
	id, isShard := group.Shard()
	if !isShard {
		return s.makeMeta()
	}
	s.member.machine.Cut(id)
	durable, err := s.member.place.storage.Flush(ctx, id)
	if err != nil {
		return multiraft.Snapshot{}, fmt.Errorf("flush shard: %w", err)
	}
	s.member.replication.Durable(id, durable)
	made, err := s.member.place.storage.MakeSnapshot(ctx, id)
	if err != nil {
		return multiraft.Snapshot{}, err
	}
	return s.describe(group, made.State, made.Manifest)
}

func (s *snapshots) makeMeta() (multiraft.Snapshot, error) {
	machine := s.member.replicas.meta()
	if machine == nil {
		return multiraft.Snapshot{}, errNoReplica
	}
	state := machine.Applied()
	manifest, err := json.Marshal(metaManifest{Format: metaManifestFormat, LogTime: state.LogTime, State: state.Machine})
	if err != nil {
		return multiraft.Snapshot{}, fmt.Errorf("encode meta snapshot: %w", err)
	}
	return s.describe(multiraft.MetaGroup, state, manifest)
}

// describe names the configuration too: the founding one where none was applied since.
func (s *snapshots) describe(group multiraft.GroupID, state outbound.AppliedState, manifest []byte) (multiraft.Snapshot, error) {
	if state.Membership == nil {
		stored, err := s.member.place.log.Load(group)
		if err != nil {
			return multiraft.Snapshot{}, err
		}
		state.Membership = stored.Identity.Founding
	}
	return multiraft.Snapshot{Index: state.Index, Term: state.Term, Membership: state.Membership, Manifest: manifest}, nil
}

// Fetch implements multiraft.SnapshotStore.
func (s *snapshots) Fetch(ctx context.Context, group multiraft.GroupID, from uint64, offered multiraft.Snapshot) error {
	id, isShard := group.Shard()
	if !isShard {
		return nil
	}
	node, known := s.member.locate(group, from)
	if !known {
		return fault.Newf(fault.Unavailable, "node_unknown", "replica %d of shard %s is on no node known here", from, id)
	}
	w, err := s.member.place.storage.ReceiveSnapshot(ctx, id, offered.Manifest)
	if err != nil {
		return err
	}
	return s.fetcher.Fetch(ctx, node, id, offered.Manifest, &snapshotSink{
		ctx: ctx, writer: w, received: s.member.node.metrics.Counter(telemetry.SnapshotReceivedBytes),
	})
}

// Install implements multiraft.SnapshotStore.
func (s *snapshots) Install(ctx context.Context, group multiraft.GroupID, offered multiraft.Snapshot) (outbound.AppliedState, error) {
	id, isShard := group.Shard()
	if !isShard {
		return s.installMeta(ctx, offered)
	}
	state, err := s.member.place.storage.InstallSnapshot(ctx, id, offered.Manifest)
	if err != nil {
		return outbound.AppliedState{}, err
	}
	return state, s.member.machine.Restore(id, state)
}

func (s *snapshots) installMeta(ctx context.Context, offered multiraft.Snapshot) (outbound.AppliedState, error) {
	var manifest metaManifest
	if err := json.Unmarshal(offered.Manifest, &manifest); err != nil || manifest.Format != metaManifestFormat {
		return outbound.AppliedState{}, fault.Newf(fault.Corrupt, "invalid_snapshot", "the meta snapshot has format %d", manifest.Format).WithCause(err)
	}
	machine := s.member.replicas.meta()
	if machine == nil {
		return outbound.AppliedState{}, errNoReplica
	}
	state := outbound.AppliedState{
		Index: offered.Index, Term: offered.Term, LogTime: manifest.LogTime, Membership: offered.Membership, Machine: manifest.State,
	}
	return state, machine.Install(ctx, state)
}

// OpenSnapshot implements transport.SnapshotSource.
func (s *snapshots) OpenSnapshot(ctx context.Context, id shard.ID, manifest []byte) (transport.OpenedSnapshot, error) {
	data, err := s.member.place.storage.OpenSnapshot(ctx, id, manifest)
	if err != nil {
		return nil, err
	}
	return openedSnapshot{data: data, sent: s.member.node.metrics.Counter(telemetry.SnapshotSentBytes)}, nil
}

// openedSnapshot is storage's snapshot as the transport sends it: one file.
type openedSnapshot struct {
	data outbound.SnapshotData
	sent prometheus.Counter
}

// Files implements transport.OpenedSnapshot.
func (o openedSnapshot) Files() []transport.SnapshotFile {
	return []transport.SnapshotFile{{Name: "shard", Bytes: o.data.Bytes, SHA256: o.data.SHA256}}
}

// Open implements transport.OpenedSnapshot; the data is read once.
func (o openedSnapshot) Open(int) (io.ReadCloser, error) {
	return io.NopCloser(io.TeeReader(o.data, byteCounter{o.sent})), nil
}

// Close implements transport.OpenedSnapshot.
func (o openedSnapshot) Close() error { return o.data.Close() }

// snapshotSink is storage's receiver as the transport fills it.
type snapshotSink struct {
	ctx      context.Context //nolint:containedctx // of the one Fetch that the sink is for
	writer   outbound.SnapshotWriter
	received prometheus.Counter
	begun    bool
}

var errFiles = errors.New("a shard's snapshot has one file")

// Create implements transport.SnapshotSink.
func (s *snapshotSink) Create(transport.SnapshotFile) (io.WriteCloser, error) {
	if s.begun {
		return nil, errFiles
	}
	s.begun = true
	return nopCloser{io.MultiWriter(s.writer, byteCounter{s.received})}, nil
}

// Commit implements transport.SnapshotSink.
func (s *snapshotSink) Commit() error { return s.writer.Commit(s.ctx) }

// Abort implements transport.SnapshotSink.
func (s *snapshotSink) Abort() error { return s.writer.Abort() }

type nopCloser struct{ io.Writer }

// Close does nothing: Commit or Abort ends the writer.
func (nopCloser) Close() error { return nil }

// byteCounter counts what is written to it.
type byteCounter struct{ counter prometheus.Counter }

// Write implements io.Writer.
func (c byteCounter) Write(b []byte) (int, error) {
	c.counter.Add(float64(len(b)))
	return len(b), nil
}
