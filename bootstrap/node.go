package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/adapters/httpapi"
	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/health"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/application/maintain"
	"github.com/raftmetrics/raftmetrics/application/query"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	roleEmbedded = "embedded"
	// soleReplica is the Raft id of the only replica of each shard of a single node.
	soleReplica = 1
)

// Node is one server with all its parts. Run it once; that also closes it.
type Node struct {
	logger      zerolog.Logger
	place       *place
	replication *multiraft.Node
	maintainer  *maintain.Maintainer
	health      *health.Reporter
	recorder    inbound.Recorder
	server      *httpapi.Server
	listener    net.Listener
	logFailed   chan error // gets the failure that makes going on unsafe
	replayed    uint64     // entries that the log has beyond the durable states
}

// NewNode opens everything that a node needs and binds its address, but serves nothing yet. Errors of
// kind Invalid are the configuration's.
func NewNode(ctx context.Context, c Config, logger zerolog.Logger) (_ *Node, err error) {
	n := &Node{logger: logger, logFailed: make(chan error, 1)}
	placement, err := shard.NewMap(c.Shards, c.MetricSpread)
	if err != nil {
		return nil, err
	}
	clock := system.NewClock()
	n.place, err = openPlace(c, datadir.Record{ //nolint:contextcheck // DuckDB's instance outlives the start
		ClusterID:   fmt.Sprintf("%016x", system.Entropy{}.Uint64()),
		Shards:      placement.Count(),
		Spread:      placement.Spread(),
		MapVersion:  shard.MapVersion,
		StorageKind: c.Storage,
	}, logger, n.failLog)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.place.close.run())
		}
	}()
	var listen net.ListenConfig
	if n.listener, err = listen.Listen(ctx, "tcp", c.listenAddr()); err != nil {
		return nil, err
	}
	n.place.close.add("close the listener", n.closeListener)
	metrics := telemetry.New(version())
	machine, err := n.replicate(ctx, placement, clock, metrics)
	if err != nil {
		return nil, err
	}
	n.serveMaintenance(machine, clock, metrics)
	return n, n.serveClients(c, placement, machine, clock, metrics)
}

// Addr returns where the node listens.
func (n *Node) Addr() net.Addr { return n.listener.Addr() }

// Recorder returns the use case that stores samples, for whoever runs the node in its own process.
func (n *Node) Recorder() inbound.Recorder { return n.recorder }

// failLog is called when the log failed: what is on its disk is unknown, so the node must end.
func (n *Node) failLog(err error) {
	select {
	case n.logFailed <- err:
	default: // it failed before
	}
}

