package workerrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// dialMax bounds one attempt to connect.
	dialMax = 8 * time.Second
	// After a failed attempt, calls fail at once with its error for a pause that doubles from
	// redialFirst to redialMax: a dead node costs its callers little.
	redialFirst = 50 * time.Millisecond
	redialMax   = time.Second
)

var errClosed = errors.New("the client is closed")

// conn keeps at most one HTTP/2 connection to a node and opens it anew when it broke. One attempt
// serves all callers that wait for it and outlives each of them.
type conn struct {
	dial      func(context.Context) (net.Conn, error)
	transport *http.Transport
	ctx       context.Context //nolint:containedctx // the lifetime of attempts, which no caller owns
	cancel    context.CancelCauseFunc
	work      sync.WaitGroup
	mu        struct {
		sync.Mutex
		open    *http.ClientConn
		attempt *attempt // under way
		failed  error    // of the last attempt
		notTill time.Time
		pause   time.Duration
	}
}

type attempt struct {
	done chan struct{}
	open *http.ClientConn // set before done is closed
	err  error
}

func newConn(dial func(context.Context) (net.Conn, error)) *conn {
	c := &conn{dial: dial}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		Protocols:   unencryptedHTTP2(), HTTP2: http2Config(), DisableCompression: true,
	}
	return c
}

// Close ends calls under way and waits for an attempt to end.
func (c *conn) Close() {
	c.cancel(errClosed)
	c.work.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.open != nil {
		_ = c.mu.open.Close() // it is given up
		c.mu.open = nil
	}
}

// get returns an open connection.
func (c *conn) get(ctx context.Context) (*http.ClientConn, error) {
	a, open, err := c.pick() //nolint:contextcheck // an attempt outlives its first caller
	if a == nil {
		return open, err
	}
	select {
	case <-a.done:
		return a.open, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// usable reports that a connection takes further calls, now or when one of those under way has ended.
func usable(open *http.ClientConn) bool {
	return open != nil && open.Err() == nil && (open.Available() > 0 || open.InFlight() > 0)
}

// pick returns the open connection, or the attempt to wait for, or why there is none now.
func (c *conn) pick() (*attempt, *http.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
		return nil, nil, errClosed
	case usable(c.mu.open):
		return nil, c.mu.open, nil
	case c.mu.attempt != nil:
		return c.mu.attempt, nil, nil
	case c.mu.failed != nil && time.Now().Before(c.mu.notTill):
		return nil, nil, c.mu.failed
	}
	a := &attempt{done: make(chan struct{})}
	c.mu.attempt = a
	c.work.Go(func() { c.try(a) })
	return a, nil, nil
}

// try makes one attempt and tells those who wait for it.
func (c *conn) try(a *attempt) {
	ctx, cancel := context.WithTimeout(c.ctx, dialMax)
	defer cancel()
	open, err := c.transport.NewClientConn(ctx, "http", "node:80")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.attempt = nil
	if err == nil && c.ctx.Err() != nil {
		_ = open.Close() // nobody will use it
		err = errClosed
	}
	if err != nil {
		c.mu.pause = min(max(2*c.mu.pause, redialFirst), redialMax)
		c.mu.notTill = time.Now().Add(c.mu.pause)
		a.err = fmt.Errorf("connect: %w", err)
	} else {
		c.mu.pause = 0
		old := c.mu.open
		a.open, c.mu.open = open, open
		if old != nil {
			_ = old.Close() // it broke
		}
	}
	c.mu.failed = a.err
	close(a.done)
}
