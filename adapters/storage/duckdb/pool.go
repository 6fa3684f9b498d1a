package duckdb

import (
	"context"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// pool lends a bounded number of connections, made when first needed. The one given back last goes
// first, because it is the likeliest to have the statement prepared.
type pool struct {
	instance *engine.Instance
	lent     chan struct{} // holds one for each connection that is lent
	mu       struct {
		sync.Mutex
		free []*engine.Conn
	}
}

func newPool(instance *engine.Instance, connectionsMax int) *pool {
	return &pool{instance: instance, lent: make(chan struct{}, connectionsMax)}
}

// with waits within ctx for a connection and calls use with it.
func (p *pool) with(ctx context.Context, use func(*engine.Conn) error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case p.lent <- struct{}{}:
	}
	defer func() { <-p.lent }()
	c := p.take()
	if c == nil {
		var err error
		if c, err = p.instance.Connect(); err != nil {
			return err
		}
	}
	defer p.giveBack(c)
	return use(c)
}

func (p *pool) take() *engine.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.mu.free)
	if n == 0 {
		return nil
	}
	c := p.mu.free[n-1]
	p.mu.free = p.mu.free[:n-1]
	return c
}

func (p *pool) giveBack(c *engine.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.free = append(p.mu.free, c)
}

// close ends all connections; none may be lent, or asked for any more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.mu.free {
		c.Close()
	}
	p.mu.free = nil
}
