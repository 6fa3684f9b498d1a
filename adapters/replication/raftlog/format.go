package raftlog

import (
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// The store's records. Integers are big-endian, so that keys sort by group, kind and index; every
// value starts with the version of its format.
//
//	key                              value
//	group 8 | 'h'                    1 | term 8 | vote 8 | commit 8
//	group 8 | 'i'                    1 | replica id 8 | founding …
//	group 8 | 'l' | index 8          1 | type 1 | term 8 | data …
//	group 8 | 't'                    1 | index 8 | term 8
//	ff × 8  | 'o'                    1 | cluster 8 | incarnation 8 | node …
//	ff × 8  | 'v'                    1 | version of the store's layout 4
const (
	recordVersion = 1
	layoutVersion = 1

	kindHardState  = 'h'
	kindIdentity   = 'i'
	kindEntry      = 'l'
	kindTruncation = 't'
	kindOwner      = 'o'
	kindLayout     = 'v'

	// storeGroup stands for the store itself; it is no group's id.
	storeGroup = multiraft.GroupID(math.MaxUint64)

	groupKeyBytes    = 9
	entryKeyBytes    = groupKeyBytes + 8
	entryHeaderBytes = 10
	hardStateBytes   = 25
	pointBytes       = 17
	identityBytes    = 9 // and the founding configuration
	ownerBytes       = 17
	layoutBytes      = 5
)

func corruptf(format string, args ...any) error {
	return fault.Newf(fault.Corrupt, "log_corrupt", "raft log: "+format, args...)
}

func appendKey(b []byte, group multiraft.GroupID, kind byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(group)), kind)
}

func appendEntryKey(b []byte, group multiraft.GroupID, index uint64) []byte {
	return binary.BigEndian.AppendUint64(appendKey(b, group, kindEntry), index)
}

// putEntryHeader fills the first entryHeaderBytes of an entry's value.
func putEntryHeader(b []byte, entry *raftpb.Entry) {
	b[0] = recordVersion
	b[1] = byte(entry.GetType())
	binary.BigEndian.PutUint64(b[2:], entry.GetTerm())
}

func checkRecord(what string, value []byte, bytes int, exact bool) error {
	switch {
	case len(value) < bytes || exact && len(value) != bytes:
		return corruptf("%s has %d bytes", what, len(value))
	case value[0] != recordVersion:
		return corruptf("%s has format version %d, this program knows %d", what, value[0], recordVersion)
	}
	return nil
}

// decodeEntryTerm is decodeEntry for who needs the term only.
func decodeEntryTerm(value []byte) (uint64, error) {
	if err := checkRecord("entry", value, entryHeaderBytes, false); err != nil {
		return 0, err
	}
	if _, known := raftpb.EntryType_name[int32(value[1])]; !known {
		return 0, corruptf("entry has type %d", value[1])
	}
	return binary.BigEndian.Uint64(value[2:]), nil
}

// decodeEntry copies what it keeps of value.
func decodeEntry(index uint64, value []byte) (*raftpb.Entry, error) {
	term, err := decodeEntryTerm(value)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	entry := &raftpb.Entry{Index: new(index), Term: new(term), Type: raftpb.EntryType(value[1]).Enum()}
	if len(value) > entryHeaderBytes {
		entry.Data = append([]byte(nil), value[entryHeaderBytes:]...)
	}
	return entry, nil
}

func encodeHardState(hs *raftpb.HardState) []byte {
	b := append(make([]byte, 0, hardStateBytes), recordVersion)
	b = binary.BigEndian.AppendUint64(b, hs.GetTerm())
	b = binary.BigEndian.AppendUint64(b, hs.GetVote())
	return binary.BigEndian.AppendUint64(b, hs.GetCommit())
}

func decodeHardState(value []byte) (*raftpb.HardState, error) {
	if err := checkRecord("hard state", value, hardStateBytes, true); err != nil {
		return nil, err
	}
	return &raftpb.HardState{
		Term:   new(binary.BigEndian.Uint64(value[1:])),
		Vote:   new(binary.BigEndian.Uint64(value[9:])),
		Commit: new(binary.BigEndian.Uint64(value[17:])),
	}, nil
}

func encodePoint(p multiraft.LogPoint) []byte {
	b := append(make([]byte, 0, pointBytes), recordVersion)
	b = binary.BigEndian.AppendUint64(b, p.Index)
	return binary.BigEndian.AppendUint64(b, p.Term)
}

func decodePoint(value []byte) (multiraft.LogPoint, error) {
	if err := checkRecord("truncation", value, pointBytes, true); err != nil {
		return multiraft.LogPoint{}, err
	}
	return multiraft.LogPoint{Index: binary.BigEndian.Uint64(value[1:]), Term: binary.BigEndian.Uint64(value[9:])}, nil
}

func encodeIdentity(id multiraft.LogIdentity) []byte {
	b := append(make([]byte, 0, identityBytes+len(id.Founding)), recordVersion)
	b = binary.BigEndian.AppendUint64(b, id.ReplicaID)
	return append(b, id.Founding...)
}

// decodeIdentity reads an empty founding configuration as nil: none was stored.
func decodeIdentity(value []byte) (multiraft.LogIdentity, error) {
	if err := checkRecord("identity", value, identityBytes, false); err != nil {
		return multiraft.LogIdentity{}, err
	}
	return multiraft.LogIdentity{
		ReplicaID: binary.BigEndian.Uint64(value[1:]),
		Founding:  append([]byte(nil), value[identityBytes:]...),
	}, nil
}

// Owner says whose store it is: a node never starts on another's, nor on one of another cluster.
type Owner struct {
	Cluster     uint64 // the cluster's id; 0 while the node belongs to none
	Incarnation uint64 // tells one life of the node's data directory from the next
	Node        string // NODE_ID
}

func encodeOwner(o Owner) []byte {
	b := append(make([]byte, 0, ownerBytes+len(o.Node)), recordVersion)
	b = binary.BigEndian.AppendUint64(b, o.Cluster)
	b = binary.BigEndian.AppendUint64(b, o.Incarnation)
	return append(b, o.Node...)
}

func decodeOwner(value []byte) (Owner, error) {
	if err := checkRecord("owner", value, ownerBytes, false); err != nil {
		return Owner{}, err
	}
	return Owner{
		Cluster:     binary.BigEndian.Uint64(value[1:]),
		Incarnation: binary.BigEndian.Uint64(value[9:]),
		Node:        string(value[ownerBytes:]),
	}, nil
}

func encodeLayout(version uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{recordVersion}, version)
}

func decodeLayout(value []byte) (uint32, error) {
	if err := checkRecord("layout", value, layoutBytes, true); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(value[1:]), nil
}
