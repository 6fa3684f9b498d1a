package raftlog

import (
	"errors"
	"fmt"
	"maps"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
)

// tailDeletesMax bounds how many entries of a replaced tail are deleted one by one; a longer tail is
// deleted as a range, which costs every reader a little until it is compacted.
const tailDeletesMax = 64

// Write implements multiraft.Log. An error of its checks (a gap, a group that was never created)
// changes nothing; every other error has been reported to Options.Fatal too.
func (s *Store) Write(writes []multiraft.LogWrite) (err error) {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	batch := s.db.NewBatchWithSize(sizeOf(writes))
	defer func() { err = errors.Join(err, batch.Close()) }()
	staged := make(map[multiraft.GroupID]multiraft.LogState, len(writes))
	for i := range writes {
		w := &writes[i]
		state, ok := staged[w.Group]
		if !ok {
			if state, err = s.state(w.Group); err != nil {
				return err
			}
		}
		if state, err = stage(batch, state, w); err != nil {
			return fmt.Errorf("write the log of %s: %w", w.Group, err)
		}
		staged[w.Group] = state
	}
	if batch.Empty() {
		return nil
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("write the log: %w", asFault(err))
	}
	if err := s.failure(); err != nil { // Pebble reports a failed fsync to its logger only
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.mu.groups, staged)
	return nil
}

func sizeOf(writes []multiraft.LogWrite) int {
	bytes := 64
	for i := range writes {
		bytes += 64
		for _, e := range writes[i].Entries {
			bytes += entryKeyBytes + entryHeaderBytes + len(e.GetData()) + 12
		}
	}
	return bytes
}

// stage adds w to batch and returns the group's state after it. It does not change what state points
// to.
func stage(batch *pebble.Batch, state multiraft.LogState, w *multiraft.LogWrite) (multiraft.LogState, error) {
	if w.Destroy {
		return multiraft.LogState{}, destroy(batch, w.Group)
	}
	if w.Create != nil {
		if state.Identity.ReplicaID != 0 {
			return state, fmt.Errorf("replica %d exists already", state.Identity.ReplicaID)
		}
		state.Identity = multiraft.LogIdentity{ReplicaID: w.Create.ReplicaID, Founding: append([]byte(nil), w.Create.Founding...)}
		if err := batch.Set(appendKey(nil, w.Group, kindIdentity), encodeIdentity(state.Identity), nil); err != nil {
			return state, err
		}
	}
	if state.Identity.ReplicaID == 0 {
		return state, errors.New("it was never created")
	}
	if w.Reset != nil {
		if err := dropEntries(batch, w.Group, state.First(), state.Last); err != nil {
			return state, err
		}
		state.Truncated, state.Last = *w.Reset, w.Reset.Index
		if err := batch.Set(appendKey(nil, w.Group, kindTruncation), encodePoint(state.Truncated), nil); err != nil {
			return state, err
		}
	}
	if w.HardState != nil {
		if err := batch.Set(appendKey(nil, w.Group, kindHardState), encodeHardState(w.HardState), nil); err != nil {
			return state, err
		}
		state.HardState = copyHardState(w.HardState)
	}
	state, err := stageEntries(batch, state, w)
	if err != nil {
		return state, err
	}
	if commit := state.HardState.GetCommit(); commit > state.Last {
		return state, fmt.Errorf("commit %d is behind the last entry %d", commit, state.Last)
	}
	if w.Truncate == nil {
		return state, nil
	}
	if w.Truncate.Index < state.First() || w.Truncate.Index > state.Last {
		return state, fmt.Errorf("truncation at %d is outside [%d, %d]", w.Truncate.Index, state.First(), state.Last)
	}
	if err := dropEntries(batch, w.Group, state.First(), w.Truncate.Index); err != nil {
		return state, err
	}
	state.Truncated = *w.Truncate
	return state, batch.Set(appendKey(nil, w.Group, kindTruncation), encodePoint(state.Truncated), nil)
}

// destroy deletes every record of the group.
func destroy(batch *pebble.Batch, group multiraft.GroupID) error {
	start, end := groupBounds(group)
	return batch.DeleteRange(start, end, nil)
}

func copyHardState(hs *raftpb.HardState) *raftpb.HardState {
	return &raftpb.HardState{Term: new(hs.GetTerm()), Vote: new(hs.GetVote()), Commit: new(hs.GetCommit())}
}

// stageEntries replaces the tail from the first entry's index on.
func stageEntries(batch *pebble.Batch, state multiraft.LogState, w *multiraft.LogWrite) (multiraft.LogState, error) {
	if len(w.Entries) == 0 {
		return state, nil
	}
	first := w.Entries[0].GetIndex()
	if first < state.First() || first > state.Last+1 {
		return state, fmt.Errorf("entry %d does not follow [%d, %d]", first, state.First(), state.Last)
	}
	for i, e := range w.Entries {
		if e.GetIndex() != first+uint64(i) {
			return state, fmt.Errorf("entry %d stands where %d belongs", e.GetIndex(), first+uint64(i))
		}
		op := batch.SetDeferred(entryKeyBytes, entryHeaderBytes+len(e.GetData()))
		appendEntryKey(op.Key[:0], w.Group, e.GetIndex())
		putEntryHeader(op.Value, e)
		copy(op.Value[entryHeaderBytes:], e.GetData())
		if err := op.Finish(); err != nil {
			return state, err
		}
	}
	last := w.Entries[len(w.Entries)-1].GetIndex()
	old := state.Last
	state.Last = last
	return state, dropEntries(batch, w.Group, last+1, old)
}

// dropEntries deletes the entries first to last, both included, if there are any.
func dropEntries(batch *pebble.Batch, group multiraft.GroupID, first, last uint64) error {
	if first > last {
		return nil
	}
	if last-first >= tailDeletesMax {
		return batch.DeleteRange(appendEntryKey(nil, group, first), appendEntryKey(nil, group, last+1), nil)
	}
	for index := first; index <= last; index++ {
		if err := batch.Delete(appendEntryKey(nil, group, index), nil); err != nil {
			return err
		}
	}
	return nil
}
