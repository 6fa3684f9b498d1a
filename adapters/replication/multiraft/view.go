package multiraft

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// view is the log as raft sees it: as it will be once every write that was emitted is done. It keeps the
// newest entries in memory, so that what is applied or sent soon after it was appended is not read back.
// Raft reads from it only what it knows to be durable, so older entries may be read from the Log.
type view struct {
	log       Log
	group     GroupID
	hardState *raftpb.HardState
	confState *raftpb.ConfState
	truncated LogPoint
	last      uint64

	recent      []*raftpb.Entry // contiguous, ends at last
	recentBytes int
	bytesMax    int    // of entries that are applied
	applied     uint64 // those after it are kept longer, for they will be read soon

	snapshot func() (*raftpb.Snapshot, error)
}

var _ raft.Storage = (*view)(nil)

// logFailure carries an error of the Log out of raft, which has no way to return one.
type logFailure struct{ err error }

// rethrowUnlessLogFailure turns a logFailure panic into err.
func rethrowUnlessLogFailure(panicked any, err *error) {
	switch p := panicked.(type) {
	case nil:
	case logFailure:
		*err = p.err
	default:
		panic(panicked)
	}
}

func (v *view) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return v.hardState, v.confState, nil
}

func (v *view) FirstIndex() (uint64, error) { return v.truncated.Index + 1, nil }

func (v *view) LastIndex() (uint64, error) { return v.last, nil }

func (v *view) Snapshot() (*raftpb.Snapshot, error) { return v.snapshot() }

// recentFirst is the index of the first entry in memory, one past the last when there is none.
func (v *view) recentFirst() uint64 { return v.last + 1 - uint64(len(v.recent)) }

func (v *view) Term(index uint64) (uint64, error) {
	switch {
	case index < v.truncated.Index:
		return 0, raft.ErrCompacted
	case index == v.truncated.Index:
		return v.truncated.Term, nil
	case index > v.last:
		return 0, raft.ErrUnavailable
	}
	if first := v.recentFirst(); index >= first {
		return v.recent[index-first].GetTerm(), nil
	}
	term, err := v.log.Term(v.group, index)
	if err != nil {
		panic(logFailure{fmt.Errorf("read term %d of %s: %w", index, v.group, err)})
	}
	return term, nil
}

func (v *view) Entries(lo, hi, bytesMax uint64) ([]*raftpb.Entry, error) {
	if lo <= v.truncated.Index {
		return nil, raft.ErrCompacted
	}
	if hi > v.last+1 || lo >= hi {
		return nil, raft.ErrUnavailable
	}
	first := v.recentFirst()
	if lo >= first {
		return firstBytes(v.recent[lo-first:hi-first], bytesMax), nil
	}
	entries, err := v.log.Entries(v.group, lo, min(hi, first), bytesMax)
	if err == nil && len(entries) == 0 {
		err = errors.New("no entries")
	}
	if err != nil {
		panic(logFailure{fmt.Errorf("read entries [%d,%d) of %s: %w", lo, hi, v.group, err)})
	}
	return entries, nil
}

// firstBytes copies the first entries whose data fits in bytesMax, at least one.
func firstBytes(entries []*raftpb.Entry, bytesMax uint64) []*raftpb.Entry {
	n, sum := 1, uint64(len(entries[0].GetData()))
	for n < len(entries) {
		sum += uint64(len(entries[n].GetData()))
		if sum > bytesMax {
			break
		}
		n++
	}
	return slices.Clone(entries[:n])
}

// append takes entries that are on their way to the log, replacing the tail from the first one on.
func (v *view) append(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	from := entries[0].GetIndex()
	if first := v.recentFirst(); from < first {
		v.forget(len(v.recent))
	} else {
		for _, e := range v.recent[from-first:] {
			v.recentBytes -= entryMemory(e)
		}
		v.recent = v.recent[:from-first]
	}
	v.recent = append(v.recent, entries...)
	for _, e := range entries {
		v.recentBytes += entryMemory(e)
	}
	v.last = entries[len(entries)-1].GetIndex()
	v.trim()
}

// unappliedFactor is how many times the bound of applied entries those that are not applied may take.
const unappliedFactor = 8

// trim drops the oldest entries that are too many to keep in memory.
func (v *view) trim() {
	n, bytes := 0, v.recentBytes
	for ; bytes > v.bytesMax && n < len(v.recent); n++ {
		if v.recent[n].GetIndex() > v.applied && bytes <= unappliedFactor*v.bytesMax {
			break
		}
		bytes -= entryMemory(v.recent[n])
	}
	v.forget(n)
}

// noteApplied says that entries up to index are applied.
func (v *view) noteApplied(index uint64) {
	v.applied = index
	v.trim()
}

// forget drops the n oldest entries from memory.
func (v *view) forget(n int) {
	for _, e := range v.recent[:n] {
		v.recentBytes -= entryMemory(e)
	}
	clear(v.recent[:n])
	v.recent = v.recent[n:]
}

// reset makes the log empty after at.
func (v *view) reset(at LogPoint) {
	v.forget(len(v.recent))
	v.truncated, v.last = at, at.Index
}

// truncate drops what comes before and at the point, which lies inside the log.
func (v *view) truncate(at LogPoint) {
	v.truncated = at
	if first := v.recentFirst(); at.Index >= first {
		v.forget(int(at.Index - first + 1))
	}
}

// entryMemory estimates what keeping an entry takes, in bytes.
func entryMemory(e *raftpb.Entry) int { return len(e.GetData()) + 128 }
