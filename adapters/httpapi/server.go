// Package httpapi is the client API: JSON over HTTP, from requests to the inbound ports and back.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log" //nolint:depguard // net/http takes its error log in no other form
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/lineprotocol"
	"github.com/raftmetrics/raftmetrics/adapters/httpapi/samplejson"
	"github.com/raftmetrics/raftmetrics/adapters/httpapi/seriescache"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Server answers the client API. It is an http.Handler; Serve runs it on a listener.
type Server struct {
	config    Config
	ports     Ports
	tokens    tokens
	router    *mux.Router
	routes    map[string]route
	requests  inFlight
	bodyBytes *semaphore.Weighted
	writes    sync.Pool // of *writeScratch
	ids       requestIDs
	stopping  atomic.Bool

	lineDecoders sync.Pool // of *lineprotocol.Decoder
}

var _ http.Handler = (*Server)(nil)

// New checks config and returns a server that is not yet serving. Every port is required.
func New(config Config, ports Ports) (*Server, error) {
	if err := config.fill(); err != nil {
		return nil, err
	}
	if !ports.complete() {
		return nil, errors.New("http api: a port is missing")
	}
	cache, err := seriescache.New(seriescache.Config{})
	if err != nil {
		return nil, err
	}
	s := &Server{
		config:    config,
		ports:     ports,
		tokens:    newTokens(config.Tokens),
		bodyBytes: semaphore.NewWeighted(config.BodyBytesInFlightMax),
		ids:       newRequestIDs(),
	}
	groups, err := lineprotocol.NewCache(seriescache.Config{})
	if err != nil {
		return nil, err
	}
	s.lineDecoders.New = func() any { return lineprotocol.NewDecoder(groups) }
	s.writes.New = func() any { return &writeScratch{decoder: samplejson.NewDecoder(cache)} }
	s.route()
	return s, nil
}

// Serve answers requests on listener, which it closes, until ctx ends. Then /readyz turns 503, new
// connections are taken for Config.DrainWait more, and requests in flight have Config.ShutdownTimeout to
// finish before they are cut off, which is an error. It returns after its last goroutine. Call it once.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	requests, cancelRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelRequests(errServerClosed)
	limited := limitConnections(listener, s.config.ConnectionsMax)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       ReadTimeoutMax,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    HeaderBytesMax,
		ErrorLog:          log.New(serverLog{s.config.Logger}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnState:         limited.connState,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(limited) }()
	select {
	case err := <-served:
		s.stopping.Store(true)
		return errors.Join(fmt.Errorf("serve http: %w", err), s.shutdown(ctx, server, cancelRequests))
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	s.drain(served)
	limited.closeUnused()
	err := s.shutdown(ctx, server, cancelRequests)
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve http: %w", serveErr))
	}
	return err
}

var errServerClosed = fault.New(fault.Unavailable, "stopping", "the server is stopping; try another node")

// drain lets load balancers see that the server is not ready any more.
func (s *Server) drain(served chan error) {
	if s.config.DrainWait == 0 {
		return
	}
	timer := time.NewTimer(s.config.DrainWait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case err := <-served:
		served <- err
	}
}

// shutdown waits for the requests in flight, within its bound, and cuts off what is left.
func (s *Server) shutdown(ctx context.Context, server *http.Server, cancelRequests context.CancelCauseFunc) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.ShutdownTimeout)
	defer cancel()
	err := server.Shutdown(bounded)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("shut down http: requests were cut off: %w", err)
	cancelRequests(errServerClosed)
	err = errors.Join(err, server.Close())
	// Use cases return soon after their context ends, so this wait is short unless one is broken.
	last := time.NewTimer(s.config.ShutdownTimeout)
	defer last.Stop()
	select {
	case <-s.requests.idle():
	case <-last.C:
		err = errors.Join(err, errors.New("shut down http: a request did not heed its cancellation"))
	}
	return err
}

// serverLog passes on what net/http itself has to say.
type serverLog struct{ logger zerolog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	l.logger.Warn().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}
