package duckdb

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// stateVersion is the version of the state record:
//
//	version  1 byte
//	index, term, log time in ns, generation  8 bytes each
//	membership, machine, cut-offs  each 4 bytes of length and as many bytes; version 1 had no cut-offs
//	xxHash64 of all before  8 bytes
//
// All numbers are big-endian; the cut-offs are memtable.Retention.Encode.
const stateVersion = 2

const (
	stateFixedBytes = 1 + 4*8 + 2*4 + 8 // of version 1
	stateHashBytes  = 8
)

var errState = errors.New("the state record is damaged or of an unknown version")

// stateRecord is what a flush writes beside its samples.
type stateRecord struct {
	outbound.AppliedState
	generation uint64 // of the newest samples in the file
	retention  []byte // the shard's cut-offs; nil for none
}

func (r stateRecord) encode() []byte {
	b := make([]byte, 0, stateFixedBytes+4+len(r.Membership)+len(r.Machine)+len(r.retention))
	b = append(b, stateVersion)
	b = binary.BigEndian.AppendUint64(b, r.Index)
	b = binary.BigEndian.AppendUint64(b, r.Term)
	b = binary.BigEndian.AppendUint64(b, uint64(r.LogTime))
	b = binary.BigEndian.AppendUint64(b, r.generation)
	for _, blob := range [][]byte{r.Membership, r.Machine, r.retention} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(blob)))
		b = append(b, blob...)
	}
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// decodeState reads what encode wrote, in this version or an earlier one. An empty membership, machine or
// cut-offs come back as nil.
func decodeState(b []byte) (stateRecord, error) {
	if len(b) < stateFixedBytes || b[0] < 1 || b[0] > stateVersion {
		return stateRecord{}, errState
	}
	version := b[0]
	body := b[:len(b)-stateHashBytes]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return stateRecord{}, errState
	}
	number := func() uint64 {
		n := binary.BigEndian.Uint64(body)
		body = body[8:]
		return n
	}
	body = body[1:]
	r := stateRecord{}
	r.Index, r.Term, r.LogTime, r.generation = number(), number(), time.Duration(number()), number()
	blobs := []*[]byte{&r.Membership, &r.Machine}
	if version >= 2 {
		blobs = append(blobs, &r.retention)
	}
	for _, blob := range blobs {
		if len(body) < 4 {
			return stateRecord{}, errState
		}
		n := binary.BigEndian.Uint32(body)
		body = body[4:]
		if uint64(n) > uint64(len(body)) {
			return stateRecord{}, errState
		}
		if n > 0 {
			*blob = append([]byte(nil), body[:n]...)
		}
		body = body[n:]
	}
	if len(body) > 0 {
		return stateRecord{}, errState
	}
	return r, nil
}
