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

func node(t testing.TB, id string, incarnation uint64) cluster.Node {
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

func loneRing(t testing.TB, id string, incarnation uint64) *link.Keyring {
	t.Helper()
	return link.NewKeyring(node(t, id, incarnation))
}

func ring(t testing.TB, id string, incarnation uint64, secret []byte) *link.Keyring {
	t.Helper()
	k := loneRing(t, id, incarnation)
	if err := k.Join(clusterID, secret); err != nil {
		t.Fatal(err)
	}
	return k
}

// testServer is a link server behind an HTTP server on loopback.
type testServer struct {
	*link.Server
	address string
	conns   chan *link.Conn // what the acceptor of Raft got; it waits until they are closed
}

func serve(t testing.TB, options link.ServerOptions, tlsConfig *tls.Config) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, options, tlsConfig)
}

func serveOn(t testing.TB, l net.Listener, options link.ServerOptions, tlsConfig *tls.Config) *testServer {
	t.Helper()
	s := &testServer{address: l.Addr().String(), conns: make(chan *link.Conn, 2*link.ConnsPerNodeMax)}
	options.Log = zerolog.New(zerolog.NewTestWriter(t))
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
	t.Cleanup(func() {
		_ = h.Close()
		_ = s.Close()
		done.Wait()
	})
	return s
}

// dial opens a link that the test closes.
func dial(t testing.TB, d *link.Dialer, s *testServer, expects string) (*link.Conn, error) {
	t.Helper()
	var id cluster.NodeID
	if expects != "" {
		id = node(t, expects, 1).ID()
	}
	c, err := d.Dial(t.Context(), s.address, id, link.Raft)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func wantReason(t testing.TB, err error, want link.Reason) {
	t.Helper()
	if got := link.ReasonOf(err); got != want {
		t.Fatalf("reason=%q (%v), want %q", got, err, want)
	}
}
