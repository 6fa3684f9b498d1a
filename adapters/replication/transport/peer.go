package transport

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// peer sends to one node. Its queue fills while the stream is slow or being opened; between attempts,
// messages are dropped at once, for raft sends better ones later.
type peer struct {
	t    *Transport
	node cluster.NodeID
	wake chan struct{} // holds one value when something may be in the queue
	mu   struct {
		sync.Mutex
		queue []queued
		bytes int
		down  bool // the last attempt failed: nothing is queued
	}
	told string // the last failure logged
}

type queued struct {
	message multiraft.Message
	size    int
}

func newPeer(t *Transport, node cluster.NodeID) *peer {
	return &peer{t: t, node: node, wake: make(chan struct{}, 1)}
}

// offer queues a message and reports whether it could.
func (p *peer) offer(m multiraft.Message, size int) bool {
	limits := &p.t.config.Limits
	p.mu.Lock()
	fits := !p.mu.down && len(p.mu.queue) < limits.QueueMessagesMax &&
		(p.mu.bytes+size <= limits.QueueBytesMax || len(p.mu.queue) == 0)
	if fits {
		p.mu.queue = append(p.mu.queue, queued{message: m, size: size})
		p.mu.bytes += size
	}
	p.mu.Unlock()
	p.rouse() // a peer that is down, too: somebody wants to talk to it
	return fits
}

// rouse makes the sender look at the queue.
func (p *peer) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take moves messages for one frame from the queue to batch and returns how many are left.
func (p *peer) take(batch []queued) ([]queued, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.mu.queue) && (n == 0 || bytes+p.mu.queue[n].size <= p.t.config.Limits.FrameBytesTarget) {
		bytes += p.mu.queue[n].size
		n++
	}
	batch = append(batch[:0], p.mu.queue[:n]...)
	left := copy(p.mu.queue, p.mu.queue[n:])
	clear(p.mu.queue[left:])
	p.mu.queue = p.mu.queue[:left]
	p.mu.bytes -= bytes
	return batch, left
}

// setDown says whether messages are queued from now on; going down gives up what waits.
func (p *peer) setDown(down bool) {
	p.mu.Lock()
	p.mu.down = down
	var lost []queued
	if down {
		lost, p.mu.queue, p.mu.bytes = p.mu.queue, nil, 0
	}
	p.mu.Unlock()
	p.lose(lost)
}

func (p *peer) lose(lost []queued) {
	for _, q := range lost {
		p.t.lose(p.node, q.message)
	}
}

// run keeps a stream to the peer open while there is something to send.
func (p *peer) run(ctx context.Context) {
	defer p.setDown(true)
	backoff := backoffFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		began := time.Now()
		err := p.connect(ctx)
		p.setDown(true)
		if ctx.Err() != nil {
			return
		}
		p.t.config.Observer.Disconnected(p.node, err)
		p.tell(err)
		if time.Since(began) > streamStable {
			backoff = backoffFirst
		}
		half := uint64(backoff / 2)
		pause := time.NewTimer(time.Duration(half + p.t.config.Entropy.Uint64()%(half+1)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		backoff = min(2*backoff, backoffMax)
		p.setDown(false) // the message that causes the next attempt waits for it
	}
}

// tell logs a failure once, however often it repeats.
func (p *peer) tell(err error) {
	if text := err.Error(); text != p.told {
		p.told = text
		p.t.config.Log.Warn().Err(err).Str("node", p.node.String()).Msg("no stream to node; trying again")
	}
}

// connect dials and sends until the stream breaks.
func (p *peer) connect(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, dialMax)
	conn, err := p.t.config.Dial(dialing, p.node)
	cancel()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	p.rouse() // the queue may hold what woke this attempt
	p.t.config.Observer.Connected(p.node)
	if p.told != "" {
		p.told = ""
		p.t.config.Log.Info().Str("node", p.node.String()).Msg("stream to node is open")
	}
	return p.stream(ctx, conn)
}

// stream sends frames over conn, which it closes, until the stream breaks or ctx ends.
func (p *peer) stream(ctx context.Context, conn net.Conn) error {
	s := newSender(p, conn)
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	err := s.run()
	_ = conn.Close() // it is given up
	s.pongs.Wait()
	return err
}
