package workerrpc_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/inboundmock"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newNode(tb testing.TB, id string, incarnation uint64) cluster.Node {
	tb.Helper()
	nodeID, err := cluster.NewNodeID(id)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := cluster.NewNode(nodeID, cluster.Worker, id+":8080", cluster.Incarnation(incarnation))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func newRing(tb testing.TB, id string) *link.Keyring {
	tb.Helper()
	k := link.NewKeyring(newNode(tb, id, 1))
	if err := k.Join("cluster", make([]byte, link.ClusterKeyBytes)); err != nil {
		tb.Fatal(err)
	}
	return k
}

// remote is another node: what it answers from are mocks.
type remote struct {
	proposer *outboundmock.MockProposer
	querier  *inboundmock.MockShardQuerier
	shards   *outboundmock.MockShardObserver
	reports  *inboundmock.MockReportTaker
	meta     *outboundmock.MockMetaProposer
	heard    *inboundmock.MockReportGiver
	flusher  *inboundmock.MockNodeFlusher
	digester *inboundmock.MockReplicaDigester

	// bare leaves out what a server need not have.
	bare bool
	// plain, when not nil, stands for proposer: a mock is too slow to measure beside.
	plain   outbound.Proposer
	id      cluster.NodeID
	address string
	stop    func() // ends it as kill would, once
	quit    func() // lets its RPC server stop in order
}

func newRemote(tb testing.TB) *remote {
	tb.Helper()
	ctrl := gomock.NewController(tb)
	r := &remote{
		proposer: outboundmock.NewMockProposer(ctrl), querier: inboundmock.NewMockShardQuerier(ctrl),
		shards: outboundmock.NewMockShardObserver(ctrl), reports: inboundmock.NewMockReportTaker(ctrl),
		meta: outboundmock.NewMockMetaProposer(ctrl), heard: inboundmock.NewMockReportGiver(ctrl),
		flusher: inboundmock.NewMockNodeFlusher(ctrl), digester: inboundmock.NewMockReplicaDigester(ctrl),
		id: newNode(tb, "remote", 1).ID(), address: "127.0.0.1:0",
	}
	r.start(tb)
	return r
}

func (r *remote) proposing() outbound.Proposer {
	if r.plain != nil {
		return r.plain
	}
	return r.proposer
}

// start serves at r.address.
func (r *remote) start(tb testing.TB) {
	tb.Helper()
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		tb.Fatal(err)
	}
	r.address = l.Addr().String()
	log := zerolog.New(zerolog.NewTestWriter(tb))
	config := workerrpc.ServerConfig{
		Proposer: r.proposing(), Querier: r.querier, Shards: r.shards, Reports: r.reports, Log: log,
	}
	if !r.bare {
		config.Meta, config.Heard, config.Flusher, config.Digester = r.meta, r.heard, r.flusher, r.digester
	}
	rpc := workerrpc.NewServer(config)
	links := link.NewServer(link.ServerOptions{
		Keyring: newRing(tb, "remote"), Log: log,
		Acceptors: map[link.Purpose]func(context.Context, *link.Conn){link.RPC: rpc.Accept, link.Proposals: rpc.AcceptProposals},
	})
	mux := http.NewServeMux()
	mux.Handle(link.Path, links)
	public := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = public.Serve(l) })
	work.Go(func() { _ = rpc.Run(ctx) })
	r.quit = cancel
	r.stop = sync.OnceFunc(func() {
		_ = public.Close()
		_ = links.Close()
		cancel()
		work.Wait()
	})
	tb.Cleanup(r.stop)
}

// newStoppedPeer returns a client of a node whose kernel takes the bytes and whose process is stopped. Call end
// within the test's bubble.
func newStoppedPeer(t *testing.T) (c *workerrpc.Client, end func()) {
	t.Helper()
	var far net.Conn
	c = workerrpc.NewClient(newNode(t, "remote", 1).ID(), func(context.Context, link.Purpose) (net.Conn, error) {
		var near net.Conn
		near, far = net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		return near, nil
	})
	return c, func() {
		c.Close()
		_ = far.Close()
		synctest.Wait()
	}
}

// peers returns the peers of a node called local, which reach r.
func (r *remote) peers(tb testing.TB) *workerrpc.Peers {
	tb.Helper()
	p := workerrpc.NewPeers(&link.Dialer{Keyring: newRing(tb, "local")}, func(id cluster.NodeID) (string, bool) {
		return r.address, id == r.id
	})
	tb.Cleanup(p.Close)
	return p
}
