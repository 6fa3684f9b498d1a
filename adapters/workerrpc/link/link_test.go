package link_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
)

func TestLinkCarriesBytesAndIdentity(t *testing.T) {
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
	c, err := dial(t, &link.Dialer{Keyring: ring(t, "client", 9, key(1))}, s, "server")
	if err != nil {
		t.Fatal(err)
	}
	served := <-s.conns
	if got := c.Peer(); got.Node != node(t, "server", 7) || got.ClusterID != clusterID || got.Purpose != link.Raft {
		t.Errorf("client's peer=%+v", got)
	}
	if got := served.Peer(); got.Node != node(t, "client", 9) || got.ClusterID != clusterID || got.Purpose != link.Raft {
		t.Errorf("server's peer=%+v", got)
	}
	if incarnation, ok := s.Living(node(t, "client", 1).ID()); !ok || incarnation != 9 {
		t.Errorf("Living=%v %v, want 9 true", incarnation, ok)
	}
	for _, way := range [][2]net.Conn{{c, served}, {served, c}} {
		if _, err := way[0].Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "ping" {
			t.Fatalf("read %q, %v", got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	other := loneRing(t, "client", 9)
	if err := other.Join("another", key(1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		server, client *link.Keyring
		expects        string
		want           link.Reason
	}{
		{"other key", ring(t, "server", 7, key(1)), ring(t, "client", 9, key(2)), "server", link.WrongKey},
		{"other cluster", ring(t, "server", 7, key(1)), other, "server", link.WrongCluster},
		{"another node answers", ring(t, "server", 7, key(1)), ring(t, "client", 9, key(1)), "expected", link.WrongNode},
		{"server without cluster", loneRing(t, "server", 7), ring(t, "client", 9, key(1)), "server", link.NotAdopted},
		{"client without cluster", ring(t, "server", 7, key(1)), loneRing(t, "client", 9), "server", link.NotAdopted},
		{"server's own id", ring(t, "server", 7, key(1)), ring(t, "server", 9, key(1)), "server", link.DuplicateNode},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, link.ServerOptions{Keyring: c.server}, nil)
			_, err := dial(t, &link.Dialer{Keyring: c.client}, s, c.expects)
			wantReason(t, err, c.want)
			if len(s.conns) != 0 {
				t.Error("the acceptor got a refused connection")
			}
		})
	}
}

func TestSecondLifeOfLivingNodeIsRefused(t *testing.T) {
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
	first, err := dial(t, &link.Dialer{Keyring: ring(t, "client", 1, key(1))}, s, "server")
	if err != nil {
		t.Fatal(err)
	}
	second := &link.Dialer{Keyring: ring(t, "client", 2, key(1))}
	_, err = dial(t, second, s, "server")
	wantReason(t, err, link.DuplicateNode)
	// Once the first one's connection is gone the second life may come.
	served := <-s.conns
	_ = first.Close()
	if _, err := served.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("read=%v, want EOF", err)
	}
	_ = served.Close()
	for {
		if _, living := s.Living(node(t, "client", 1).ID()); !living {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the first life is still counted")
		}
		runtime.Gosched()
	}
	if _, err := dial(t, second, s, "server"); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsOfOneNodeAreBounded(t *testing.T) {
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
	d := &link.Dialer{Keyring: ring(t, "client", 1, key(1))}
	for range link.ConnsPerNodeMax {
		if _, err := dial(t, d, s, "server"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := dial(t, d, s, "server")
	wantReason(t, err, link.Busy)
}

func TestAdmitDecidesAfterAuthentication(t *testing.T) {
	asked := 0
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1)), Admit: func(p link.Peer) error {
		asked++
		return link.Refuse(link.DuplicateNode, "%s was replaced", p.Node.ID())
	}}, nil)
	_, err := dial(t, &link.Dialer{Keyring: ring(t, "client", 1, key(2))}, s, "server")
	wantReason(t, err, link.WrongKey)
	_, err = dial(t, &link.Dialer{Keyring: ring(t, "client", 1, key(1))}, s, "server")
	wantReason(t, err, link.DuplicateNode)
	if asked != 1 || !strings.Contains(err.Error(), "client was replaced") {
		t.Errorf("Admit asked %d times, err=%v", asked, err)
	}
}

func TestPurposeNobodyServes(t *testing.T) {
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
	d := &link.Dialer{Keyring: ring(t, "client", 1, key(1))}
	_, err := d.Dial(t.Context(), s.address, node(t, "server", 1).ID(), link.Snapshot)
	wantReason(t, err, link.NotServed)
}

func TestOtherServersAreTold(t *testing.T) {
	h := httptest.NewServer(http.NotFoundHandler())
	defer h.Close()
	d := &link.Dialer{Keyring: ring(t, "client", 1, key(1))}
	_, err := d.Dial(t.Context(), h.Listener.Addr().String(), node(t, "server", 1).ID(), link.Raft)
	wantReason(t, err, link.NotANode)
}

