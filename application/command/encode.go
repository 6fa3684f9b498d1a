package command

import "encoding/binary"

// headerBytesMax is the room that a header can take: version, kind, three uvarints.
const headerBytesMax = 2 + 3*binary.MaxVarintLen64

// Frame holds one command: the body is encoded once, the header put before it when the command gets
// its place in a session. The zero Frame is ready for use; a body replaces the one before and reuses
// its memory. It is not safe for concurrent use.
type Frame struct {
	kind Kind
	data []byte // headerBytesMax of room, then the body
}

// Seal returns the command: h's session, sequence and lowest before the body. The bytes belong to
// the frame and stay as they are until the next call of any of its methods.
func (f *Frame) Seal(h Header) []byte {
	var room [headerBytesMax]byte
	head := append(room[:0], Version, byte(f.kind))
	head = binary.AppendUvarint(head, h.Session)
	head = binary.AppendUvarint(head, h.Sequence)
	head = binary.AppendUvarint(head, h.Sequence-h.Lowest)
	start := headerBytesMax - len(head)
	copy(f.data[start:], head)
	return f.data[start:]
}

// Len returns the most bytes that Seal can return.
func (f *Frame) Len() int { return len(f.data) }

// Kind returns the kind of the body.
func (f *Frame) Kind() Kind { return f.kind }

func (f *Frame) begin(kind Kind) {
	f.kind = kind
	if cap(f.data) < headerBytesMax {
		f.data = make([]byte, headerBytesMax, 2*headerBytesMax)
	}
	f.data = f.data[:headerBytesMax]
}

// EncodeRegister returns a command that asks for a session.
func EncodeRegister() []byte { return outside(Register) }

// EncodeMark returns a command that marks its place in the log with a number.
func EncodeMark(mark uint64) []byte {
	return binary.LittleEndian.AppendUint64(outside(Mark), mark)
}

// outside returns the header of a command outside sessions.
func outside(kind Kind) []byte { return []byte{Version, byte(kind), 0, 0, 0} }

// EncodeBegin makes the frame a Begin.
func (f *Frame) EncodeBegin(b BeginBody) {
	f.begin(Begin)
	f.data = append(f.data, b.Key[:]...)
	f.data = append(f.data, b.Digest[:]...)
	f.data = binary.AppendVarint(f.data, int64(b.Received))
}

// EncodeFinish makes the frame a Finish.
func (f *Frame) EncodeFinish(b FinishBody) {
	f.begin(Finish)
	f.data = append(f.data, b.Key[:]...)
	f.data = binary.AppendUvarint(f.data, b.Number)
	f.data = binary.AppendUvarint(f.data, b.Stored)
}

// appendVarint is binary.AppendVarint with the one-byte and two-byte cases, by far the most frequent, in
// front.
func appendVarint(d []byte, v int64) []byte { return appendUvarint(d, uint64(v<<1)^uint64(v>>63)) }

func appendUvarint(d []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(d, byte(v))
	case v < 1<<14:
		return append(d, byte(v)|0x80, byte(v>>7))
	}
	return binary.AppendUvarint(d, v)
}
