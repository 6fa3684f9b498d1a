package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// ServerOptions says what a Server is built of.
type ServerOptions struct {
	Keyring *Keyring
	Log     zerolog.Logger
	// Acceptors take authenticated connections, by purpose. An acceptor owns its connection until it
	// returns and must return soon after ctx ends; the connection is closed then.
	Acceptors map[Purpose]func(ctx context.Context, conn *Conn)
	// Admit, when not nil, decides whether an authenticated peer is wanted, by what the cluster knows
	// of its nodes: a *RefusalError tells the other end why not. It returns at once.
	Admit func(Peer) error
	// Adoption, when not nil, lets a node without a cluster be adopted.
	Adoption *AdoptionOptions
	// RequireTLS refuses connections that did not present a client certificate that was verified.
	RequireTLS bool
}

// Server accepts links: an http.Handler to be mounted at Path outside of any middleware that limits
// or buffers requests. Close it after the HTTP server has stopped listening.
type Server struct {
	options    ServerOptions
	log        zerolog.Logger // sampled: strangers decide how often it is used
	handshakes chan struct{}
	adopting   sync.Mutex // one adoption at a time

	ctx    context.Context //nolint:containedctx // the lifetime of connections that outlive their request
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     struct {
		sync.Mutex
		closed bool
		conns  map[net.Conn]struct{}
		living map[cluster.NodeID]*living
	}
}

// living counts the open connections of one life of a node.
type living struct {
	incarnation cluster.Incarnation
	conns       int
}

// NewServer returns a server without connections.
func NewServer(options ServerOptions) *Server {
	s := &Server{
		options:    options,
		log:        options.Log.Sample(&zerolog.BurstSampler{Burst: 20, Period: 10 * time.Second}),
		handshakes: make(chan struct{}, HandshakesMax),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.conns = map[net.Conn]struct{}{}
	s.mu.living = map[cluster.NodeID]*living{}
	return s
}

// Close closes every connection and waits until the acceptors have returned.
func (s *Server) Close() error {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.Disconnect()
	s.cancel()
	s.done.Wait()
	return nil
}

// Disconnect closes every connection, handshakes under way included, and goes on accepting new ones. It
// does not wait for the acceptors to return.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		_ = c.Close() // it is given up
	}
}

// ServeHTTP upgrades a request to a link and serves it to its end.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), Protocol) {
		w.Header().Set("Upgrade", Protocol)
		refuseHTTP(w, http.StatusUpgradeRequired, Refuse(Malformed, "this path is for other nodes of the cluster"))
		return
	}
	if s.options.RequireTLS && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		refuseHTTP(w, http.StatusForbidden, Refuse(TLSRequired, "this node takes only mutual TLS; set TLS_CERT_FILE, TLS_KEY_FILE and TLS_CA_FILE on the other"))
		return
	}
	select {
	case s.handshakes <- struct{}{}:
	default:
		refuseHTTP(w, http.StatusServiceUnavailable, Refuse(Busy, "%d handshakes are under way; try again", HandshakesMax))
		return
	}
	var release sync.Once
	free := func() { release.Do(func() { <-s.handshakes }) }
	defer free()
	binding, err := tlsBinding(r.TLS)
	if err != nil {
		refuseHTTP(w, http.StatusForbidden, Refuse(TLSRequired, "the TLS channel cannot be bound; use TLS 1.3"))
		return
	}
	raw, err := s.hijack(w)
	if err != nil {
		s.log.Warn().Err(err).Str("remote", r.RemoteAddr).Msg("cannot take over a node's connection")
		return
	}
	defer s.forget(raw)
	s.serve(raw, binding, free) //nolint:contextcheck // the connection outlives its request
}

