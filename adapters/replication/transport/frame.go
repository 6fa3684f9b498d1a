package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// A frame is a head of 12 bytes and a payload; numbers are little endian:
//
//	version 1 | kind 1 | zero 2 | payload length 4 | CRC32C of the 8 bytes before and the payload 4
//
// The payload of a batch is messages, each: group (uvarint), length (uvarint), protobuf. The payload
// of a ping is any 8 bytes, which the pong gives back.
const (
	frameVersion   = 1
	frameHeadBytes = 12
	// frameBytesMax bounds what a receiver takes: a single message may be as large as raft makes it.
	frameBytesMax = 80 << 20
	pingBytes     = 8
)

type frameKind byte

// The kinds. The first three are those of a stream of messages, the others of a snapshot's transfer.
const (
	frameBatch frameKind = iota + 1
	framePing
	framePong
	frameSnapshotRequest
	frameSnapshotListing
	frameSnapshotChunk
	frameSnapshotEnd
	frameSnapshotFailure
)

// payloadBytesMax bounds the payload of each kind.
var payloadBytesMax = map[frameKind]uint32{
	frameBatch: frameBytesMax, framePing: pingBytes, framePong: pingBytes,
	frameSnapshotRequest: manifestBytesMax + 16, frameSnapshotListing: listingBytesMax, frameSnapshotChunk: chunkBytes,
	frameSnapshotEnd: 0, frameSnapshotFailure: failureBytesMax,
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errFrame = fault.New(fault.Corrupt, "invalid_frame", "a frame from another node is not valid")

// appendFrameHead reserves a head, which sealFrame fills in once the payload is known.
func appendFrameHead(b []byte, kind frameKind) []byte {
	return append(b, frameVersion, byte(kind), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// sealFrame completes the only frame in b.
func sealFrame(b []byte) {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeadBytes))
	binary.LittleEndian.PutUint32(b[8:], frameChecksum(b[:8], b[frameHeadBytes:]))
}

func frameChecksum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
}

// appendMessage adds a message to a batch's payload; size is proto.Size of it.
func appendMessage(b []byte, m multiraft.Message, size int) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(m.Group))
	b = binary.AppendUvarint(b, uint64(size))
	before := len(b)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m.Message)
	if err != nil {
		return b, fmt.Errorf("encode message: %w", err)
	}
	if len(b)-before != size {
		return b, fmt.Errorf("encode message: it changed from %d to %d bytes while it waited", size, len(b)-before)
	}
	return b, nil
}

// frameReader reads frames into a buffer that it uses again.
type frameReader struct {
	from io.Reader
	head [frameHeadBytes]byte
	buf  []byte
}

// bufferBytesKept bounds the buffer that stays between frames.
const bufferBytesKept = 4 << 20

// next returns the next frame; its payload is valid until the next call.
func (r *frameReader) next() (frameKind, []byte, error) {
	if _, err := io.ReadFull(r.from, r.head[:]); err != nil {
		return 0, nil, err
	}
	kind, n := frameKind(r.head[1]), binary.LittleEndian.Uint32(r.head[4:])
	if r.head[0] != frameVersion {
		return 0, nil, fmt.Errorf("read frame: version %d: %w", r.head[0], errFrame)
	}
	bytesMax, known := payloadBytesMax[kind]
	if !known || n > bytesMax || (kind == framePing || kind == framePong) && n != pingBytes {
		return 0, nil, fmt.Errorf("read frame: kind %d of %d bytes: %w", kind, n, errFrame)
	}
	if err := r.fill(int(n)); err != nil {
		return 0, nil, err
	}
	if sum := binary.LittleEndian.Uint32(r.head[8:]); sum != frameChecksum(r.head[:8], r.buf) {
		return 0, nil, fmt.Errorf("read frame: checksum: %w", errFrame)
	}
	return kind, r.buf, nil
}

// fill reads n bytes. It takes memory as they arrive, not as the head promises.
func (r *frameReader) fill(n int) error {
	if cap(r.buf) > bufferBytesKept {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		step := min(n-len(r.buf), max(pieceBytes, len(r.buf), cap(r.buf)-len(r.buf)))
		if need := len(r.buf) + step; need > cap(r.buf) {
			r.buf = append(make([]byte, 0, need), r.buf...)
		}
		piece := r.buf[len(r.buf) : len(r.buf)+step]
		if _, err := io.ReadFull(r.from, piece); err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		r.buf = r.buf[:len(r.buf)+step]
	}
	return nil
}

// decodeBatch gives each message of a batch's payload to take and returns how many there were. Messages
// that only a node itself may make are left out: raft would take them for its own.
func decodeBatch(payload []byte, take func(multiraft.GroupID, *raftpb.Message)) (int, error) {
	count := 0
	for len(payload) > 0 {
		group, n := binary.Uvarint(payload)
		if n <= 0 {
			return count, fmt.Errorf("decode batch: group: %w", errFrame)
		}
		payload = payload[n:]
		size, n := binary.Uvarint(payload)
		if n <= 0 || size > uint64(len(payload)-n) {
			return count, fmt.Errorf("decode batch: length: %w", errFrame)
		}
		m := &raftpb.Message{}
		if err := proto.Unmarshal(payload[n:n+int(size)], m); err != nil {
			return count, fmt.Errorf("decode batch: message: %w", errFrame)
		}
		payload = payload[n+int(size):]
		if raft.IsLocalMsg(m.GetType()) || raft.IsLocalMsgTarget(m.GetFrom()) {
			continue
		}
		count++
		take(multiraft.GroupID(group), m)
	}
	return count, nil
}
