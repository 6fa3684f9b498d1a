package transport

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// readBufferBytes is what one read from a stream may bring.
const readBufferBytes = 64 << 10

// Serve takes the messages that node from sends over conn, which it closes, until the stream ends or
// breaks, nothing came for PeerSilenceMax, or ctx ends. It returns why, nil for the end of ctx.
func (t *Transport) Serve(ctx context.Context, from cluster.NodeID, conn net.Conn) error {
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	err := t.receive(from, conn)
	_ = conn.Close() // it is given up
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("stream from node %s: %w", from, err)
}

func (t *Transport) receive(from cluster.NodeID, conn net.Conn) error {
	r := frameReader{from: bufio.NewReaderSize(patient{conn}, readBufferBytes)}
	take := func(group multiraft.GroupID, m *raftpb.Message) { t.config.Receive(group, m) }
	var pong []byte
	for {
		kind, payload, err := r.next()
		if err != nil {
			return err
		}
		switch kind {
		case frameBatch:
			messages, err := decodeBatch(payload, take)
			if err != nil {
				return err
			}
			t.config.Observer.FrameReceived(from, messages, frameHeadBytes+len(payload))
		case framePing:
			pong = append(appendFrameHead(pong[:0], framePong), payload...)
			sealFrame(pong)
			if err := conn.SetWriteDeadline(time.Now().Add(writeMax)); err != nil {
				return err
			}
			if _, err := conn.Write(pong); err != nil {
				return err
			}
		default:
			return fmt.Errorf("kind %d: %w", kind, errFrame)
		}
	}
}

// patient reads with a deadline that begins anew whenever something came.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(PeerSilenceMax)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}
