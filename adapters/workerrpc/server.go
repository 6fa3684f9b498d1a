// Package workerrpc lets nodes of a cluster ask each other: unary calls with protobuf over HTTP/2, and
// commands in pipes, on the authenticated connections of package link.
package workerrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log" //nolint:depguard // net/http takes its error log in no other form
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Bounds of calls. A node that stopped is noticed within PeerSilenceMax, by HTTP/2 pings.
const (
	PeerSilenceMax = pingAfter + pingMax

	pingAfter = time.Second
	pingMax   = 1500 * time.Millisecond
	// callMax bounds a call that came without a deadline.
	callMax = 30 * time.Second
	// requestBytesMax bounds a request: mostly a command.
	requestBytesMax = 48 << 20
	// responseBytesMax bounds a response: mostly a table of aggregate.CellsMax cells.
	responseBytesMax = 128 << 20
	// streamsMax bounds the calls that one connection has under way at the server.
	streamsMax = 512
	// stopMax bounds the wait for calls under way when a server stops.
	stopMax = 3 * time.Second
)

func http2Config() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: streamsMax, SendPingTimeout: pingAfter, PingTimeout: pingMax, WriteByteTimeout: PeerSilenceMax,
		MaxReadFrameSize: 1 << 20, MaxReceiveBufferPerConnection: 4<<20 - 1, MaxReceiveBufferPerStream: 4<<20 - 1,
	}
}

func unencryptedHTTP2() *http.Protocols {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	return p
}

// ServerConfig is what a Server answers from: what is on this node, without looking further. Calls that
// need one of the members that may be nil get Unavailable (not_served) while it is.
type ServerConfig struct {
	Proposer outbound.Proposer
	Querier  inbound.ShardQuerier
	Shards   outbound.ShardObserver
	Reports  inbound.ReportTaker
	Meta     outbound.MetaProposer   // may be nil
	Heard    inbound.ReportGiver     // may be nil
	Flusher  inbound.NodeFlusher     // may be nil
	Digester inbound.ReplicaDigester // may be nil
	Log      zerolog.Logger
}

// Server answers the calls of other nodes.
type Server struct {
	config   ServerConfig
	listener *link.Listener
	http     *http.Server
	pipes    openPipes
}

var _ workerpb.WorkerHandler = (*Server)(nil)

// peerKey is where a request's context has who calls.
type peerKey struct{}

// NewServer returns a server; Run serves.
func NewServer(config ServerConfig) *Server {
	s := &Server{config: config, listener: link.NewListener()}
	s.pipes.stopping, s.pipes.idle = make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle(workerpb.NewWorkerHandler(s,
		connect.WithReadMaxBytes(requestBytesMax), connect.WithSendMaxBytes(responseBytesMax),
		connect.WithCompression("gzip", nil, nil), connect.WithRecover(s.recovered)))
	s.http = &http.Server{
		Handler: mux, Protocols: unencryptedHTTP2(), HTTP2: http2Config(), ReadHeaderTimeout: PeerSilenceMax,
		ErrorLog: log.New(serverLog{config.Log}, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*link.Conn); ok {
				ctx = context.WithValue(ctx, peerKey{}, c.Peer())
			}
			return ctx
		},
	}
	return s
}

// Accept is the link acceptor for link.RPC.
func (s *Server) Accept(ctx context.Context, conn *link.Conn) { s.listener.Serve(ctx, conn) }

// Run serves until ctx ends, then lets calls under way finish for a while, and returns after the last.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve calls of nodes: %w", err)
	case <-ctx.Done():
	}
	s.pipes.stop()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
	defer cancel()
	if err := s.http.Shutdown(stopping); err != nil {
		_ = s.http.Close() // what is still under way is cut off
	}
	select {
	case <-s.pipes.idle:
	case <-stopping.Done(): // what is still under way ends with its connection
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve calls of nodes: %w", err)
	}
	return nil
}

var errPanic = errors.New("panic")

func (s *Server) recovered(_ context.Context, spec connect.Spec, _ http.Header, what any) error {
	s.config.Log.Error().Str("procedure", spec.Procedure).Any("panic", what).Stack().Msg("a call of another node failed badly")
	return encodeFault(errPanic)
}

// serverLog takes what net/http logs of itself: broken connections, mostly.
type serverLog struct{ to zerolog.Logger }

// Write implements io.Writer.
func (l serverLog) Write(line []byte) (int, error) {
	l.to.Debug().Str("said", string(bytes.TrimSpace(line))).Msg("a connection of another node ended badly")
	return len(line), nil
}

// bounded gives a call without a deadline one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callMax)
}

// Partials implements workerpb.WorkerHandler.
func (s *Server) Partials(ctx context.Context, req *workerpb.PartialsRequest) (*workerpb.PartialsResponse, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	read, err := decodeRead(req.GetRead())
	if err != nil {
		return nil, encodeFault(err)
	}
	q, err := decodeQuery(req.GetQuery())
	if err != nil {
		return nil, encodeFault(err)
	}
	table, err := s.config.Querier.Partials(ctx, read, q)
	if err != nil {
		return nil, encodeFault(err)
	}
	return &workerpb.PartialsResponse{Table: encodeTable(table)}, nil
}

// Latest implements workerpb.WorkerHandler.
func (s *Server) Latest(ctx context.Context, req *workerpb.LatestRequest) (*workerpb.LatestResponse, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	read, err := decodeRead(req.GetRead())
	if err != nil {
		return nil, encodeFault(err)
	}
	name, err := metric.NewName(req.GetMetric())
	if err != nil {
		return nil, encodeFault(err)
	}
	matchers, err := decodeMatchers(req.GetMatchers())
	if err != nil {
		return nil, encodeFault(err)
	}
	sample, found, err := s.config.Querier.Latest(ctx, read, name, matchers)
	if err != nil {
		return nil, encodeFault(err)
	}
	response := &workerpb.LatestResponse{}
	if found {
		response.Sample = encodeSample(sample)
	}
	return response, nil
}

// ListSeries implements workerpb.WorkerHandler.
func (s *Server) ListSeries(ctx context.Context, req *workerpb.ListSeriesRequest) (*workerpb.ListSeriesResponse, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	read, err := decodeRead(req.GetRead())
	if err != nil {
		return nil, encodeFault(err)
	}
	listing, err := decodeListing(req)
	if err != nil {
		return nil, encodeFault(err)
	}
	items, err := s.config.Querier.ListSeries(ctx, read, listing)
	if err != nil {
		return nil, encodeFault(err)
	}
	return &workerpb.ListSeriesResponse{Items: items}, nil
}