// hijack takes the connection over, within the handshake's time, and owns it.
func (s *Server) hijack(w http.ResponseWriter) (net.Conn, error) {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuseHTTP(w, http.StatusInternalServerError, Refuse(Malformed, "this connection cannot be upgraded; use HTTP/1.1"))
		return nil, fmt.Errorf("hijack: %w", err)
	}
	if err := errors.Join(raw.SetDeadline(time.Now().Add(HandshakeMax)), s.remember(raw)); err != nil {
		_ = raw.Close() // it is given up
		return nil, err
	}
	if buffered.Reader.Buffered() > 0 {
		s.forget(raw)
		return nil, Refuse(Malformed, "the other end spoke before it was asked")
	}
	setKeepAlive(raw)
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"
	if _, err := raw.Write([]byte(switching)); err != nil {
		s.forget(raw)
		return nil, fmt.Errorf("answer upgrade: %w", err)
	}
	return raw, nil
}

// serve runs the handshake and hands the connection to its acceptor. It calls handshaken once.
func (s *Server) serve(raw net.Conn, binding []byte, handshaken func()) {
	x := &exchange{rw: raw, binding: binding}
	peer, err := s.handshake(x)
	if err != nil {
		x.tell(err)
		s.log.Warn().Err(err).Stringer("remote", raw.RemoteAddr()).Str("node", peer.Node.ID().String()).
			Str("reason", string(ReasonOf(err))).Msg("refused a node's connection")
		return
	}
	if peer.Purpose == adoption {
		return
	}
	defer s.depart(peer)
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return
	}
	handshaken()
	s.options.Acceptors[peer.Purpose](s.ctx, newConn(raw, peer))
}

func (s *Server) handshake(x *exchange) (Peer, error) {
	self, member := s.options.Keyring.read()
	h, err := x.listen(func(h hello) error {
		switch {
		case h.Purpose == adoption:
			return s.checkAdoption()
		case s.options.Acceptors[h.Purpose] == nil:
			return Refuse(NotServed, "this node does not serve connections of that purpose")
		case member == nil:
			return Refuse(NotAdopted, "this node belongs to no cluster yet")
		case h.ClusterID != member.clusterID:
			return Refuse(WrongCluster, "this node belongs to another cluster than %.*q", clusterIDBytesMax, h.ClusterID)
		}
		return nil
	})
	if err != nil {
		return Peer{}, err
	}
	if h.Purpose == adoption {
		return s.adopt(x, h)
	}
	arrived := false
	peer, err := x.accept(h, self, member, func(p Peer) error {
		if s.options.Admit != nil {
			if err := s.options.Admit(p); err != nil {
				return err
			}
		}
		err := s.arrive(self, p)
		arrived = err == nil
		return err
	})
	if err != nil && arrived {
		s.depart(peer)
	}
	return peer, err
}

// arrive counts a peer's connection and refuses a second life of a node beside a living one.
func (s *Server) arrive(self cluster.Node, p Peer) error {
	id, incarnation := p.Node.ID(), p.Node.Incarnation()
	if id == self.ID() && incarnation != self.Incarnation() {
		return Refuse(DuplicateNode, "NODE_ID %s is this node's own, at %s; give the other one another", id, self.Address())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.mu.living[id]
	switch {
	case l == nil:
		s.mu.living[id] = &living{incarnation: incarnation, conns: 1}
		return nil
	case l.incarnation != incarnation:
		return Refuse(DuplicateNode, "NODE_ID %s is in use by another living node; give each node its own", id)
	case l.conns >= ConnsPerNodeMax:
		return Refuse(Busy, "node %s has %d connections open here, the most allowed", id, ConnsPerNodeMax)
	}
	l.conns++
	return nil
}

func (s *Server) depart(p Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.mu.living[p.Node.ID()]
	if l.conns--; l.conns == 0 {
		delete(s.mu.living, p.Node.ID())
	}
}

// Living returns the incarnation of a node that has a connection open to this one, and whether it has.
func (s *Server) Living(id cluster.NodeID) (cluster.Incarnation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.mu.living[id]
	if l == nil {
		return 0, false
	}
	return l.incarnation, true
}

// remember makes Close responsible for raw.
func (s *Server) remember(raw net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return Refuse(Stopping, "this node is shutting down")
	}
	s.mu.conns[raw] = struct{}{}
	s.done.Add(1)
	return nil
}

func (s *Server) forget(raw net.Conn) {
	_ = raw.Close() // mostly closed already
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, raw)
	s.done.Done()
}
