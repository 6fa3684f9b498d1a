package multiraft

import (
	"encoding/binary"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// The data of a normal entry, format version 1:
//
//	byte     version (1)
//	uvarint  log time, in nanoseconds
//	uvarint  number of commands, at least 1
//	uvarint  length of each command, in order
//	bytes    the commands, in order, without gaps, to the end
//
// An entry without data is raft's own: it moves the index and nothing else.
const envelopeVersion = 1

// errEnvelope is what an entry gets that no leader wrote.
var errEnvelope = fault.New(fault.Corrupt, "entry_unreadable", "a committed log entry cannot be read")

// envelopeBytesMax bounds what the envelope of commands with these total bytes takes.
func envelopeBytesMax(commands, bytes int) int {
	return 1 + binary.MaxVarintLen64*2 + binary.MaxVarintLen32*commands + bytes
}

// appendEnvelope appends the encoding of commands stamped with logTime to dst.
func appendEnvelope(dst []byte, logTime time.Duration, commands [][]byte) []byte {
	dst = append(dst, envelopeVersion)
	dst = binary.AppendUvarint(dst, uint64(logTime))
	dst = binary.AppendUvarint(dst, uint64(len(commands)))
	for _, c := range commands {
		dst = binary.AppendUvarint(dst, uint64(len(c)))
	}
	for _, c := range commands {
		dst = append(dst, c...)
	}
	return dst
}

// parseEnvelope reads an entry's data. The commands are parts of data. Errors have kind Corrupt.
func parseEnvelope(data []byte) (logTime time.Duration, commands [][]byte, err error) {
	if len(data) == 0 || data[0] != envelopeVersion {
		return 0, nil, errEnvelope
	}
	rest := data[1:]
	stamp, rest, ok := takeUvarint(rest)
	if !ok || int64(stamp) < 0 {
		return 0, nil, errEnvelope
	}
	count, rest, ok := takeUvarint(rest)
	if !ok || count == 0 || count > uint64(len(rest)) { // every length takes a byte
		return 0, nil, errEnvelope
	}
	commands = make([][]byte, count)
	lengths := rest
	for range count {
		if _, rest, ok = takeUvarint(rest); !ok {
			return 0, nil, errEnvelope
		}
	}
	for i := range commands {
		var n uint64
		n, lengths, _ = takeUvarint(lengths)
		if n > uint64(len(rest)) {
			return 0, nil, errEnvelope
		}
		commands[i], rest = rest[:n:n], rest[n:]
	}
	if len(rest) > 0 {
		return 0, nil, errEnvelope
	}
	return time.Duration(stamp), commands, nil
}

func takeUvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
