package bootstrap

import (
	"context"
	"fmt"
)

// part is a running goroutine of the node.
type part struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// launch runs a part until it is stopped. One that ends before is a failure of the node.
func launch(ctx context.Context, what string, run func(context.Context) error, fail context.CancelCauseFunc) *part {
	p := &part{ended: make(chan struct{})}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		err := run(own)
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		switch {
		case own.Err() != nil || ctx.Err() != nil:
			p.err = err
		case err != nil:
			fail(err)
		default:
			fail(fmt.Errorf("%s ended by itself", what))
		}
	}()
	return p
}

// stop ends the part, waits for it, and returns what it failed with if that was not reported before.
func (p *part) stop() error {
	p.cancel()
	<-p.ended
	return p.err
}
