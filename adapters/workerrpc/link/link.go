// Package link makes authenticated connections between nodes over the port of the client API: an
// HTTP/1.1 upgrade, then a mutual proof that both ends hold the cluster's key.
package link

import (
	"net"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// Path is where a Server is mounted.
const Path = "/internal/link"

// Protocol is the value of the Upgrade header. Its number changes when nodes that speak the old form
// could not even be told so.
const Protocol = "raftmetrics-link/1"

// Version numbers the messages of the handshake.
const Version = 1

// Bounds of a handshake.
const (
	// HandshakeMax bounds the time from the first byte to the verdict, on both sides.
	HandshakeMax = 2 * time.Second
	// DialMax bounds resolving a name, connecting and TLS, before the handshake.
	DialMax = 2 * time.Second
	// HandshakesMax bounds the handshakes that one server has under way, none of them trusted yet.
	HandshakesMax = 64
	// ConnsPerNodeMax bounds the open connections that one node may have to a server.
	ConnsPerNodeMax = 64
	// messageBytesMax bounds one message of the handshake.
	messageBytesMax = 8 << 10
)

// TCP keepalive notices, within KeepAliveIdle + KeepAliveCount·KeepAliveInterval, a peer whose machine
// is gone. A peer whose process is stopped still answers it: that is for whoever uses the connection
// to notice, by messages of its own.
const (
	KeepAliveIdle     = 5 * time.Second
	KeepAliveInterval = 2 * time.Second
	KeepAliveCount    = 3
)

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: KeepAliveIdle, Interval: KeepAliveInterval, Count: KeepAliveCount}
}

// Purpose is what a connection is for; it is part of what both ends prove.
type Purpose string

// The purposes.
const (
	Raft      Purpose = "raft"      // a one-way stream of Raft messages
	RPC       Purpose = "rpc"       // HTTP/2
	Proposals Purpose = "proposals" // a stream of commands and their outcomes
	Snapshot  Purpose = "snapshot"  // the receiver of a shard's snapshot pulls it
	adoption  Purpose = "adoption"  // before there is a cluster key
)

// Peer is the other end, as it proved to be.
type Peer struct {
	ClusterID string
	Node      cluster.Node
	Purpose   Purpose
}

// Conn is an authenticated connection without deadlines. Close may be called more than once.
type Conn struct {
	net.Conn
	peer   Peer
	closed chan struct{}
	once   sync.Once
}

func newConn(c net.Conn, peer Peer) *Conn {
	return &Conn{Conn: c, peer: peer, closed: make(chan struct{})}
}

// Peer returns who is at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// Closed is closed once this end called Close.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// Close closes the connection.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.Conn.Close()
		close(c.closed)
	})
	return err
}
