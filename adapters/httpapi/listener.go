package httpapi

import (
	"net"
	"net/http"
	"sync"
)

// limitedListener accepts a connection only while fewer than a limit are open, those not counted that
// have become links between nodes.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limitConnections(listener net.Listener, connectionsMax int) *limitedListener {
	return &limitedListener{Listener: listener, slots: make(chan struct{}, connectionsMax), closed: make(chan struct{})}
}

// Accept waits for a slot, then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, release: func() { <-l.slots }}, nil
}

// Close ends waiting in Accept, too.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close gives the slot back, unless that has happened.
func (c *limitedConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}

// NetConn returns what is counted, for whoever sets options of the socket.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }

// uncountLinks is the server's ConnState. Links stay open for days and have bounds of their own; while
// they were counted, as many would leave no room for clients, and clients none for them.
func uncountLinks(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*limitedConn); ok && state == http.StateHijacked {
		c.once.Do(c.release)
	}
}
