package workerrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// closer is what a conn keeps open.
type closer interface {
	comparable
	io.Closer
}

// conn keeps at most one connection of type T to a node and opens it anew when it broke. One attempt
// serves all callers that wait for it and outlives each of them.
type conn[T closer] struct {
	open   func(context.Context) (T, error)
	usable func(T) bool    // it takes further calls, now or when one of those under way has ended
	ctx    context.Context //nolint:containedctx // the lifetime of attempts, which no caller owns
	cancel context.CancelCauseFunc
	work   sync.WaitGroup
	mu     struct {
		sync.Mutex
		open    T
		attempt *attempt[T] // under way
		failed  error       // of the last attempt
		notTill time.Time
		pause   time.Duration
	}
}

type attempt[T closer] struct {
	done chan struct{}
	open T // set before done is closed
	err  error
}

func newConn[T closer](open func(context.Context) (T, error), usable func(T) bool) *conn[T] {
	c := &conn[T]{open: open, usable: usable}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// newHTTPConn keeps an HTTP/2 connection over what dial opens.
func newHTTPConn(dial func(context.Context) (net.Conn, error)) *conn[*http.ClientConn] {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		Protocols:   unencryptedHTTP2(), HTTP2: http2Config(), DisableCompression: true,
	}
	return newConn(
		func(ctx context.Context) (*http.ClientConn, error) {
			return transport.NewClientConn(ctx, "http", "node:80")
		},
		func(open *http.ClientConn) bool {
			return open.Err() == nil && (open.Available() > 0 || open.InFlight() > 0)
		})
}

// Close ends calls under way and waits for an attempt to end.
func (c *conn[T]) Close() {
	c.cancel(errClosed)
	c.work.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var none T
	if c.mu.open != none {
		_ = c.mu.open.Close() // it is given up
		c.mu.open = none
	}
}

// get returns an open connection.
func (c *conn[T]) get(ctx context.Context) (T, error) {
	a, open, err := c.pick()
	if a == nil {
		return open, err
	}
	select {
	case <-a.done:
		return a.open, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// pick returns the open connection, or the attempt to wait for, or why there is none now.
func (c *conn[T]) pick() (_ *attempt[T], open T, _ error) {
	var none T
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
		return nil, none, errClosed
	case c.mu.open != none && c.usable(c.mu.open):
		return nil, c.mu.open, nil
	case c.mu.attempt != nil:
		return c.mu.attempt, none, nil
	case c.mu.failed != nil && time.Now().Before(c.mu.notTill):
		return nil, none, c.mu.failed
	}
	a := &attempt[T]{done: make(chan struct{})}
	c.mu.attempt = a
	c.work.Go(func() { c.try(a) })
	return a, none, nil
}

// try makes one attempt and tells those who wait for it.
func (c *conn[T]) try(a *attempt[T]) {
	ctx, cancel := context.WithTimeout(c.ctx, dialMax)
	defer cancel()
	open, err := c.open(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.attempt = nil
	if err == nil && c.ctx.Err() != nil {
		_ = open.Close() // nobody will use it
		err = errClosed
	}
	var none T
	if err != nil {
		c.mu.pause = min(max(2*c.mu.pause, redialFirst), redialMax)
		c.mu.notTill = time.Now().Add(c.mu.pause)
		a.err = fmt.Errorf("connect: %w", err)
	} else {
		c.mu.pause = 0
		old := c.mu.open
		a.open, c.mu.open = open, open
		if old != none {
			_ = old.Close() // it broke
		}
	}
	c.mu.failed = a.err
	close(a.done)
}
