package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source gives numbers from a fixed seed.
type source struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newSource() *source { return &source{r: rand.New(rand.NewPCG(1, 2))} }

func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Uint64()
}

func nodeID(tb testing.TB, text string) cluster.NodeID {
	tb.Helper()
	id, err := cluster.NewNodeID(text)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// replicas 2 and 3 are on the nodes b and c.
func locator(tb testing.TB) func(multiraft.GroupID, uint64) (cluster.NodeID, bool) {
	tb.Helper()
	nodes := map[uint64]cluster.NodeID{2: nodeID(tb, "b"), 3: nodeID(tb, "c")}
	return func(_ multiraft.GroupID, replica uint64) (cluster.NodeID, bool) {
		n, ok := nodes[replica]
		return n, ok
	}
}

func appendTo(to, index uint64, data []byte) multiraft.Message {
	return multiraft.Message{Group: multiraft.GroupID(index % 7), Message: &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: &to, From: proto.Uint64(1), Index: &index,
		Entries: []*raftpb.Entry{{Index: &index, Data: data}},
	}}
}

// start builds a transport and runs it until the test ends.
func start(tb testing.TB, c transport.Config) *transport.Transport {
	tb.Helper()
	c.Locate, c.Entropy, c.Log = locator(tb), newSource(), zerolog.New(zerolog.NewTestWriter(tb))
	if c.Receive == nil {
		c.Receive = func(multiraft.GroupID, *raftpb.Message) {}
	}
	tr, err := transport.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return tr
}

// sink is the receiving end of another node.
type sink struct {
	tr  *transport.Transport
	got chan multiraft.Message
	err chan error
}

