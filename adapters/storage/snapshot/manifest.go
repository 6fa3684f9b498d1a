// Package snapshot is what storage adapters share about snapshots: the manifest, the check of received
// data, and the bounded set of those that are kept.
package snapshot

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Format says what a snapshot's data is.
type Format uint8

// Formats. Their numbers are on the wire.
const (
	FormatDuckDB Format = 1 // a shard's DuckDB file
	FormatMemory Format = 2 // an image of the memory adapter
)

// Manifest describes a snapshot's data.
type Manifest struct {
	Format Format
	Shard  shard.ID
	Index  uint64
	Term   uint64
	Bytes  int64
	SHA256 [sha256.Size]byte
}

// manifestVersion is the version of the encoding:
//
//	version, format  1 byte each
//	shard  4 bytes
//	index, term, bytes  8 bytes each
//	SHA-256  32 bytes
//	xxHash64 of all before  8 bytes
//
// All numbers are big-endian.
const manifestVersion = 1

const (
	manifestBodyBytes = 2 + 4 + 3*8 + sha256.Size
	manifestBytes     = manifestBodyBytes + 8
)

// Encode returns the manifest as bytes.
func (m Manifest) Encode() []byte {
	b := make([]byte, 0, manifestBytes)
	b = append(b, manifestVersion, byte(m.Format))
	b = binary.BigEndian.AppendUint32(b, uint32(m.Shard))
	for _, n := range []uint64{m.Index, m.Term, uint64(m.Bytes)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, m.SHA256[:]...)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

var (
	errManifest = fault.New(fault.Corrupt, "snapshot_damaged", "a snapshot's manifest is damaged")
	errVersion  = fault.New(fault.Conflict, "snapshot_format",
		"the snapshot has a format that this node does not know; run the same version and the same STORAGE on every node")
)

// Decode reads what Encode wrote. Corrupt for bytes that fail their check, Conflict for a later version.
func Decode(b []byte) (Manifest, error) {
	if len(b) < 1+8 {
		return Manifest{}, errManifest
	}
	body := b[:len(b)-8]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return Manifest{}, errManifest
	}
	if body[0] != manifestVersion {
		return Manifest{}, errVersion
	}
	if len(b) != manifestBytes {
		return Manifest{}, errManifest
	}
	number := func(at int) uint64 { return binary.BigEndian.Uint64(body[at:]) }
	m := Manifest{
		Format: Format(body[1]), Shard: shard.ID(binary.BigEndian.Uint32(body[2:])),
		Index: number(6), Term: number(14), Bytes: int64(number(22)), SHA256: [sha256.Size]byte(body[30:]),
	}
	if m.Bytes < 0 {
		return Manifest{}, errManifest
	}
	return m, nil
}

// DecodeFor is Decode for a manifest that must be of this format and shard, or is a Conflict.
func DecodeFor(b []byte, format Format, id shard.ID) (Manifest, error) {
	m, err := Decode(b)
	switch {
	case err != nil:
		return Manifest{}, err
	case m.Format != format:
		return Manifest{}, errVersion
	case m.Shard != id:
		return Manifest{}, fault.Newf(fault.Conflict, "snapshot_foreign", "the snapshot is of shard %d, not of shard %d", m.Shard, id)
	}
	return m, nil
}

// Describe returns the snapshot as far as its manifest tells.
func (m Manifest) Describe() outbound.ShardSnapshot {
	return outbound.ShardSnapshot{State: outbound.AppliedState{Index: m.Index, Term: m.Term}, Manifest: m.Encode()}
}
