package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/dirsink"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is everything of a node that talks to other nodes. Node i holds replica i of every group.
type host struct {
	node      cluster.Node
	listener  net.Listener
	reach     atomic.Value // string: where the others connect to
	peers     *workerrpc.Peers
	transport *transport.Transport
	fetcher   *transport.SnapshotFetcher
	got       chan multiraft.Message
}

func (h *host) address() string {
	text, _ := h.reach.Load().(string)
	return text
}

// content is the snapshot that every node offers.
var content = bytes.Repeat([]byte("snapshot"), 1<<17)

type shelf struct{}

func (shelf) OpenSnapshot(context.Context, shard.ID, []byte) (transport.OpenedSnapshot, error) {
	return shelf{}, nil
}

func (shelf) Files() []transport.SnapshotFile {
	return []transport.SnapshotFile{{Name: "data", Bytes: int64(len(content)), SHA256: sha256.Sum256(content)}}
}
func (shelf) Open(int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
func (shelf) Close() error                    { return nil }

func newHost(t *testing.T, name string, incarnation uint64) *host {
	t.Helper()
	id, err := cluster.NewNodeID(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{listener: l, got: make(chan multiraft.Message, 1024)}
	if h.node, err = cluster.NewNode(id, cluster.Worker, l.Addr().String(), cluster.Incarnation(incarnation)); err != nil {
		t.Fatal(err)
	}
	h.reach.Store(l.Addr().String())
	return h
}

// connect starts hosts that know each other.
func connect(t *testing.T, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		h.start(t, hosts)
	}
}

func (h *host) start(t *testing.T, hosts []*host) {
	t.Helper()
	ring := link.NewKeyring(h.node)
	if err := ring.Join("cluster", make([]byte, link.ClusterKeyBytes)); err != nil {
		t.Fatal(err)
	}
	h.peers = workerrpc.NewPeers(&link.Dialer{Keyring: ring}, func(id cluster.NodeID) (string, bool) {
		for _, other := range hosts {
			if other.node.ID() == id {
				return other.address(), true
			}
		}
		return "", false
	})
	log := zerolog.New(zerolog.NewTestWriter(t))
	var err error
	h.transport, err = transport.New(transport.Config{
		Locate: func(_ multiraft.GroupID, replica uint64) (cluster.NodeID, bool) {
			return hosts[replica].node.ID(), true
		},
		Dial: func(ctx context.Context, id cluster.NodeID) (net.Conn, error) {
			return h.peers.Dial(ctx, id, link.Raft)
		},
		Receive: func(g multiraft.GroupID, m *raftpb.Message) {
			select {
			case h.got <- multiraft.Message{Group: g, Message: m}:
			default:
			}
		},
		Entropy: system.Entropy{}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.fetcher = transport.NewSnapshotFetcher(func(ctx context.Context, id cluster.NodeID) (net.Conn, error) {
		return h.peers.Dial(ctx, id, link.Snapshot)
	})
	shards := outboundmock.NewMockShardObserver(gomock.NewController(t))
	shards.EXPECT().Shards().Return([]outbound.ShardStatus{{Shard: 1, Applied: uint64(h.node.Incarnation())}}).AnyTimes()
	rpc := workerrpc.NewServer(workerrpc.ServerConfig{Shards: shards, Log: log})
	sender := transport.NewSnapshotSender(shelf{}, 0)
	links := link.NewServer(link.ServerOptions{Keyring: ring, Log: log, Acceptors: map[link.Purpose]func(context.Context, *link.Conn){
		link.RPC:      rpc.Accept,
		link.Raft:     func(ctx context.Context, c *link.Conn) { _ = h.transport.Serve(ctx, c.Peer().Node.ID(), c) },
		link.Snapshot: func(ctx context.Context, c *link.Conn) { _ = sender.Serve(ctx, c) },
	}})
	h.run(t, links, rpc)
}

func (h *host) run(t *testing.T, links *link.Server, rpc *workerrpc.Server) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(link.Path, links)
	public := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = public.Serve(h.listener) })
	work.Go(func() { _ = rpc.Run(ctx) })
	work.Go(func() { _ = h.transport.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		h.peers.Close()
		_ = public.Close()
		_ = links.Close()
		work.Wait()
	})
}