func newSink(tb testing.TB) *sink {
	tb.Helper()
	s := &sink{got: make(chan multiraft.Message, 1<<16), err: make(chan error, 16)}
	var err error
	s.tr, err = transport.New(transport.Config{
		Locate: locator(tb), Entropy: newSource(),
		Dial:    func(context.Context, cluster.NodeID) (net.Conn, error) { return nil, errors.New("not used") },
		Receive: func(g multiraft.GroupID, m *raftpb.Message) { s.got <- multiraft.Message{Group: g, Message: m} },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *sink) serve(tb testing.TB, conn net.Conn) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.err <- s.tr.Serve(ctx, nodeID(tb, "a"), conn)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
}

// loopback returns the two ends of a TCP connection.
func loopback(tb testing.TB) (near, far net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	return near, far
}

func (s *sink) dial(tb testing.TB) func(context.Context, cluster.NodeID) (net.Conn, error) {
	tb.Helper()
	return func(context.Context, cluster.NodeID) (net.Conn, error) {
		near, far := loopback(tb)
		s.serve(tb, far) //nolint:contextcheck // the stream outlives the dialing
		return near, nil
	}
}

// counter is an observer that counts.
type counter struct {
	sent, messages, received, dropped, connected, disconnected, pongs atomic.Int64
}

func (c *counter) FrameSent(_ cluster.NodeID, messages, _, _ int) {
	c.sent.Add(1)
	c.messages.Add(int64(messages))
}
func (c *counter) FrameReceived(cluster.NodeID, int, int)  { c.received.Add(1) }
func (c *counter) MessagesDropped(_ cluster.NodeID, n int) { c.dropped.Add(int64(n)) }
func (c *counter) Connected(cluster.NodeID)                { c.connected.Add(1) }
func (c *counter) Disconnected(cluster.NodeID, error)      { c.disconnected.Add(1) }
func (c *counter) RoundTrip(cluster.NodeID, time.Duration) { c.pongs.Add(1) }

func TestMessagesOfManyGroupsArriveInOrder(t *testing.T) {
	b := newSink(t)
	seen := &counter{}
	const count = 20_000
	a := start(t, transport.Config{Dial: b.dial(t), Observer: seen, Limits: transport.Limits{QueueMessagesMax: count}})
	var batch []multiraft.Message
	for i := range uint64(count) {
		batch = append(batch, appendTo(2, i+1, []byte("entry")))
		if len(batch) == 100 {
			a.Send(batch)
			batch = nil
		}
	}
	for i := range uint64(count) {
		got := <-b.got
		want := appendTo(2, i+1, []byte("entry"))
		if got.Group != want.Group || !proto.Equal(got.Message, want.Message) {
			t.Fatalf("message %d=%v %v, want %v", i, got.Group, got.Message, want.Message)
		}
	}
	if frames := seen.sent.Load(); frames > count/10 {
		t.Errorf("%d messages took %d frames: they do not share them", count, frames)
	}
	if n := seen.dropped.Load(); n != 0 {
		t.Errorf("dropped %d messages", n)
	}
}

func TestLargeMessageArrives(t *testing.T) {
	b := newSink(t)
	a := start(t, transport.Config{Dial: b.dial(t)})
	data := bytes.Repeat([]byte("0123456789abcdef"), 40<<20/16)
	a.Send([]multiraft.Message{appendTo(2, 1, data), appendTo(2, 2, nil)})
	if got := <-b.got; !bytes.Equal(got.Message.GetEntries()[0].GetData(), data) {
		t.Error("the large message differs")
	}
	if got := <-b.got; got.Message.GetIndex() != 2 {
		t.Errorf("index=%d, want 2", got.Message.GetIndex())
	}
}

func TestDeadPeerLosesOnlyItsOwn(t *testing.T) {
	c := newSink(t)
	alive := c.dial(t)
	var lost atomic.Int64
	seen := &counter{}
	a := start(t, transport.Config{
		Dial: func(ctx context.Context, node cluster.NodeID) (net.Conn, error) {
			if node.String() == "b" {
				<-ctx.Done() // a host that swallows packets
				return nil, ctx.Err()
			}
			return alive(ctx, node)
		},
		Lost:     func(multiraft.GroupID, *raftpb.Message) { lost.Add(1) },
		Observer: seen,
		Limits:   transport.Limits{QueueMessagesMax: 10, QueueBytesMax: 10_000},
	})
	for i := range uint64(100) {
		a.Send([]multiraft.Message{appendTo(2, i, []byte("x"))})
		a.Send([]multiraft.Message{appendTo(3, i, []byte("x"))})
		if got := <-c.got; got.Message.GetIndex() != i {
			t.Fatalf("index=%d, want %d", got.Message.GetIndex(), i)
		}
	}
	if got := lost.Load(); got != 90 {
		t.Errorf("lost %d messages to the dead peer, want all beyond the queue's 10", got)
	}
	// What nobody knows the way for is lost, too; only what raft waits for is told.
	a.Send([]multiraft.Message{appendTo(9, 1, nil), {Message: &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), To: proto.Uint64(9)}}})
	if got, dropped := lost.Load(), seen.dropped.Load(); got != 91 || dropped != 92 {
		t.Errorf("lost=%d dropped=%d, want 91 and 92", got, dropped)
	}
}

func TestQueueBoundsBytes(t *testing.T) {
	var lost atomic.Int64
	a := start(t, transport.Config{
		Dial: func(ctx context.Context, _ cluster.NodeID) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Lost:   func(multiraft.GroupID, *raftpb.Message) { lost.Add(1) },
		Limits: transport.Limits{QueueBytesMax: 10_000},
	})
	a.Send([]multiraft.Message{appendTo(2, 1, make([]byte, 50_000))}) // alone it may exceed the bound
	a.Send([]multiraft.Message{appendTo(2, 2, nil)})
	if got := lost.Load(); got != 1 {
		t.Errorf("lost %d messages, want 1", got)
	}
}

// pipes makes in-memory connections, whose deadlines go by the fake clock of a test bubble.
func pipes(far chan<- net.Conn) func(context.Context, cluster.NodeID) (net.Conn, error) {
	return func(context.Context, cluster.NodeID) (net.Conn, error) {
		a, b := net.Pipe()
		far <- b
		return a, nil
	}
}

