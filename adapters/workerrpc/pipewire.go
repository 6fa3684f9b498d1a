package workerrpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A pipe carries proposals over a connection of its own, many at a time: a call by HTTP/2 costs each end
// many times what is done with a small command. Both directions carry frames; numbers are uvarints:
//
//	length of the rest 4 | version 1 | kind 1 | number | …
//	  propose  shard | milliseconds that it may take | command
//	  cancel   nobody waits for the number any more
//	  outcome  what the proposer answered
//	  failure  workerpb.Fault
//	  alive    nothing; number 0
const (
	pipeVersion     = 1
	pipeHeadBytes   = 4
	pipeBytesMax    = requestBytesMax
	pipeBufferBytes = 64 << 10
	// pipeKeptBytes bounds the buffer that stays between frames.
	pipeKeptBytes = 4 << 20
	// pipeQueuedBytesMax bounds what waits to be sent; one frame may exceed it.
	pipeQueuedBytesMax = 64 << 20
	// pipeAliveEvery is how often the serving end shows that it is there.
	pipeAliveEvery = PeerSilenceMax / 4
)

type pipeKind byte

const (
	pipePropose pipeKind = iota + 1
	pipeCancel
	pipeOutcome
	pipeFailure
	pipeAlive
)

var errPipe = errors.New("a frame of a pipe is not valid")

// pipeFrame is a frame as it was read; rest is valid until the next one.
type pipeFrame struct {
	kind   pipeKind
	number uint64
	rest   []byte
}

// pipeReader reads frames into a buffer that it uses again.
type pipeReader struct {
	from *bufio.Reader
	buf  []byte
}

func newPipeReader(from io.Reader) *pipeReader {
	return &pipeReader{from: bufio.NewReaderSize(from, pipeBufferBytes)}
}

func (r *pipeReader) next() (pipeFrame, error) {
	var head [pipeHeadBytes]byte
	if _, err := io.ReadFull(r.from, head[:]); err != nil {
		return pipeFrame{}, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < 3 || n > pipeBytesMax {
		return pipeFrame{}, fmt.Errorf("%w: %d bytes", errPipe, n)
	}
	if cap(r.buf) > pipeKeptBytes {
		r.buf = nil
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.from, r.buf); err != nil {
		return pipeFrame{}, err
	}
	number, used := binary.Uvarint(r.buf[2:])
	if r.buf[0] != pipeVersion || used <= 0 {
		return pipeFrame{}, fmt.Errorf("%w: version %d", errPipe, r.buf[0])
	}
	return pipeFrame{kind: pipeKind(r.buf[1]), number: number, rest: r.buf[2+used:]}, nil
}

// pipeWriter sends frames of many callers; one goroutine runs it.
type pipeWriter struct {
	conn net.Conn
	wake chan struct{} // holds one value when something may be in out
	mu   struct {
		sync.Mutex
		out []byte
	}
	spare []byte
}

func newPipeWriter(conn net.Conn) *pipeWriter {
	return &pipeWriter{conn: conn, wake: make(chan struct{}, 1)}
}

// add queues a frame, and reports whether there was room for it.
func (w *pipeWriter) add(kind pipeKind, number uint64, numbers []uint64, payload []byte) bool {
	w.mu.Lock()
	b, at := w.mu.out, len(w.mu.out)
	if at > 0 && at+len(payload) > pipeQueuedBytesMax {
		w.mu.Unlock()
		return false
	}
	b = append(b, 0, 0, 0, 0, pipeVersion, byte(kind))
	b = binary.AppendUvarint(b, number)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-pipeHeadBytes))
	w.mu.out = b
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// flush sends what is queued.
func (w *pipeWriter) flush() error {
	w.mu.Lock()
	out := w.mu.out
	w.mu.out = w.spare[:0]
	w.mu.Unlock()
	if w.spare = out; cap(out) > pipeKeptBytes {
		w.spare = nil
	}
	if len(out) == 0 {
		return nil
	}
	if err := w.conn.SetWriteDeadline(time.Now().Add(PeerSilenceMax)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if _, err := w.conn.Write(out); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
