package bootstrap

import (
	"context"
	"errors"
	"net"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/adapters/telemetry"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/application/apply"
	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/application/maintain"
	"github.com/raftmetrics/raftmetrics/application/query"
	"github.com/raftmetrics/raftmetrics/application/retain"
	"github.com/raftmetrics/raftmetrics/application/route"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// member is what a node runs once it belongs to a cluster.
type member struct {
	node        *Node
	place       *place
	view        *appcluster.View
	founding    []byte
	replication *multiraft.Node
	transport   *transport.Transport
	peers       *workerrpc.Peers
	rpc         *workerrpc.Server
	replicas    *replicas
	damage      *damage
	snapshots   *snapshots
	machine     *apply.StateMachine
	maintainer  *maintain.Maintainer
	replayed    uint64 // entries that the logs had beyond the durable states
	proposer    *route.Proposer
	writer      *ingest.Recorder
	recorder    *retain.Recorder
	keeper      *retain.Keeper
	queries     *query.Service

	host      *appcluster.Host
	steward   *appcluster.Steward
	director  *appcluster.Director
	reporter  *appcluster.Reporter
	recruiter *appcluster.Recruiter
	awareness *appcluster.Awareness
	observer  inbound.ClusterObserver
	admin     inbound.MembershipAdmin
	retention inbound.RetentionAdmin
	inspector *appcluster.Inspector
}

// newMember opens what the membership says is here and wires the use cases to it; nothing runs yet.
func newMember(ctx context.Context, n *Node, membership datadir.Membership) (_ *member, err error) {
	m := &member{node: n, founding: membership.Founding, damage: newDamage()}
	state, err := newestState(n.home, membership)
	if err != nil {
		return nil, err
	}
	m.view = appcluster.NewView(state)
	if m.place, err = openPlace(n.config, n.directory, membership, n.logger, n.failLog, m.damaged); err != nil { //nolint:contextcheck // DuckDB's instance outlives the start
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.place.close.run())
		}
	}()
	if err := m.replicate(); err != nil {
		return nil, err
	}
	n.warnOfRetention(state)
	m.wireUseCases(state.Blueprint().Shards)
	m.wireCluster()
	m.wireAdministration()
	if err := m.bringUp(ctx); err != nil {
		return nil, err
	}
	if membership.LogCreated {
		return m, nil
	}
	membership.LogCreated = true
	return m, n.home.SaveMembership(membership)
}

// bringUp starts the replicas that are to be here. In a cluster one that cannot be started is tried
// again or made anew; a single node has nobody to get it from.
func (m *member) bringUp(ctx context.Context) error {
	err := m.host.Reconcile(ctx)
	if err != nil && m.node.config.role() != cluster.Embedded {
		m.problem("bring replicas up", err)
		return nil
	}
	return err
}

// newestState returns the newer of the state that the node was adopted or founded with and the one it
// learned last.
func newestState(h home, m datadir.Membership) (*cluster.State, error) {
	state, err := appcluster.DecodeState(m.Founding)
	if err != nil {
		return nil, err
	}
	encoded, err := h.State()
	if err != nil || encoded == nil {
		return state, err
	}
	newer, err := appcluster.DecodeState(encoded)
	if err != nil {
		return nil, err
	}
	if newer.Epoch() > state.Epoch() {
		return newer, nil
	}
	return state, nil
}

