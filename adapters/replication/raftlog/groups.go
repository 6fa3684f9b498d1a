package raftlog

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
)

// groupBounds returns the first key that a group's records may have and the first after them.
func groupBounds(group multiraft.GroupID) (start, end []byte) {
	return appendKey(nil, group, 0), appendKey(nil, group, 0xff)
}

// Groups returns the groups that were created here and the replica ids that they have here.
func (s *Store) Groups() (_ map[multiraft.GroupID]uint64, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: appendKey(nil, storeGroup, 0)})
	if err != nil {
		return nil, asFault(err)
	}
	defer func() { err = errors.Join(err, asFault(it.Close())) }()
	groups := map[multiraft.GroupID]uint64{}
	for valid := it.First(); valid; {
		group := multiraft.GroupID(binary.BigEndian.Uint64(it.Key()))
		state, err := s.state(group)
		if err != nil {
			return nil, err
		}
		groups[group] = state.Identity.ReplicaID
		valid = it.SeekGE(appendKey(nil, group+1, 0))
	}
	return groups, asFault(it.Error())
}