func (h *host) send(to, index uint64) {
	h.transport.Send([]multiraft.Message{{Group: 1, Message: &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), From: proto.Uint64(9), To: &to, Index: &index,
	}}})
}

// exchange sends until a message with this index arrived: what was sent before may be lost.
func exchange(t *testing.T, from *host, to uint64, at *host, index uint64) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		from.send(to, index)
		select {
		case m := <-at.got:
			if m.Message.GetIndex() == index {
				return
			}
		case <-again.C:
		case <-deadline:
			t.Fatalf("message %d did not arrive", index)
		}
	}
}

func TestNodesTalk(t *testing.T) {
	a, b := newHost(t, "a", 1), newHost(t, "b", 2)
	connect(t, a, b)
	exchange(t, a, 1, b, 5)
	exchange(t, b, 0, a, 6)
	for _, way := range []struct{ from, to *host }{{a, b}, {b, a}} {
		status, err := way.from.peers.Client(way.to.node.ID()).Status(t.Context())
		if err != nil || len(status) != 1 || status[0].Applied != uint64(way.to.node.Incarnation()) {
			t.Errorf("status=%+v, %v", status, err)
		}
	}
	path := filepath.Join(t.TempDir(), "snapshot")
	sink, err := dirsink.New(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.fetcher.Fetch(t.Context(), b.node.ID(), 1, nil, sink); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(path, "data")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("snapshot of %d bytes, %v", len(got), err)
	}
}

// freezer is a TCP relay that can stop passing bytes on, as a cut cable or a stopped process does:
// connections stay open and nothing comes.
type freezer struct {
	listener net.Listener
	target   string
	frozen   atomic.Bool
	thawed   chan struct{}
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func newFreezer(t *testing.T, target string) *freezer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{listener: l, target: target, thawed: make(chan struct{})}
	f.work.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.work.Wait()
	})
	return f
}

func (f *freezer) accept() {
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", f.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		f.mu.Lock()
		f.conns = append(f.conns, near, far)
		f.mu.Unlock()
		f.work.Go(func() { f.relay(near, far) })
		f.work.Go(func() { f.relay(far, near) })
	}
}

func (f *freezer) relay(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if f.frozen.Load() {
			<-f.thawed
			_ = to.Close() // what stood still for so long is over
			return
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func TestFrozenNodeIsNoticedAndOthersGoOn(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for real time to pass")
	}
	a, b, c := newHost(t, "a", 1), newHost(t, "b", 2), newHost(t, "c", 3)
	f := newFreezer(t, b.listener.Addr().String())
	b.reach.Store(f.listener.Addr().String())
	connect(t, a, b, c)
	exchange(t, a, 1, b, 1)
	client := a.peers.Client(b.node.ID())
	if _, err := client.Status(t.Context()); err != nil {
		t.Fatal(err)
	}

	f.frozen.Store(true)
	begin := time.Now()
	if _, err := client.Status(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("err=%v, want unavailable", err)
	}
	if took := time.Since(begin); took > workerrpc.PeerSilenceMax+2*time.Second {
		t.Errorf("a call to a frozen node took %v, want about %v", took, workerrpc.PeerSilenceMax)
	}
	for i := range uint64(50) { // its messages fill its own queue only
		a.send(1, 100+i)
		exchange(t, a, 2, c, 100+i)
	}
	if _, err := a.peers.Client(c.node.ID()).Status(t.Context()); err != nil {
		t.Error(err)
	}

	close(f.thawed)
	f.frozen.Store(false)
	exchange(t, a, 1, b, 1000)
	for {
		_, err := client.Status(t.Context())
		if err == nil {
			break
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("calls do not recover: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("noticed and recovered within %v", time.Since(begin).Round(time.Millisecond))
}