// replicate builds replication and what carries its messages.
func (m *member) replicate() (err error) {
	n := m.node
	m.machine = apply.New(apply.Options{
		Appender: m.place.storage, Remover: m.place.storage, Cutter: m.place.storage, Pinner: m.place.storage,
	})
	m.peers = workerrpc.NewPeers(&link.Dialer{Keyring: n.keyring}, m.address)
	m.transport, err = transport.New(transport.Config{
		Locate: m.locate,
		Dial: func(ctx context.Context, node cluster.NodeID) (net.Conn, error) {
			return m.peers.Dial(ctx, node, link.Raft)
		},
		Receive: func(g multiraft.GroupID, msg *raftpb.Message) { m.replication.Receive(g, msg) },
		Lost:    func(g multiraft.GroupID, msg *raftpb.Message) { m.replication.Lost(g, msg) },
		Entropy: system.Entropy{}, Observer: transportObserver{n.metrics}, Log: n.logger,
	})
	if err != nil {
		return err
	}
	m.snapshots = newSnapshots(m)
	m.replication, err = multiraft.New(multiraft.Config{
		Log: m.place.log, Applier: m.machine, Clock: n.clock, Timer: n.clock, Entropy: system.Entropy{},
		Transport: m.transport, Snapshots: m.snapshots,
		Observer: newReplicationObserver(n.metrics), Logger: n.logger,
	})
	if err != nil {
		return err
	}
	m.replicas = &replicas{
		log: m.place.log, storage: m.place.storage, machine: m.machine, replication: m.replication,
		home: n.home, view: m.view, damage: m.damage, founding: m.founding, logger: n.logger, replayed: &m.replayed,
		sole: n.config.role() == cluster.Embedded,
	}
	m.replicas.mu.running = map[cluster.Group]cluster.ReplicaID{}
	m.maintainer = maintain.New(maintain.Options{
		Machine: m.machine, Flusher: newFlushObserver(m.place.storage, n.metrics), Merger: newMergeObserver(m.place.storage, n.metrics),
		Truncator: m.replication, Clock: n.clock, Timer: n.clock,
		Failed: func(id shard.ID, err error) {
			n.logger.Error().Err(err).Stringer("shard", id).Msg("flush failed")
		},
		MergeFailed: func(id shard.ID, err error) {
			n.problems.Warn().Err(err).Stringer("shard", id).Msg("merge failed")
		},
	})
	return nil
}

func (m *member) wireUseCases(placement shard.Map) {
	n := m.node
	where := route.NewMap(n.self().ID(), m.view.State, m.replication, n.clock)
	local := query.NewLocal(query.LocalPorts{
		Fence: m.replication, Freshness: m.replication, Shards: m.replication,
		Partials: m.place.storage, Latest: m.place.storage, Series: m.place.storage,
	})
	m.proposer = route.NewProposer(where, m.replication, m.peers)
	m.writer = ingest.New(ingest.Options{
		Shards: placement, Series: m.place.storage, Proposer: m.proposer, WriteGate: m.place.storage,
		Clock: n.clock, Timer: n.clock, Entropy: system.Entropy{},
	})
	m.queries = query.New(placement, route.NewQuerier(where, local, m.peers, n.clock, n.clock))
	m.director = appcluster.NewDirector(m.view, m.replication, n.clock, n.clock, n.config.RepairAfter, m.problem)
	m.rpc = workerrpc.NewServer(workerrpc.ServerConfig{
		Proposer: ingest.NewCompactor(m.replication, m.place.storage), Querier: local, Shards: m.replication, Reports: m.director, Meta: m.replication,
		Heard: m.director, Flusher: m.maintainer, Digester: m.machine, Log: n.logger,
	})
}

func (m *member) wireCluster() {
	n := m.node
	self := n.self()
	m.host = appcluster.NewHost(self.ID(), m.view, m.replicas, n.home, n.clock, m.problem)
	m.steward = appcluster.NewSteward(m.view, m.replication, n.clock, m.problem)
	m.reporter = appcluster.NewReporter(appcluster.ReporterConfig{
		Self: appcluster.Identity{Node: self.ID(), Incarnation: self.Incarnation(), Address: self.Address()},
		View: m.view, Local: m.director, Peers: m.peers, Shards: m.replication, Settled: m.steward.Settled,
		Damaged: m.damage.list,
		Clock:   n.clock, Timer: n.clock, Report: m.problem,
	})
	m.recruiter = appcluster.NewRecruiter(appcluster.RecruiterConfig{
		Hosts: n.config.hosts(), View: m.view, Founding: m.founding, Director: m.director,
		Contact: workerrpc.NewRecruiter(&link.Dialer{Keyring: n.keyring}, n.config.adoptionSecret()),
		Clock:   n.clock, Timer: n.clock, Report: m.problem,
	})
}

