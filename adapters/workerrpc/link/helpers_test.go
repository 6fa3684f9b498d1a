package link_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const clusterID = "c0ffee00c0ffee00c0ffee00c0ffee00"

func key(b byte) []byte {
	k := make([]byte, link.ClusterKeyBytes)
	for i := range k {
		k[i] = b
	}
	return k
}

func node(tb testing.TB, id string, incarnation uint64) cluster.Node {
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

func loneRing(tb testing.TB, id string, incarnation uint64) *link.Keyring {
	tb.Helper()
	return link.NewKeyring(node(tb, id, incarnation))
}

func ring(tb testing.TB, id string, incarnation uint64, secret []byte) *link.Keyring {
	tb.Helper()
	k := loneRing(tb, id, incarnation)
	if err := k.Join(clusterID, secret); err != nil {
		tb.Fatal(err)
	}
	return k
}

// testServer is a link server behind an HTTP server on loopback.
type testServer struct {
	*link.Server
	address string
	conns   chan *link.Conn // what the acceptor of Raft got; it waits until they are closed
}

func serve(tb testing.TB, options link.ServerOptions, tlsConfig *tls.Config) *testServer {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return serveOn(tb, l, options, tlsConfig)
}

func serveOn(tb testing.TB, l net.Listener, options link.ServerOptions, tlsConfig *tls.Config) *testServer {
	tb.Helper()
	s := &testServer{address: l.Addr().String(), conns: make(chan *link.Conn, 2*link.ConnsPerNodeMax)}
	options.Log = zerolog.New(zerolog.NewTestWriter(tb))
	if options.Acceptors == nil {
		options.Acceptors = map[link.Purpose]func(context.Context, *link.Conn){
			link.Raft: func(ctx context.Context, c *link.Conn) {
				s.conns <- c
				// Readers of the connection see its end; the acceptor holds it open until then.
				select {
				case <-ctx.Done():
				case <-c.Closed():
				}
			},
		}
	}
	s.Server = link.NewServer(options)
	mux := http.NewServeMux()
	mux.Handle(link.Path, s.Server)
	h := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	var done sync.WaitGroup
	done.Go(func() {
		if tlsConfig != nil {
			l = tls.NewListener(l, tlsConfig)
		}
		_ = h.Serve(l)
	})
	tb.Cleanup(func() {
		_ = h.Close()
		_ = s.Close()
		done.Wait()
	})
	return s
}

// dial opens a link that the test closes.
func dial(tb testing.TB, d *link.Dialer, s *testServer, expects string) (*link.Conn, error) {
	tb.Helper()
	var id cluster.NodeID
	if expects != "" {
		id = node(tb, expects, 1).ID()
	}
	c, err := d.Dial(tb.Context(), s.address, id, link.Raft)
	if err == nil {
		tb.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func wantReason(tb testing.TB, err error, want link.Reason) {
	tb.Helper()
	if got := link.ReasonOf(err); got != want {
		tb.Fatalf("reason=%q (%v), want %q", got, err, want)
	}
}
