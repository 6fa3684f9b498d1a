package duckdb

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// pool lends a bounded number of connections, made when first needed.
type pool struct {
	instance *engine.Instance
	free     chan *engine.Conn // nil stands for one not made yet
}

func newPool(instance *engine.Instance, connectionsMax int) *pool {
	p := &pool{instance: instance, free: make(chan *engine.Conn, connectionsMax)}
	for range connectionsMax {
		p.free <- nil
	}
	return p
}

// with waits within ctx for a connection and calls use with it.
func (p *pool) with(ctx context.Context, use func(*engine.Conn) error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case c := <-p.free:
		if c == nil {
			var err error
			if c, err = p.instance.Connect(); err != nil {
				p.free <- nil
				return err
			}
		}
		defer func() { p.free <- c }()
		return use(c)
	}
}

// close ends all connections; none may be lent.
func (p *pool) close() {
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			c.Close()
		}
	}
}
