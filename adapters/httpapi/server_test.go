package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// pipeListener connects clients by net.Pipe, so that time in these tests is fake and nothing really waits.
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
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial waits until the server accepts.
func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// served is a server that runs in a bubble of fake time.
type served struct {
	*rig
	listener *pipeListener
	client   *http.Client
	stop     context.CancelFunc
	result   chan error
}

// serve runs test against a server in fake time and stops the server afterwards.
func serve(t *testing.T, change func(*Config), test func(*testing.T, *served)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		s := &served{rig: newRig(t, change), listener: newPipeListener(), stop: stop, result: make(chan error, 1)}
		transport := &http.Transport{DialContext: s.listener.dial}
		s.client = &http.Client{Transport: transport}
		go func() {
			s.result <- s.Serve(ctx, s.listener)
			close(s.result)
		}()
		test(t, s)
		transport.CloseIdleConnections()
		stop()
		for range s.result { // until Serve has returned; what it returned is for the test to judge
		}
		synctest.Wait()
	})
}

// do returns the answer's status and text, or 0 and what went wrong.
func (s *served) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://node"+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer closeNow(t, resp.Body)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// raw opens a connection and sends text.
func (s *served) raw(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := s.listener.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSlowClientsAreCutOff(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		s.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
		f := func(what, text string, after time.Duration, answer string) {
			t.Helper()
			began := time.Now()
			conn := s.raw(t, text)
			defer closeNow(t, conn)
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if took := time.Since(began); took != after {
				t.Errorf("%s: cut off after %s, want %s", what, took, after)
			}
			if !strings.Contains(string(got), answer) {
				t.Errorf("%s: got %q, want …%s…", what, got, answer)
			}
		}
		const auth = "Host: node\r\nAuthorization: Bearer " + token + "\r\n"
		f("half a header", "GET /health HTTP/1.1\r\nHost:", readHeaderTimeout, "")
		f("half a body", "POST /metrics HTTP/1.1\r\n"+auth+"Content-Length: 50\r\nConnection: close\r\n\r\n{", ReadTimeoutMax, `408 Request Timeout`)
		f("half a chunk", "POST /metrics HTTP/1.1\r\n"+auth+"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{", ReadTimeoutMax, `"code":"request_timeout"`)
		f("nothing more to ask", "GET /health HTTP/1.1\r\n"+auth+"\r\n", idleTimeout, "200 OK")
	})
}

func TestClientsThatDoNotReadAreCutOff(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		s.health.EXPECT().Health(gomock.Any()).Return(healthy)
		conn := s.raw(t, "GET /health HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer "+token+"\r\n\r\n")
		defer closeNow(t, conn)
		<-time.After(writeTimeout + time.Second)
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("read %q, %v; want nothing: the answer was given up", got, err)
		}
	})
}

func TestQueriesGetTheirWholeDeadline(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		s.latest.EXPECT().Latest(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, _ inbound.LatestRequest) (metric.Sample, error) {
				<-ctx.Done()
				return metric.Sample{}, ctx.Err()
			})
		began := time.Now()
		status, text := s.do(t, "GET", "/metrics/a", "")
		if took := time.Since(began); status != http.StatusGatewayTimeout || took != QueryTimeoutMax {
			t.Errorf("after %s: %d %s; want 504 after %s", took, status, text, QueryTimeoutMax)
		}
	})
}

func TestWritesGetTheirWholeDeadlineAfterASlowBody(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		s.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, _ inbound.RecordRequest) (inbound.RecordReply, error) {
				<-ctx.Done()
				return inbound.RecordReply{}, ctx.Err()
			})
		const slow = ReadTimeoutMax - time.Second
		began := time.Now()
		conn := s.raw(t, "POST /metrics HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer "+token+
			"\r\nContent-Length: "+strconv.Itoa(len(oneSample))+"\r\n\r\n"+oneSample[:1])
		defer closeNow(t, conn)
		<-time.After(slow)
		if _, err := io.WriteString(conn, oneSample[1:]); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		closeNow(t, resp.Body)
		if took := time.Since(began); resp.StatusCode != http.StatusGatewayTimeout || took != slow+RecordTimeoutMax {
			t.Errorf("after %s: %d; want 504 after %s", took, resp.StatusCode, slow+RecordTimeoutMax)
		}
	})
}

