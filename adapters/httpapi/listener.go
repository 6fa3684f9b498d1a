package httpapi

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// unusedAge is how long a connection of which nothing was asked must have been open for a stopping server
// to close it as it closes idle ones. On a younger one a request may be under way, and net/http waits 5 s.
const unusedAge = 500 * time.Millisecond

// limitedListener accepts a connection only while fewer than a limit are open, those not counted that
// have become links between nodes. It knows which ones nothing was asked on yet.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
	mu     struct {
		sync.Mutex
		unused map[net.Conn]time.Time // since when
	}
}

func limitConnections(listener net.Listener, connectionsMax int) *limitedListener {
	l := &limitedListener{Listener: listener, slots: make(chan struct{}, connectionsMax), closed: make(chan struct{})}
	l.mu.unused = map[net.Conn]time.Time{}
	return l
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

// connState is the server's ConnState. Links stay open for days and have bounds of their own; while they
// were counted, as many would leave no room for clients, and clients none for them.
func (l *limitedListener) connState(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*limitedConn); ok && state == http.StateHijacked {
		c.once.Do(c.release)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if state == http.StateNew {
		l.mu.unused[conn] = time.Now()
	} else {
		delete(l.mu.unused, conn)
	}
}

// closeUnused closes the connections on which nothing was asked for unusedAge: clients keep some in reserve.
func (l *limitedListener) closeUnused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn, since := range l.mu.unused {
		if time.Since(since) >= unusedAge {
			_ = conn.Close() // nobody waits for anything on it
		}
	}
}
