package workerrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// pipeServer is the serving end of one connection for proposals.
type pipeServer struct {
	server *Server
	conn   *link.Conn
	writer *pipeWriter
	room   chan struct{} // one value for each proposal under way
	work   sync.WaitGroup
	ctx    context.Context //nolint:containedctx // of the proposals under way
	mu     struct {
		sync.Mutex
		cancels map[uint64]context.CancelFunc
	}
}

// AcceptProposals is the link acceptor for link.Proposals. It serves until the connection breaks or ctx
// ends; when the server stops it takes no more and answers what is under way.
func (s *Server) AcceptProposals(ctx context.Context, conn *link.Conn) {
	if !s.pipes.enter() {
		return
	}
	defer s.pipes.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &pipeServer{server: s, conn: conn, writer: newPipeWriter(conn), room: make(chan struct{}, streamsMax), ctx: ctx}
	p.mu.cancels = map[uint64]context.CancelFunc{}
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	read := make(chan error, 1)
	go func() { read <- p.read() }() //nolint:contextcheck // proposals have the connection's context
	alive := time.NewTicker(pipeAliveEvery)
	defer alive.Stop()
	stopping := s.pipes.stopping
	answered := make(chan struct{})
	for {
		select {
		case err := <-read:
			if stopping != nil { // the other end is gone, and with it whoever waited
				s.config.Log.Debug().Err(err).Stringer("node", conn.Peer().Node.ID()).Msg("proposals of a node ended")
				cancel()
			}
			go func() { p.work.Wait(); close(answered) }()
			read = nil
		case <-answered:
			_ = p.writer.flush() // the last answers; nobody is there to be told of a failure
			_ = conn.Close()
			return
		case <-stopping:
			stopping = nil
			_ = conn.SetReadDeadline(time.Now()) // fails only on a connection that is closed already
		case <-alive.C:
			p.writer.add(pipeAlive, 0, nil, nil)
		case <-p.writer.wake:
			if err := p.writer.flush(); err != nil {
				_ = conn.Close() // so that reading ends, too
			}
		}
	}
}

// openPipes counts the pipes that a server serves.
type openPipes struct {
	stopping chan struct{} // closed when no more are taken
	idle     chan struct{} // closed when stopping and none is left
	mu       struct {
		sync.Mutex
		count   int
		stopped bool
	}
}

func (o *openPipes) enter() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.stopped {
		return false
	}
	o.mu.count++
	return true
}

func (o *openPipes) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.count--; o.mu.count == 0 && o.mu.stopped {
		close(o.idle)
	}
}

// stop asks every pipe to end, once.
func (o *openPipes) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.stopped = true
	close(o.stopping)
	if o.mu.count == 0 {
		close(o.idle)
	}
}

func (p *pipeServer) read() error {
	r := newPipeReader(p.conn)
	for {
		f, err := r.next()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch f.kind {
		case pipePropose:
			if err := p.begin(f); err != nil {
				return err
			}
		case pipeCancel:
			p.mu.Lock()
			if cancel := p.mu.cancels[f.number]; cancel != nil {
				cancel()
			}
			p.mu.Unlock()
		default:
			return fmt.Errorf("receive: %w: kind %d", errPipe, f.kind)
		}
	}
}

// begin starts a proposal when there is room.
func (p *pipeServer) begin(f pipeFrame) error {
	id, n := binary.Uvarint(f.rest)
	if n <= 0 || id >= shard.CountMax {
		return fmt.Errorf("receive: %w: shard", errPipe)
	}
	millis, m := binary.Uvarint(f.rest[n:])
	if m <= 0 {
		return fmt.Errorf("receive: %w: time", errPipe)
	}
	command := bytes.Clone(f.rest[n+m:]) // the log keeps it
	limit := time.Duration(min(millis, uint64(callMax.Milliseconds()))) * time.Millisecond
	select {
	case p.room <- struct{}{}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	p.mu.Lock()
	p.mu.cancels[f.number] = cancel
	p.mu.Unlock()
	p.work.Go(func() {
		p.answer(ctx, f.number, shard.ID(id), command)
		p.mu.Lock()
		delete(p.mu.cancels, f.number)
		p.mu.Unlock()
		cancel()
		<-p.room
	})
	return nil
}

func (p *pipeServer) answer(ctx context.Context, number uint64, id shard.ID, command []byte) {
	outcome, err := p.propose(ctx, id, command)
	if err == nil {
		p.writer.add(pipeOutcome, number, nil, outcome)
		return
	}
	message, err := proto.Marshal(faultMessage(err))
	if err != nil { // it holds plain values only
		message, _ = proto.Marshal(&workerpb.Fault{})
	}
	p.writer.add(pipeFailure, number, nil, message)
}

// propose proposes; a panic is one proposal's error.
func (p *pipeServer) propose(ctx context.Context, id shard.ID, command []byte) (outcome []byte, err error) {
	defer func() {
		if what := recover(); what != nil {
			p.server.config.Log.Error().Stringer("shard", id).Any("panic", what).Stack().Msg("a proposal of another node failed badly")
			err = errPanic
		}
	}()
	return p.server.config.Proposer.Propose(ctx, id, command)
}