func TestLongHeadersAreRefused(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		const slack = 4096 // net/http reads a little more than it is told to
		conn, err := s.listener.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer closeNow(t, conn)
		go func() {
			// The server may answer before it has read everything; then the rest fails to go out.
			_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nX: "+strings.Repeat("x", HeaderBytesMax+slack)+"\r\n\r\n")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		closeNow(t, resp.Body)
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d, want 431", resp.StatusCode)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	serve(t, func(c *Config) { c.ConnectionsMax = 2 }, func(t *testing.T, s *served) {
		t.Helper()
		s.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
		first, second := s.raw(t, "GET"), s.raw(t, "GET")
		defer closeNow(t, second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.listener.dial(ctx, "", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a third connection: %v, want it to wait", err)
		}
		closeNow(t, first)
		if status, text := s.do(t, "GET", "/health", ""); status != http.StatusOK {
			t.Errorf("after one was closed: %d %s", status, text)
		}
	})
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	const drainWait = 3 * time.Second
	serve(t, func(c *Config) { c.DrainWait = drainWait }, func(t *testing.T, s *served) {
		t.Helper()
		s.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
		entered, release := make(chan struct{}), make(chan struct{})
		s.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
				close(entered)
				<-release
				if err := ctx.Err(); err != nil {
					return inbound.RecordReply{}, err
				}
				return reply(ctx, req)
			})
		answered := make(chan int, 1)
		go func() {
			status, _ := s.do(t, "POST", "/metrics", oneSample)
			answered <- status
		}()
		<-entered
		if status, _ := s.do(t, "GET", "/readyz", ""); status != http.StatusOK {
			t.Errorf("/readyz before the stop: %d", status)
		}
		began := time.Now()
		s.stop()
		synctest.Wait()
		if status, text := s.do(t, "GET", "/readyz", ""); status != http.StatusServiceUnavailable || text != "stopping\n" {
			t.Errorf("/readyz while stopping: %d %s", status, text)
		}
		select {
		case <-s.listener.closed:
			t.Error("the listener is closed although load balancers may not yet know")
		default:
		}
		<-s.listener.closed
		if took := time.Since(began); took != drainWait {
			t.Errorf("the listener was closed after %s, want %s", took, drainWait)
		}
		close(release)
		if status := <-answered; status != http.StatusCreated {
			t.Errorf("the request in flight got %d", status)
		}
		if err := <-s.result; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestStopClosesUnusedConnections: a client keeps a connection in reserve on which it has never asked anything.
func TestStopClosesUnusedConnections(t *testing.T) {
	serve(t, func(c *Config) { c.DrainWait = time.Second }, func(t *testing.T, s *served) {
		t.Helper()
		conn, err := s.listener.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer closeNow(t, conn)
		synctest.Wait()
		began := time.Now()
		s.stop()
		if err := <-s.result; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(began); took > time.Second+unusedAge {
			t.Errorf("Serve returned after %s, want it not to wait for a connection that nobody uses", took)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection: %v, want it closed", err)
		}
	})
}

func TestStopCutsOffWhatDoesNotFinish(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		entered := make(chan struct{})
		var cause error
		s.latest.EXPECT().Latest(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, _ inbound.LatestRequest) (metric.Sample, error) {
				close(entered)
				<-ctx.Done()
				cause = context.Cause(ctx)
				return metric.Sample{}, ctx.Err()
			})
		go s.do(t, "GET", "/metrics/a", "")
		<-entered
		began := time.Now()
		s.stop()
		err := <-s.result
		if took := time.Since(began); took < ShutdownTimeoutDefault || took > ShutdownTimeoutDefault+time.Second {
			t.Errorf("Serve returned after %s, want %s", took, ShutdownTimeoutDefault)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(cause, errServerClosed) {
			t.Errorf("Serve: %v; the request's context: %v", err, cause)
		}
	})
}

func TestStopDoesNotWaitForeverForADefect(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		entered, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		s.health.EXPECT().Health(gomock.Any()).DoAndReturn(func(context.Context) inbound.Health {
			close(entered)
			<-release
			return healthy
		})
		go s.do(t, "GET", "/health", "")
		<-entered
		s.stop()
		if err := <-s.result; err == nil || !strings.Contains(err.Error(), "did not heed") {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestServeReportsABrokenListener(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		closeNow(t, s.listener)
		if err := <-s.result; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
		}
	})
}

func TestClientsThatGoAwayCancel(t *testing.T) {
	serve(t, nil, func(t *testing.T, s *served) {
		t.Helper()
		entered, canceled := make(chan struct{}), make(chan error, 1)
		s.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, _ inbound.RecordRequest) (inbound.RecordReply, error) {
				close(entered)
				<-ctx.Done()
				canceled <- ctx.Err()
				return inbound.RecordReply{}, ctx.Err()
			})
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/metrics", strings.NewReader(oneSample))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		gone := make(chan error, 1)
		go func() {
			resp, err := s.client.Do(r)
			if err == nil {
				closeNow(t, resp.Body)
			}
			gone <- err
		}()
		<-entered
		cancel()
		if err := <-canceled; !errors.Is(err, context.Canceled) {
			t.Errorf("the write's context ended with %v", err)
		}
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the client got %v", err)
		}
		synctest.Wait()
		if log := s.log.String(); !strings.Contains(log, `"status":499`) {
			t.Errorf("logged %s", log)
		}
	})
}

func TestNodeLinkIsServedWithoutAToken(t *testing.T) {
	link := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if _, err := io.WriteString(conn, "linked"); err != nil {
			t.Error(err)
		}
		closeNow(t, conn)
	})
	serve(t, func(c *Config) { c.NodeLink = link }, func(t *testing.T, s *served) {
		t.Helper()
		conn := s.raw(t, "GET "+NodeLinkPath+" HTTP/1.1\r\nHost: node\r\n\r\n")
		defer closeNow(t, conn)
		if got, err := io.ReadAll(conn); string(got) != "linked" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestLinksTakeNoRoomFromClients(t *testing.T) {
	held := make(chan net.Conn, 3)
	link := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		held <- conn
	})
	serve(t, func(c *Config) { c.NodeLink, c.ConnectionsMax = link, 1 }, func(t *testing.T, s *served) {
		t.Helper()
		s.health.EXPECT().Health(gomock.Any()).AnyTimes().Return(healthy)
		for range cap(held) {
			defer closeNow(t, s.raw(t, "GET "+NodeLinkPath+" HTTP/1.1\r\nHost: node\r\n\r\n"))
		}
		var links []net.Conn
		for range cap(held) {
			links = append(links, <-held)
		}
		if _, ok := links[0].(interface{ NetConn() net.Conn }); !ok {
			t.Errorf("a %T hides its socket", links[0])
		}
		// Links that end give back nothing that they did not have.
		for _, conn := range links {
			closeNow(t, conn)
		}
		client := s.raw(t, "GET")
		defer closeNow(t, client)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.listener.dial(ctx, "", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second client beside the one allowed: %v, want it to wait", err)
		}
	})
}
