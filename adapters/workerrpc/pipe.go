package workerrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// pipe is the proposing end of a connection for proposals.
type pipe struct {
	conn   net.Conn
	writer *pipeWriter
	ended  chan struct{} // closed when the pipe broke or was closed
	mu     struct {
		sync.Mutex
		err     error // why it ended
		last    uint64
		pending map[uint64]chan pipeAnswer
	}
}

type pipeAnswer struct {
	outcome []byte
	err     error // what the other node said, or why it says nothing
}

var (
	errPipeEnded = errors.New("the connection ended")
	errPipeFull  = errors.New("too many commands wait to be sent to the node")
)

// openPipe returns a pipe over conn, which it owns. Its goroutines end soon after Close.
func openPipe(conn net.Conn, work *sync.WaitGroup) *pipe {
	p := &pipe{conn: conn, writer: newPipeWriter(conn), ended: make(chan struct{})}
	p.mu.pending = map[uint64]chan pipeAnswer{}
	work.Go(func() { p.fail(p.read()) })
	work.Go(func() { p.fail(p.write()) })
	return p
}

// Close ends the pipe; who waits for an answer is told that there is none.
func (p *pipe) Close() error {
	p.fail(errClosed)
	return nil
}

// usable reports whether the pipe has not ended.
func (p *pipe) usable() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// fail ends the pipe once.
func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.err != nil {
		return
	}
	p.mu.err = err
	_ = p.conn.Close() // it is given up
	close(p.ended)
	for number, waiting := range p.mu.pending {
		waiting <- pipeAnswer{err: err}
		delete(p.mu.pending, number)
	}
}

// propose sends a command and waits for its outcome. sent tells that it may have arrived.
func (p *pipe) propose(ctx context.Context, id shard.ID, command []byte) (outcome []byte, sent bool, err error) {
	left := callMax
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	waiting := make(chan pipeAnswer, 1)
	p.mu.Lock()
	if p.mu.err != nil {
		defer p.mu.Unlock()
		return nil, false, p.mu.err
	}
	p.mu.last++
	number := p.mu.last
	p.mu.pending[number] = waiting
	p.mu.Unlock()
	if !p.writer.add(pipePropose, number, []uint64{uint64(id), uint64(max(left.Milliseconds(), 1))}, command) {
		p.forget(number)
		return nil, false, errPipeFull
	}
	select {
	case a := <-waiting:
		return a.outcome, true, a.err
	case <-ctx.Done():
		p.forget(number)
		p.writer.add(pipeCancel, number, nil, nil)
		return nil, true, ctx.Err()
	}
}

// forget says that nobody waits for the number any more.
func (p *pipe) forget(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mu.pending, number)
}

func (p *pipe) write() error {
	for {
		select {
		case <-p.ended:
			return nil
		case <-p.writer.wake:
			if err := p.writer.flush(); err != nil {
				return err
			}
		}
	}
}

// read takes answers until nothing comes any more; the other end shows that it is there even when it has
// none.
func (p *pipe) read() error {
	r := newPipeReader(p.conn)
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(PeerSilenceMax)); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		f, err := r.next()
		if err != nil {
			return fmt.Errorf("receive: %w", errors.Join(errPipeEnded, err))
		}
		var a pipeAnswer
		switch f.kind {
		case pipeOutcome:
			a.outcome = bytes.Clone(f.rest)
		case pipeFailure:
			message := &workerpb.Fault{}
			if err := proto.Unmarshal(f.rest, message); err != nil {
				return fmt.Errorf("receive: %w", errPipe)
			}
			a.err = restoreFault(message)
		case pipeAlive:
			continue
		default:
			return fmt.Errorf("receive: %w: kind %d", errPipe, f.kind)
		}
		p.mu.Lock()
		waiting := p.mu.pending[f.number]
		delete(p.mu.pending, f.number)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- a
		}
	}
}