// closeListener closes the listener where the server has not done so.
func (n *Node) closeListener() error {
	if err := n.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// replicate opens every shard, brings the state machines to their durable states and replication to
// them.
func (n *Node) replicate(ctx context.Context, placement shard.Map, clock *system.Clock, metrics *telemetry.Telemetry) (*apply.StateMachine, error) {
	shards := placement.All()
	states, err := n.place.openShards(ctx, shards)
	if err != nil {
		return nil, err
	}
	machine := apply.New(apply.Options{Appender: n.place.storage, Cutter: n.place.storage, Pinner: n.place.storage})
	configs := make([]multiraft.ShardConfig, len(shards))
	for i, id := range shards {
		if err := n.checkLog(id, states[i]); err != nil {
			return nil, err
		}
		if err := machine.Restore(id, states[i]); err != nil {
			return nil, fmt.Errorf("restore shard %v: %w", id, err)
		}
		configs[i] = multiraft.ShardConfig{Shard: id, ReplicaID: soleReplica, Founders: []uint64{soleReplica}, Applied: states[i]}
	}
	n.replication, err = multiraft.New(multiraft.Config{
		Log: n.place.log, Applier: machine, Clock: clock, Timer: clock, Entropy: system.Entropy{},
		Shards: configs, Observer: newReplicationObserver(metrics), Logger: n.logger,
	})
	if err != nil {
		return nil, err
	}
	metrics.WatchShards(n.replication)
	if n.place.directory != nil && !n.place.record.Founded {
		return machine, n.place.directory.SetFounded(n.place.record)
	}
	return machine, nil
}

// checkLog refuses a shard whose log is gone or begins after what its storage holds: on a single node
// nobody else has what lies between. It counts what is to be replayed.
func (n *Node) checkLog(id shard.ID, state outbound.AppliedState) error {
	stored, err := n.place.log.Load(multiraft.GroupOf(id))
	if err != nil {
		return fmt.Errorf("load the log of shard %v: %w", id, err)
	}
	created := stored.Identity.ReplicaID != 0
	if n.place.record.Founded && !created {
		return fault.Newf(fault.Corrupt, "log_lost", "the log of shard %v is lost; restore DATA_DIR from a backup", id)
	}
	if created && state.Index < stored.Truncated.Index && (state.Index > 0 || stored.Truncated.Index > 1) {
		return fault.Newf(fault.Corrupt, "shard_behind_log",
			"shard %v holds its data up to entry %d, but its log begins after %d; restore DATA_DIR from a backup",
			id, state.Index, stored.Truncated.Index)
	}
	n.replayed += stored.Last - min(stored.Last, max(state.Index, stored.Truncated.Index))
	return nil
}

func (n *Node) serveMaintenance(machine *apply.StateMachine, clock *system.Clock, metrics *telemetry.Telemetry) {
	n.maintainer = maintain.New(maintain.Options{
		Machine:   machine,
		Flusher:   newFlushObserver(n.place.storage, metrics),
		Truncator: n.replication,
		Clock:     clock,
		Timer:     clock,
		Failed: func(id shard.ID, err error) {
			n.logger.Error().Err(err).Stringer("shard", id).Msg("flush failed")
		},
	})
}

func (n *Node) serveClients(c Config, placement shard.Map, machine *apply.StateMachine, clock *system.Clock, metrics *telemetry.Telemetry) (err error) {
	n.recorder = ingest.New(ingest.Options{
		Shards: placement, Proposer: n.replication, WriteGate: n.place.storage,
		Clock: clock, Timer: clock, Entropy: system.Entropy{},
	})
	queries := query.New(placement, query.NewLocal(query.LocalPorts{
		Shards: n.replication, Fence: n.replication, Freshness: soleVoter{n.replication},
		Partials: n.place.storage, Latest: n.place.storage,
	}))
	n.health = health.New(health.Node{ID: c.NodeID, Role: roleEmbedded}, n.replication)
	ports := httpapi.Ports{Recorder: n.recorder, Latest: queries, Aggregator: queries, Health: n.health}
	if err := n.administer(&ports, c.NodeID, placement, machine, clock); err != nil {
		return err
	}
	n.server, err = httpapi.New(httpapi.Config{
		Tokens:   []string{string(c.AuthToken)},
		Metrics:  metrics.Handler(),
		Observer: metrics,
		Logger:   n.logger,
	}, ports)
	return err
}

// Run serves until ctx ends or a part fails, then stops the parts in order, closes everything, and
// returns after the last goroutine: nil after an orderly stop.
func (n *Node) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	replication := launch(ctx, "replication", n.replication.Run, fail)
	maintenance := launch(ctx, "maintenance", n.maintainer.Run, fail)
	n.health.Opened()
	// Without a level, so that LOG_LEVEL cannot hide where the node listens.
	n.logger.Log().Str("address", n.Addr().String()).Uint64("replayed", n.replayed).Msg("listening")
	server := launch(ctx, "http", func(context.Context) error { return n.server.Serve(ctx, n.listener) }, fail)
	var failure error
	select {
	case failure = <-n.logFailed:
		failure = fmt.Errorf("the log failed: %w", failure)
		fail(failure)
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			failure = cause
		}
	}
	n.health.Stopping()
	n.logger.Info().AnErr("cause", failure).Msg("stopping")
	// In this order no part is still needed when it ends.
	err := errors.Join(failure, server.stop(), maintenance.stop(), replication.stop(), n.place.close.run())
	n.logger.Info().Err(err).Msg("stopped")
	return err
}

// part is a running goroutine of the node.
type part struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// launch runs a part until it is stopped. One that ends before is a failure of the node.
func launch(ctx context.Context, what string, run func(context.Context) error, fail context.CancelCauseFunc) *part {
	p := &part{ended: make(chan struct{})}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		err := run(own)
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		switch {
		case own.Err() != nil || ctx.Err() != nil:
			p.err = err
		case err != nil:
			fail(err)
		default:
			fail(fmt.Errorf("%s ended by itself", what))
		}
	}()
	return p
}

// stop ends the part, waits for it, and returns what it failed with if that was not reported before.
func (p *part) stop() error {
	p.cancel()
	<-p.ended
	return p.err
}
