package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/adapters/httpapi"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/application/health"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// handOverMax bounds how long a stopping node tries to give the groups that it leads to others.
const handOverMax = 3 * time.Second

// drainWaitOfMembers is how long a stopping member of a cluster still serves while it says that it is
// not ready: clients go to other nodes meanwhile. A single node has none to leave them to.
const drainWaitOfMembers = time.Second

// Node is one server with all its parts. Run it once; that also closes it.
type Node struct {
	config    Config
	logger    zerolog.Logger
	problems  zerolog.Logger // sampled: what is tried again and again must not fill the disk
	close     closers
	home      home
	directory string // path of the data directory, "" in memory
	clock     *system.Clock
	metrics   *telemetry.Telemetry
	keyring   *link.Keyring
	links     *link.Server
	listener  net.Listener
	gate      *gate
	health    *health.Reporter
	server    *httpapi.Server
	logFailed chan error    // gets the failure that makes going on unsafe
	joined    chan struct{} // gets a value when the node has become a member
	joining   sync.Mutex    // one way of becoming a member at a time
	refused   *refused      // why others do not take the node in
	member    *member       // nil until the node is one
}

// NewNode opens everything that a node needs and binds its address, but serves nothing yet. A node that
// belongs to a cluster, or is one by itself, has its replicas up when NewNode returns. Errors of kind
// Invalid are the configuration's.
func NewNode(ctx context.Context, c Config, logger zerolog.Logger) (_ *Node, err error) {
	n := &Node{
		config: c, logger: logger, clock: system.NewClock(), metrics: telemetry.New(version()), gate: &gate{},
		problems:  logger.Sample(&zerolog.BurstSampler{Burst: 20, Period: 10 * time.Second}),
		logFailed: make(chan error, 1), joined: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close.run())
		}
	}()
	if err := n.openHome(); err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	if n.listener, err = listen.Listen(ctx, "tcp", c.listenAddr()); err != nil {
		return nil, err
	}
	n.close.add("close the listener", n.closeListener)
	if err := n.identify(); err != nil {
		return nil, err
	}
	if err := n.serveClients(); err != nil {
		return nil, err
	}
	if c.role() == cluster.Embedded {
		if err := n.foundAlone(); err != nil {
			return nil, err
		}
	}
	return n, n.resume(ctx)
}

// openHome opens where the node keeps who it is.
func (n *Node) openHome() error {
	if n.config.Storage == storageMemory {
		n.home = &memoryHome{}
		return nil
	}
	d, err := datadir.Open(n.config.DataDir)
	if err != nil {
		return err
	}
	n.close.add("unlock the data directory", d.Close)
	n.home, n.directory = d, d.Path()
	return nil
}

// identify makes the node itself: by what its home says, or as a new one.
func (n *Node) identify() error {
	identity, err := n.home.Identify(n.config.NodeID, n.config.Storage, system.Entropy{}.Uint64()|1)
	if err != nil {
		return err
	}
	id, err := cluster.NewNodeID(n.config.NodeID)
	if err != nil {
		return err
	}
	membership, _, err := n.home.Membership()
	if err != nil {
		return err
	}
	self, err := cluster.NewNode(id, n.config.role(), n.advertised(membership.Address), cluster.Incarnation(identity.Incarnation))
	if err != nil {
		return err
	}
	if n.keyring == nil {
		n.keyring = link.NewKeyring(self)
	}
	n.keyring.SetSelf(self)
	if n.refused == nil {
		n.refused = newRefused(n.keyring, n.logger)
	}
	return nil
}

// advertised returns the address under which other nodes reach this one: as configured, else as the
// cluster told it, else this host's name.
func (n *Node) advertised(told string) string {
	if n.config.AdvertiseAddr != "" {
		return n.config.AdvertiseAddr
	}
	if told != "" {
		return told
	}
	tcp, _ := n.listener.Addr().(*net.TCPAddr)
	if n.config.role() == cluster.Embedded {
		return tcp.String()
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return net.JoinHostPort(name, strconv.Itoa(tcp.Port))
}

func (n *Node) self() cluster.Node { return n.keyring.Self() }

// Addr returns where the node listens.
func (n *Node) Addr() net.Addr { return n.listener.Addr() }

// Recorder returns the use case that stores samples, for whoever runs the node in its own process.
func (n *Node) Recorder() inbound.Recorder { return n.gate }

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

// serveClients builds what answers on the node's port.
func (n *Node) serveClients() (err error) {
	options := link.ServerOptions{Keyring: n.keyring, Log: n.logger, Acceptors: map[link.Purpose]func(context.Context, *link.Conn){}}
	for _, p := range []link.Purpose{link.RPC, link.Proposals, link.Raft, link.Snapshot} {
		options.Acceptors[p] = n.accept
	}
	if n.config.role() != cluster.Embedded {
		options.Adoption = &link.AdoptionOptions{Secret: n.config.adoptionSecret(), Adopt: n.adopt, Rejected: n.refused.hear}
	}
	n.links = link.NewServer(options)
	n.health = health.New(health.Node{ID: n.config.NodeID, Role: n.config.role().String()}, n.gate)
	n.metrics.WatchShards(n.gate)
	watchStorage(n.metrics, n.gate)
	n.metrics.Watch(telemetry.RetentionCutoffAge, n.gate.cutoffAge)
	drainWait := time.Duration(0)
	if n.config.role() != cluster.Embedded {
		drainWait = drainWaitOfMembers
	}
	n.server, err = httpapi.New(httpapi.Config{
		Tokens: []string{string(n.config.AuthToken)}, Metrics: n.metrics.Handler(), NodeLink: n.links,
		Observer: n.metrics, Logger: n.logger, DrainWait: drainWait,
	}, httpapi.Ports{
		Recorder: n.gate, Deleter: n.gate, Latest: n.gate, Aggregator: n.gate, Lister: n.gate, Health: n.health,
		Cluster: n.gate, Membership: n.gate, Retention: n.gate, Storage: n.gate,
	})
	return err
}

// accept hands a connection of another node to the member.
func (n *Node) accept(ctx context.Context, conn *link.Conn) {
	if m := n.gate.member.Load(); m != nil {
		m.accept(ctx, conn)
	}
}

// Run serves until ctx ends or a part fails, then stops the parts in order, closes everything, and
// returns after the last goroutine: nil after an orderly stop.
func (n *Node) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	// Without a level, so that LOG_LEVEL cannot hide where the node listens.
	n.logger.Log().Str("address", n.Addr().String()).Msg("listening")
	server := launch(ctx, "http", func(ctx context.Context) error { return n.server.Serve(ctx, n.listener) }, fail)
	life := launch(ctx, "membership", n.live, fail)
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
	if m := n.gate.member.Load(); m != nil && failure == nil {
		handing, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverMax)
		m.steward.HandOver(handing)
		cancel()
	}
	// In this order no part is still needed when it ends.
	err := errors.Join(failure, server.stop(), life.stop(), n.links.Close(), n.close.run())
	n.logger.Info().Err(err).Msg("stopped")
	return err
}
