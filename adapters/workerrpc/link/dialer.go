package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// Dialer opens links to other nodes. It is safe for concurrent use.
type Dialer struct {
	Keyring *Keyring
	// TLS, when not nil, is used for every link: the node's certificate and the authorities that sign
	// those of the others. Server names are taken from the address.
	TLS *tls.Config
	// DialContext, when not nil, replaces resolving and connecting; tests put faults there.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial opens a link to the node at address (host:port), which must prove to be node; with the zero
// NodeID any node of the cluster will do. The name is resolved anew. Within DialMax and HandshakeMax,
// or the end of ctx, it returns a connection without deadlines, or an error: a *RefusalError when either
// end does not want the link, anything else when the node could not be talked to.
func (d *Dialer) Dial(ctx context.Context, address string, node cluster.NodeID, purpose Purpose) (*Conn, error) {
	var peer Peer
	raw, err := d.run(ctx, address, func(x *exchange) error {
		var err error
		peer, err = x.connect(d.Keyring, node, purpose)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", address, err)
	}
	return newConn(raw, peer), nil
}

// run connects, upgrades and lets handshake speak; the connection it returns has no deadline.
func (d *Dialer) run(ctx context.Context, address string, handshake func(*exchange) error) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialMax+HandshakeMax)
	defer cancel()
	raw, binding, err := d.open(ctx, address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline) // fails only on a closed connection, which the next call tells
	// The end of ctx must cut a handshake short, too.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err = upgrade(raw, address)
	if err == nil {
		err = handshake(&exchange{rw: raw, binding: binding})
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = raw.Close() // it is given up
		return nil, err
	}
	return raw, nil
}

// open connects and, where configured, runs the TLS handshake.
func (d *Dialer) open(ctx context.Context, address string) (net.Conn, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, DialMax)
	defer cancel()
	dial := d.DialContext
	if dial == nil {
		dial = (&net.Dialer{KeepAliveConfig: keepAlive()}).DialContext
	}
	raw, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	if d.TLS == nil {
		return raw, nil, nil
	}
	config := d.TLS.Clone()
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{"http/1.1"} // HTTP/2 knows no upgrade
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // it is given up
		return nil, nil, fmt.Errorf("secure by TLS: %w", err)
	}
	state := secured.ConnectionState()
	binding, err := tlsBinding(&state)
	if err != nil {
		_ = raw.Close() // it is given up
		return nil, nil, err
	}
	return secured, binding, nil
}

// upgrade asks the HTTP server at the other end to give up the connection.
func upgrade(raw net.Conn, address string) error {
	request := http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: Path}, Host: address,
		Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {Protocol}},
	}
	if err := request.Write(raw); err != nil {
		return fmt.Errorf("ask for the link: %w", err)
	}
	reader := bufio.NewReader(io.LimitReader(raw, messageBytesMax))
	resp, err := http.ReadResponse(reader, &request)
	if err != nil {
		return fmt.Errorf("ask for the link: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it has no resources of its own
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return refusalOfResponse(resp)
	}
	// The server speaks only when spoken to, so the reader must not have taken more than the answer.
	if reader.Buffered() > 0 || resp.Header.Get("Upgrade") != Protocol {
		return Refuse(Malformed, "the address does not speak %s", Protocol)
	}
	return nil
}