func TestStoppedPeerIsNoticed(t *testing.T) {
	for name, freeze := range map[string]func(net.Conn){
		"reads nothing":    func(net.Conn) {},
		"answers no pings": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := make(chan net.Conn, 4)
				var lost atomic.Int64
				seen := &counter{}
				a := start(t, transport.Config{
					Dial: pipes(far), Observer: seen, Lost: func(multiraft.GroupID, *raftpb.Message) { lost.Add(1) },
				})
				begin := time.Now()
				a.Send([]multiraft.Message{appendTo(2, 1, []byte("x"))})
				conn := <-far
				defer func() { _ = conn.Close() }()
				go freeze(conn)
				for seen.disconnected.Load() == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(begin); took > transport.PeerSilenceMax+20*time.Millisecond {
					t.Errorf("noticed after %v, want within %v", took, transport.PeerSilenceMax)
				}
			})
		})
	}
}

func TestSilentSenderIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(t)
		near, far := net.Pipe()
		defer func() { _ = near.Close() }()
		begin := time.Now()
		s.serve(t, far)
		if err := <-s.err; err == nil || time.Since(begin) != transport.PeerSilenceMax {
			t.Errorf("after %v: %v, want an error after %v", time.Since(begin), err, transport.PeerSilenceMax)
		}
	})
}

func TestIdleStreamStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := make(chan net.Conn, 4)
		seen := &counter{}
		a := start(t, transport.Config{Dial: pipes(far), Observer: seen})
		a.Send([]multiraft.Message{appendTo(2, 1, nil)})
		s := newSink(t)
		s.serve(t, <-far)
		<-s.got
		time.Sleep(time.Minute)
		synctest.Wait()
		a.Send([]multiraft.Message{appendTo(2, 2, nil)})
		if got := <-s.got; got.Message.GetIndex() != 2 || seen.disconnected.Load() != 0 || seen.pongs.Load() < 59 {
			t.Errorf("index=%d disconnected=%d pongs=%d", got.Message.GetIndex(), seen.disconnected.Load(), seen.pongs.Load())
		}
	})
}

func TestReconnectsWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := make(chan net.Conn, 4)
		dial := pipes(far)
		var attempts []time.Time
		begin := time.Now()
		seen := &counter{}
		a := start(t, transport.Config{Observer: seen, Dial: func(ctx context.Context, n cluster.NodeID) (net.Conn, error) {
			attempts = append(attempts, time.Now())
			if time.Since(begin) < 10*time.Second {
				return nil, errors.New("connection refused")
			}
			return dial(ctx, n)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var raft sync.WaitGroup
		defer raft.Wait()
		defer cancel()
		raft.Go(func() { // which keeps trying
			for ctx.Err() == nil {
				a.Send([]multiraft.Message{appendTo(2, 1, nil)}) //nolint:contextcheck // it waits for nothing
				time.Sleep(100 * time.Millisecond)
			}
		})
		s := newSink(t)
		s.serve(t, <-far)
		<-s.got
		if took := time.Since(begin); took > 13*time.Second {
			t.Errorf("connected after %v although the peer answers after 10 s", took)
		}
		if n := len(attempts); n < 8 || n > 20 {
			t.Errorf("%d attempts in 10 s, want a few with growing pauses", n)
		}
		if seen.dropped.Load() == 0 {
			t.Error("messages to a peer that is down were kept")
		}
	})
}

func TestBrokenStreamIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := make(chan net.Conn, 4)
		a := start(t, transport.Config{Dial: pipes(far)})
		s := newSink(t)
		for i := range uint64(5) {
			a.Send([]multiraft.Message{appendTo(2, i, nil)})
			conn := <-far
			s.serve(t, conn)
			if got := <-s.got; got.Message.GetIndex() != i {
				t.Fatalf("index=%d, want %d", got.Message.GetIndex(), i)
			}
			_ = conn.Close()
			synctest.Wait()
			time.Sleep(3 * time.Second)
		}
	})
}

func TestGarbageEndsTheStream(t *testing.T) {
	s := newSink(t)
	near, far := loopback(t)
	defer func() { _ = near.Close() }()
	s.serve(t, far)
	if _, err := near.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := <-s.err; err == nil {
		t.Error("garbage was taken")
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := transport.New(transport.Config{}); err == nil {
		t.Error("an empty config was taken")
	}
}
