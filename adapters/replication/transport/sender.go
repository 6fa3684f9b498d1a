package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"
)

// framesInTurnMax bounds the frames sent before anything else is looked at.
const framesInTurnMax = 16

// sender is one stream's writing end.
type sender struct {
	p       *peer
	conn    net.Conn
	begin   time.Time
	frame   []byte
	batch   []queued
	pong    chan struct{} // holds one value when the outstanding ping was answered
	ended   chan struct{} // closed when nothing comes back any more
	pongs   sync.WaitGroup
	pongErr error // set before ended is closed
}

func newSender(p *peer, conn net.Conn) *sender {
	s := &sender{p: p, conn: conn, begin: time.Now(), pong: make(chan struct{}, 1), ended: make(chan struct{})}
	s.pongs.Go(s.readPongs)
	return s
}

// run sends what is queued, at once, and a ping every pingInterval, until the stream breaks.
func (s *sender) run() error {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	awaiting := false
	pinged := time.Time{}
	for {
		select {
		case <-s.ended:
			return s.pongErr
		case <-s.p.wake:
			if err := s.drain(); err != nil {
				return err
			}
		case <-s.pong:
			awaiting = false
		case <-ticker.C:
			if awaiting {
				if silent := time.Since(pinged); silent >= pongMax-pingInterval/2 {
					return fmt.Errorf("the node gave no sign of life for %v", silent.Round(time.Millisecond))
				}
				continue
			}
			if err := s.ping(); err != nil {
				return err
			}
			awaiting, pinged = true, time.Now()
		}
	}
}

// drain sends the queue in frames, but not for ever, so that pings have their turn.
func (s *sender) drain() error {
	for range framesInTurnMax {
		var left int
		s.batch, left = s.p.take(s.batch)
		if len(s.batch) == 0 {
			return nil
		}
		err := s.sendBatch(left)
		if err != nil {
			s.p.lose(s.batch)
		}
		clear(s.batch)
		if err != nil {
			return err
		}
	}
	s.p.rouse()
	return nil
}

func (s *sender) sendBatch(left int) error {
	if cap(s.frame) > bufferBytesKept {
		s.frame = nil
	}
	s.frame = appendFrameHead(s.frame[:0], frameBatch)
	var err error
	for _, q := range s.batch {
		if s.frame, err = appendMessage(s.frame, q.message, q.size); err != nil {
			return err
		}
	}
	if n := len(s.frame) - frameHeadBytes; n > frameBytesMax {
		return fmt.Errorf("send frame: %d bytes exceed %d", n, frameBytesMax)
	}
	if err := s.write(); err != nil {
		return err
	}
	s.p.t.config.Observer.FrameSent(s.p.node, len(s.batch), len(s.frame), left)
	return nil
}

func (s *sender) ping() error {
	s.frame = appendFrameHead(s.frame[:0], framePing)
	s.frame = binary.LittleEndian.AppendUint64(s.frame, uint64(time.Since(s.begin)))
	return s.write()
}

// write sends s.frame; each piece of it must get away in time, so that a large frame may take long on
// a slow line and a stopped peer is noticed all the same.
func (s *sender) write() error {
	sealFrame(s.frame)
	for rest := s.frame; len(rest) > 0; {
		n := min(len(rest), pieceBytes)
		if err := s.conn.SetWriteDeadline(time.Now().Add(writeMax)); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
		if _, err := s.conn.Write(rest[:n]); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
		rest = rest[n:]
	}
	return nil
}

// readPongs takes what the receiver sends back.
func (s *sender) readPongs() {
	defer close(s.ended)
	r := frameReader{from: s.conn}
	for {
		kind, payload, err := r.next()
		if err != nil {
			s.pongErr = fmt.Errorf("stream ended: %w", err)
			return
		}
		if kind != framePong {
			s.pongErr = fmt.Errorf("stream ended: kind %d came back: %w", kind, errFrame)
			return
		}
		sent := time.Duration(binary.LittleEndian.Uint64(payload))
		s.p.t.config.Observer.RoundTrip(s.p.node, time.Since(s.begin)-sent)
		select {
		case s.pong <- struct{}{}:
		default:
			s.pongErr = fmt.Errorf("stream ended: a pong nobody asked for: %w", errFrame)
			return
		}
	}
}
