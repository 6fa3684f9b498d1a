package link

import (
	"context"
	"net"
	"sync"
)

// Listener is a net.Listener of the authenticated connections of one purpose, for a server that
// wants to accept its own.
type Listener struct {
	conns  chan *Conn
	closed chan struct{}
	once   sync.Once
}

// NewListener returns an open listener.
func NewListener() *Listener { return &Listener{conns: make(chan *Conn), closed: make(chan struct{})} }

// Serve is the Acceptor that feeds the listener: it returns once the connection was closed.
func (l *Listener) Serve(ctx context.Context, conn *Conn) {
	select {
	case l.conns <- conn:
	case <-l.closed:
		_ = conn.Close() // nobody will use it
		return
	case <-ctx.Done():
		_ = conn.Close() // nobody will use it
		return
	}
	select {
	case <-conn.Closed():
	case <-ctx.Done():
		_ = conn.Close() // whoever accepted it notices
	}
}

// Accept implements net.Listener; what it returns is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Accepted connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "raftmetrics-link" }
func (addr) String() string  { return Path }