// wireAdministration builds what shows and changes the cluster from any of its nodes.
func (m *member) wireAdministration() {
	n := m.node
	self := n.self()
	m.awareness = appcluster.NewAwareness(self.ID(), m.view, m.reporter)
	way := appcluster.NewMetaRoute(appcluster.MetaRouteConfig{
		Self: self.ID(), View: m.view, Meta: m.replication, Reports: m.director, Peers: m.peers, Timer: n.clock,
	})
	m.observer = appcluster.NewObserver(way, m.replication)
	m.admin = appcluster.NewAdmin(way, m.recruiter, n.config.RepairAfter)
	if self.Role() == cluster.Embedded {
		m.admin = appcluster.NewSolo(m.view.State())
	}
	m.retention = appcluster.NewRetentionAdmin(way)
	m.recorder = retain.NewRecorder(m.writer, m.view, m.reporter, func(samples int) {
		n.metrics.Counter(telemetry.SamplesExpired).Add(float64(samples))
	})
	m.keeper = retain.NewKeeper(retain.KeeperConfig{
		Shards: m.view.State().Blueprint().Shards.Count(), Policy: m.view, Time: m.director, Proposer: m.writer,
		Timer: n.clock, Entropy: system.Entropy{}, Report: m.problem,
	})
	m.inspector = appcluster.NewInspector(appcluster.InspectorConfig{
		Self: self.ID(), State: m.view.State, Proposer: m.proposer, Flusher: m.maintainer, Digester: m.machine,
		Peers: m.peers, Entropy: system.Entropy{}, Clock: n.clock, Timer: n.clock,
	})
}

// damaged takes note of a shard's storage that is damaged.
func (m *member) damaged(id shard.ID, err error) {
	m.node.logger.Error().Err(err).Stringer("shard", id).Msg("the shard's file is damaged; its replica is to be made anew")
	m.damage.add(cluster.ShardGroup(id))
}

// problem logs what a loop of the cluster could not do and will try again.
func (m *member) problem(action string, err error) {
	m.node.problems.Warn().Err(err).Str("action", action).Msg("cluster")
}

// address returns where the cluster says that a node is.
func (m *member) address(id cluster.NodeID) (string, bool) {
	n, ok := m.view.State().Node(id)
	return n.Address(), ok
}

// locate returns the node that holds a replica.
func (m *member) locate(g multiraft.GroupID, replica uint64) (cluster.NodeID, bool) {
	state := m.view.State()
	p := state.Meta()
	if id, ok := g.Shard(); ok {
		if int(id) >= state.Blueprint().Shards.Count() {
			return cluster.NodeID{}, false
		}
		p = state.Shard(id)
	}
	return p.Locate(cluster.ReplicaID(replica))
}

// acceptors are what authenticated connections of other nodes are for.
func (m *member) accept(ctx context.Context, conn *link.Conn) {
	var err error
	switch peer := conn.Peer(); peer.Purpose {
	case link.RPC:
		m.rpc.Accept(ctx, conn)
	case link.Proposals:
		m.rpc.AcceptProposals(ctx, conn)
	case link.Raft:
		err = m.transport.Serve(ctx, peer.Node.ID(), conn)
	case link.Snapshot:
		err = m.snapshots.sender.Serve(ctx, conn)
	}
	if err != nil && ctx.Err() == nil {
		m.node.problems.Debug().Err(err).Stringer("peer", conn.Peer().Node.ID()).Msg("connection ended")
	}
}

// run runs the member until ctx ends or a part fails, then stops the parts in order, each when nothing
// needs it any more.
func (m *member) run(ctx context.Context, serving func()) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var parts []*part
	for _, p := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"replication", m.replication.Run},
		{"transport", m.transport.Run},
		{"stewardship", m.steward.Run}, // as long as this node can be made to lead
		{"maintenance", m.maintainer.Run},
		{"calls of nodes", m.rpc.Run},
		{"clients of nodes", m.retainPeers},
		{"hosting", m.host.Run},
		{"reports", m.reporter.Run},
		{"direction", m.director.Run},
		{"retention", m.keeper.Run},
		{"recruiting", m.recruiter.Run},
	} {
		parts = append(parts, launch(ctx, p.what, p.run, fail))
	}
	serving()
	<-ctx.Done()
	var failure error
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		failure = cause
	}
	errs := []error{failure}
	for _, p := range slices.Backward(parts) {
		errs = append(errs, p.stop())
	}
	m.peers.Close()
	return errors.Join(errs...)
}

// retainPeers lets go of the clients of nodes that have left the cluster.
func (m *member) retainPeers(ctx context.Context) error {
	for {
		changed := m.view.Changed()
		m.peers.Retain(func(id cluster.NodeID) bool { _, ok := m.view.State().Node(id); return ok })
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
