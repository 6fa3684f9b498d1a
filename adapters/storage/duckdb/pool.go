package duckdb

import (
	"context"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// pool lends a bounded number of connections, made when first needed.
type pool struct {
	instance *engine.Instance
	free     chan lent
	epoch    atomic.Uint64 // grows when kept statements must be forgotten
}

// lent is a connection and the epoch as of which its kept statements may stay.
type lent struct {
	*engine.Conn // nil stands for one not made yet
	epoch        uint64
}

func newPool(instance *engine.Instance, connectionsMax int) *pool {
	p := &pool{instance: instance, free: make(chan lent, connectionsMax)}
	for range connectionsMax {
		p.free <- lent{}
	}
	return p
}

// with waits within ctx for a connection and calls use with it.
func (p *pool) with(ctx context.Context, use func(*engine.Conn) error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case c := <-p.free:
		if c.Conn == nil {
			var err error
			if c.Conn, err = p.instance.Connect(); err != nil {
				p.free <- lent{}
				return err
			}
		}
		defer func() { p.free <- p.refreshed(c) }()
		return use(c.Conn)
	}
}

// forget drops the kept statements of all connections, of those that are lent when they come back.
func (p *pool) forget() {
	p.epoch.Add(1)
	for range len(p.free) {
		select {
		case c := <-p.free:
			p.free <- p.refreshed(c)
		default:
			return
		}
	}
}

func (p *pool) refreshed(c lent) lent {
	if epoch := p.epoch.Load(); c.Conn != nil && c.epoch != epoch {
		c.Forget()
		c.epoch = epoch
	}
	return c
}

// close ends all connections; none may be lent.
func (p *pool) close() {
	for range cap(p.free) {
		if c := <-p.free; c.Conn != nil {
			c.Close()
		}
	}
}
