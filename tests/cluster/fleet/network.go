package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// chunkBytesMax bounds what one direction of a connection holds back while its link is frozen.
const chunkBytesMax = 32 << 10

// link is one direction between two nodes.
type link struct{ from, to string }

// Network carries the connections between nodes through proxies, one before each node, and can break
// them: a frozen link passes no bytes and tells neither side, a cut one also ends the connections. It is
// safe for concurrent use.
type Network struct {
	// identify returns the node that holds a connection's source end, "" for none.
	identify func(source, target net.Addr) string

	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		closed    bool
		frozen    map[link]bool
		cut       map[link]bool
		changed   chan struct{} // closed and replaced at each change of frozen
		pipes     map[*pipe]bool
		listeners []net.Listener
	}
}

// pipe is one proxied connection: dialled by from, taken by to.
type pipe struct {
	from, to         string
	dialled, towards net.Conn
	done             chan struct{}
	end              sync.Once
}

func (p *pipe) close() {
	p.end.Do(func() {
		close(p.done)
		// Their reader or writer may have ended them before.
		_ = errors.Join(p.dialled.Close(), p.towards.Close())
	})
}

// newNetwork returns a network whose links are all whole.
func newNetwork(identify func(source, target net.Addr) string) *Network {
	n := &Network{identify: identify}
	n.mu.frozen, n.mu.cut, n.mu.pipes = map[link]bool{}, map[link]bool{}, map[*pipe]bool{}
	n.mu.changed = make(chan struct{})
	return n
}

// expose returns an address under which others reach the node that listens on target.
func (n *Network) expose(ctx context.Context, name, target string) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	n.mu.listeners = append(n.mu.listeners, listener)
	n.mu.Unlock()
	n.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			n.wg.Go(func() { n.serve(conn, name, target) })
		}
	})
	return listener.Addr().String(), nil
}

// serve carries one connection until either side or the network ends it.
func (n *Network) serve(conn net.Conn, name, target string) {
	p := &pipe{from: n.identify(conn.RemoteAddr(), conn.LocalAddr()), to: name, dialled: conn, done: make(chan struct{})}
	if p.from == "" { // nothing may pass around the links
		reset(conn)
		return
	}
	towards, err := net.Dial("tcp", target)
	if err != nil {
		reset(conn)
		return
	}
	p.towards = towards
	n.mu.Lock()
	refused := n.mu.closed || n.mu.cut[link{p.from, p.to}] || n.mu.cut[link{p.to, p.from}]
	if !refused {
		n.mu.pipes[p] = true
	}
	n.mu.Unlock()
	if refused {
		reset(conn)
		p.close()
		return
	}
	n.wg.Go(func() { n.pump(p, link{p.to, p.from}, p.towards, p.dialled) })
	n.pump(p, link{p.from, p.to}, p.dialled, p.towards)
	n.mu.Lock()
	delete(n.mu.pipes, p)
	n.mu.Unlock()
}

// reset ends a connection the hard way, as a host that is gone would.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // then it ends politely
	}
	_ = conn.Close()
}

// pump copies one direction, holding bytes back while its link is frozen.
func (n *Network) pump(p *pipe, l link, from io.Reader, to io.Writer) {
	defer p.close()
	buffer := make([]byte, chunkBytesMax)
	for {
		count, err := from.Read(buffer)
		if !n.passage(p, l) { // an end is news too
			return
		}
		if count > 0 {
			if _, err := to.Write(buffer[:count]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passage waits until the link lets bytes pass; false: the connection has ended.
func (n *Network) passage(p *pipe, l link) bool {
	for {
		n.mu.Lock()
		frozen, changed := n.mu.frozen[l], n.mu.changed
		n.mu.Unlock()
		if !frozen {
			return true
		}
		select {
		case <-changed:
		case <-p.done:
			return false
		}
	}
}

// change applies edit to the links and ends the connections over cut ones.
func (n *Network) change(edit func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	edit()
	close(n.mu.changed)
	n.mu.changed = make(chan struct{})
	for p := range n.mu.pipes {
		if n.mu.cut[link{p.from, p.to}] || n.mu.cut[link{p.to, p.from}] {
			p.close()
		}
	}
}

// FreezeLink keeps bytes from passing from one node to another; the other direction goes on.
func (n *Network) FreezeLink(from, to string) {
	n.change(func() { n.mu.frozen[link{from, to}] = true })
}

// Freeze keeps bytes from passing between the nodes in either direction.
func (n *Network) Freeze(a, b string) {
	n.change(func() { n.mu.frozen[link{a, b}], n.mu.frozen[link{b, a}] = true, true })
}

// Cut ends the connections between the nodes and refuses new ones.
func (n *Network) Cut(a, b string) {
	n.change(func() { n.mu.cut[link{a, b}] = true })
}

// Restore mends all links. What frozen ones held back passes now.
func (n *Network) Restore() {
	n.change(func() {
		clear(n.mu.frozen)
		clear(n.mu.cut)
	})
}

// close ends everything and waits for it.
func (n *Network) close() {
	n.mu.Lock()
	n.mu.closed = true
	for _, l := range n.mu.listeners {
		_ = l.Close() // nothing to be done about it
	}
	for p := range n.mu.pipes {
		p.close()
	}
	n.mu.Unlock()
	n.wg.Wait()
}
