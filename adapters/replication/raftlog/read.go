package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
)

// Load implements multiraft.Log. The first Load of a group reads the whole log of it, so that damage
// is found before the replica votes, not when the entry is needed.
func (s *Store) Load(group multiraft.GroupID) (multiraft.LogState, error) {
	if err := s.failure(); err != nil {
		return multiraft.LogState{}, err
	}
	state, err := s.state(group)
	if state.HardState != nil {
		state.HardState = copyHardState(state.HardState)
	}
	return state, err
}

// state returns what is known of group, from memory after the first time.
func (s *Store) state(group multiraft.GroupID) (multiraft.LogState, error) {
	s.mu.RLock()
	state, ok := s.mu.groups[group]
	s.mu.RUnlock()
	if ok {
		return state, nil
	}
	state, err := s.readState(group)
	if err != nil {
		return state, fmt.Errorf("load the log of %s: %w", group, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer, ok := s.mu.groups[group]; ok { // written meanwhile
		return newer, nil
	}
	s.mu.groups[group] = state
	return state, nil
}

func (s *Store) readState(group multiraft.GroupID) (state multiraft.LogState, err error) {
	start, end := groupBounds(group)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return state, asFault(err)
	}
	defer func() { err = errors.Join(err, asFault(it.Close())) }()
	var first, last uint64 // of the entries found; 0 when there is none
	for valid := it.First(); valid; valid = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return state, asFault(err)
		}
		key := it.Key()
		if key[groupKeyBytes-1] == kindEntry {
			index, err := checkEntry(key, value, last)
			if err != nil {
				return state, err
			}
			if first == 0 {
				first = index
			}
			last = index
			continue
		}
		if err := readRecord(&state, key, value); err != nil {
			return state, err
		}
	}
	if err := asFault(it.Error()); err != nil {
		return state, err
	}
	return state, settle(&state, first, last)
}

// checkEntry returns the index of the entry at key, which must follow previous unless that is 0.
func checkEntry(key, value []byte, previous uint64) (uint64, error) {
	if len(key) != entryKeyBytes {
		return 0, corruptf("entry key has %d bytes", len(key))
	}
	index := binary.BigEndian.Uint64(key[groupKeyBytes:])
	if previous != 0 && index != previous+1 {
		return 0, corruptf("entry %d follows entry %d", index, previous)
	}
	_, err := decodeEntryTerm(value)
	return index, err
}

func readRecord(state *multiraft.LogState, key, value []byte) (err error) {
	switch key[groupKeyBytes-1] {
	case kindHardState:
		state.HardState, err = decodeHardState(value)
	case kindIdentity:
		state.Identity, err = decodeIdentity(value)
	case kindTruncation:
		state.Truncated, err = decodePoint(value)
	default:
		err = corruptf("record of unknown kind %q", key[groupKeyBytes-1])
	}
	return err
}

// settle checks that a group's records agree with each other and fills in Last.
func settle(state *multiraft.LogState, first, last uint64) error {
	state.Last = state.Truncated.Index
	if last != 0 {
		if first != state.First() {
			return corruptf("entries begin at %d, the log at %d", first, state.First())
		}
		state.Last = last
	}
	if state.Identity.ReplicaID == 0 && (last != 0 || state.HardState != nil || state.Truncated != multiraft.LogPoint{}) {
		return corruptf("the identity record is missing")
	}
	if commit := state.HardState.GetCommit(); commit > state.Last {
		return corruptf("entries end at %d although %d is committed", state.Last, commit)
	}
	return nil
}

// Entries implements multiraft.Log. An entry that is missing inside the log is Corrupt.
func (s *Store) Entries(group multiraft.GroupID, lo, hi, bytesMax uint64) (entries []*raftpb.Entry, err error) {
	state, err := s.Load(group)
	if err != nil {
		return nil, err
	}
	if lo < state.First() || hi <= lo || hi > state.Last+1 {
		return nil, fmt.Errorf("read entries [%d, %d) of %s: the log holds [%d, %d]", lo, hi, group, state.First(), state.Last)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: appendEntryKey(nil, group, lo),
		UpperBound: appendEntryKey(nil, group, hi),
	})
	if err != nil {
		return nil, fmt.Errorf("read entries of %s: %w", group, asFault(err))
	}
	defer func() { err = errors.Join(err, asFault(it.Close())) }()
	var bytes uint64
	next := lo
	for valid := it.First(); valid; valid = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("read entries of %s: %w", group, asFault(err))
		}
		if index := binary.BigEndian.Uint64(it.Key()[groupKeyBytes:]); index != next {
			return nil, corruptf("entry %d of %s is missing", next, group)
		}
		entry, err := decodeEntry(next, value)
		if err != nil {
			return nil, err
		}
		bytes += uint64(len(entry.GetData()))
		if bytes > bytesMax && next > lo {
			return entries, nil
		}
		entries = append(entries, entry)
		next++
	}
	if err := asFault(it.Error()); err != nil {
		return nil, fmt.Errorf("read entries of %s: %w", group, err)
	}
	if next != hi {
		return nil, corruptf("entry %d of %s is missing", next, group)
	}
	return entries, nil
}

// Term implements multiraft.Log. An entry that is missing inside the log is Corrupt.
func (s *Store) Term(group multiraft.GroupID, index uint64) (uint64, error) {
	state, err := s.Load(group)
	if err != nil {
		return 0, err
	}
	if index == state.Truncated.Index {
		return state.Truncated.Term, nil
	}
	if index < state.First() || index > state.Last {
		return 0, fmt.Errorf("read term %d of %s: the log holds [%d, %d]", index, group, state.First(), state.Last)
	}
	value, found, err := s.get(appendEntryKey(nil, group, index))
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, corruptf("entry %d of %s is missing", index, group)
	}
	return decodeEntryTerm(value)
}