func TestPlainRequestIsRefused(t *testing.T) {
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
	resp, err := http.Get("http://" + s.address + link.Path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status=%d, want 426", resp.StatusCode)
	}
}

// recorder keeps what went over a connection.
type recorder struct {
	net.Conn
	mu        sync.Mutex
	sent, got bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.Conn.Write(b)
	r.sent.Write(b[:n])
	return n, err
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got.Write(b[:n])
	return n, err
}

func recording(rec **recorder) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		*rec = &recorder{Conn: c}
		return *rec, err
	}
}

func TestReplayedHandshakeIsRefused(t *testing.T) {
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
	var rec *recorder
	d := &link.Dialer{Keyring: ring(t, "client", 1, key(1)), DialContext: recording(&rec)}
	c, err := dial(t, d, s, "server")
	if err != nil {
		t.Fatal(err)
	}
	_ = (<-s.conns).Close()
	_ = c.Close()
	for _, secret := range [][]byte{key(1), []byte(base64.StdEncoding.EncodeToString(key(1)))} {
		if bytes.Contains(rec.sent.Bytes(), secret) || bytes.Contains(rec.got.Bytes(), secret) {
			t.Error("the cluster's key crossed the wire")
		}
	}

	raw, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	request, rest, ok := bytes.Cut(rec.sent.Bytes(), []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("recorded %q", rec.sent.Bytes())
	}
	mustWrite(t, raw, append(bytes.Clone(request), "\r\n\r\n"...))
	awaitEnd(t, raw, "\r\n\r\n")
	mustWrite(t, raw, rest)
	answer, _ := io.ReadAll(raw)
	if !bytes.Contains(answer, []byte(link.WrongKey)) {
		t.Errorf("answer to a replay=%q, want %s", answer, link.WrongKey)
	}
	if len(s.conns) != 0 {
		t.Error("the acceptor got a replayed connection")
	}
}

func mustWrite(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func awaitEnd(t *testing.T, r io.Reader, end string) {
	t.Helper()
	var got []byte
	for b := make([]byte, 1); !bytes.HasSuffix(got, []byte(end)); got = append(got, b...) {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
	}
}

// pipeListener serves in-memory connections, whose deadlines go by the fake clock of a test bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.IPAddr{} }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	l.conns <- far
	return near, nil
}

func TestSilentHandshakesEndAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serveOn(t, l, link.ServerOptions{Keyring: ring(t, "server", 7, key(1))}, nil)
		begin := time.Now()
		silent := make([]net.Conn, link.HandshakesMax)
		for i := range silent {
			silent[i], _ = l.dial(t.Context(), "", "")
			mustWrite(t, silent[i], []byte("GET "+link.Path+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+link.Protocol+"\r\n\r\n"))
			awaitEnd(t, silent[i], "\r\n\r\n")
		}
		d := &link.Dialer{Keyring: ring(t, "client", 1, key(1)), DialContext: l.dial}
		_, err := dial(t, d, s, "server")
		wantReason(t, err, link.Busy)
		for _, c := range silent {
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
		if took := time.Since(begin); took > link.HandshakeMax {
			t.Errorf("silent handshakes ended after %v, want at most %v", took, link.HandshakeMax)
		}
		synctest.Wait()
		if _, err := dial(t, d, s, "server"); err != nil {
			t.Fatalf("after the silent ones ended: %v", err)
		}
	})
}

func TestSilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var far net.Conn
		d := &link.Dialer{Keyring: ring(t, "client", 1, key(1)), DialContext: func(context.Context, string, string) (net.Conn, error) {
			var near net.Conn
			near, far = net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return near, nil
		}}
		begin := time.Now()
		_, err := d.Dial(t.Context(), "server:1", node(t, "server", 1).ID(), link.Raft)
		if err == nil || time.Since(begin) > link.DialMax+link.HandshakeMax {
			t.Errorf("after %v: err=%v", time.Since(begin), err)
		}
		_ = far.Close()
	})
}

func TestListenerAcceptsLinks(t *testing.T) {
	l := link.NewListener()
	s := serve(t, link.ServerOptions{
		Keyring:   ring(t, "server", 7, key(1)),
		Acceptors: map[link.Purpose]func(context.Context, *link.Conn){link.RPC: l.Serve},
	}, nil)
	d := &link.Dialer{Keyring: ring(t, "client", 1, key(1))}
	c, err := d.Dial(t.Context(), s.address, node(t, "server", 1).ID(), link.RPC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	served, ok := accepted.(*link.Conn)
	if !ok || served.Peer().Node.ID().String() != "client" {
		t.Fatalf("accepted %+v", accepted)
	}
	_ = served.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after the server closed=%v, want EOF", err)
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close=%v", err)
	}
	late, err := d.Dial(t.Context(), s.address, node(t, "server", 1).ID(), link.RPC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Close() }()
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("a connection to a closed listener stays open")
	}
}
