package workerrpc_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/tests/mocks/inboundmock"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newNode(t testing.TB, id string, incarnation uint64) cluster.Node {
	t.Helper()
	nodeID, err := cluster.NewNodeID(id)
	if err != nil {
		t.Fatal(err)
	}
	n, err := cluster.NewNode(nodeID, cluster.Worker, id+":8080", cluster.Incarnation(incarnation))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newRing(t testing.TB, id string) *link.Keyring {
	t.Helper()
	k := link.NewKeyring(newNode(t, id, 1))
	if err := k.Join("cluster", make([]byte, link.ClusterKeyBytes)); err != nil {
		t.Fatal(err)
	}
	return k
}

// remote is another node: what it answers from are mocks.
type remote struct {
	proposer *outboundmock.MockProposer
	querier  *inboundmock.MockShardQuerier
	shards   *outboundmock.MockShardObserver
	reports  *inboundmock.MockReportTaker

	id      cluster.NodeID
	address string
	stop    func() // ends it as kill would, once
}

func newRemote(t testing.TB) *remote {
	t.Helper()
	ctrl := gomock.NewController(t)
	r := &remote{
		proposer: outboundmock.NewMockProposer(ctrl), querier: inboundmock.NewMockShardQuerier(ctrl),
		shards: outboundmock.NewMockShardObserver(ctrl), reports: inboundmock.NewMockReportTaker(ctrl),
		id: newNode(t, "remote", 1).ID(), address: "127.0.0.1:0",
	}
	r.start(t)
	return r
}

// start serves at r.address.
func (r *remote) start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	log := zerolog.New(zerolog.NewTestWriter(t))
	rpc := workerrpc.NewServer(workerrpc.ServerConfig{
		Proposer: r.proposer, Querier: r.querier, Shards: r.shards, Reports: r.reports, Log: log,
	})
	links := link.NewServer(link.ServerOptions{
		Keyring: newRing(t, "remote"), Log: log,
		Acceptors: map[link.Purpose]func(context.Context, *link.Conn){link.RPC: rpc.Accept},
	})
	mux := http.NewServeMux()
	mux.Handle(link.Path, links)
	public := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = public.Serve(l) })
	work.Go(func() { _ = rpc.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		_ = public.Close()
		_ = links.Close()
		cancel()
		work.Wait()
	})
	t.Cleanup(r.stop)
}

// peers returns the peers of a node called local, which reach r.
func (r *remote) peers(t testing.TB) *workerrpc.Peers {
	t.Helper()
	p := workerrpc.NewPeers(&link.Dialer{Keyring: newRing(t, "local")}, func(id cluster.NodeID) (string, bool) {
		return r.address, id == r.id
	})
	t.Cleanup(p.Close)
	return p
}
