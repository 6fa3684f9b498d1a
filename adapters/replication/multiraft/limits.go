package multiraft

import (
	"errors"
	"time"
)

// Limits bound what one replica holds and how it batches. The zero value of a field means its default.
type Limits struct {
	// EntryBytesMax bounds the commands coalesced into one entry; a single larger command goes alone.
	EntryBytesMax int
	// EntryCommandsMax bounds the number of commands in one entry.
	EntryCommandsMax int
	// EntriesInFlightMax bounds the proposed, uncommitted entries of a leader: what comes meanwhile
	// waits and becomes one entry, so batches grow with the load.
	EntriesInFlightMax int
	// UncommittedBytesMax bounds the bytes of proposed, uncommitted entries; one entry may exceed it.
	UncommittedBytesMax int
	// CommandBytesMax bounds one command.
	CommandBytesMax int
	// ProposalsWaitingMax bounds the proposals that wait to become an entry.
	ProposalsWaitingMax int
	// ProposalsWaitingBytesMax bounds their bytes.
	ProposalsWaitingBytesMax int
	// ReadsWaitingMax bounds the reads that wait for their index.
	ReadsWaitingMax int
	// MessageBytesMax bounds the entries in one message to a follower; one entry may exceed it.
	MessageBytesMax int
	// InflightBytesMax bounds the unacknowledged bytes sent to one follower.
	InflightBytesMax int
	// ApplyBytesMax bounds the committed bytes handed to the state machine and not yet applied.
	ApplyBytesMax int
	// CacheBytesMax bounds the recent entries kept in memory once they are applied, and with a factor
	// of eight those that are not; the latter are mostly the ones that raft itself holds.
	CacheBytesMax int
	// TrailingEntriesMax bounds the entries kept for followers that lack them, once durable.
	TrailingEntriesMax uint64
	// LeaderWaitMax is how long reads wait for a leader to appear before they are refused at once.
	LeaderWaitMax time.Duration
}

// DefaultLimits are what production runs with.
func DefaultLimits() Limits {
	return Limits{
		EntryBytesMax:            1 << 20,
		EntryCommandsMax:         1024,
		EntriesInFlightMax:       4,
		UncommittedBytesMax:      32 << 20,
		CommandBytesMax:          32 << 20,
		ProposalsWaitingMax:      4096,
		ProposalsWaitingBytesMax: 64 << 20,
		ReadsWaitingMax:          16384,
		MessageBytesMax:          1 << 20,
		InflightBytesMax:         16 << 20,
		ApplyBytesMax:            8 << 20,
		CacheBytesMax:            2 << 20,
		TrailingEntriesMax:       4096,
		LeaderWaitMax:            2500 * time.Millisecond,
	}
}

func (l *Limits) fill() error {
	d := DefaultLimits()
	for _, f := range []struct{ have, want *int }{
		{&l.EntryBytesMax, &d.EntryBytesMax},
		{&l.EntryCommandsMax, &d.EntryCommandsMax},
		{&l.EntriesInFlightMax, &d.EntriesInFlightMax},
		{&l.UncommittedBytesMax, &d.UncommittedBytesMax},
		{&l.CommandBytesMax, &d.CommandBytesMax},
		{&l.ProposalsWaitingMax, &d.ProposalsWaitingMax},
		{&l.ProposalsWaitingBytesMax, &d.ProposalsWaitingBytesMax},
		{&l.ReadsWaitingMax, &d.ReadsWaitingMax},
		{&l.MessageBytesMax, &d.MessageBytesMax},
		{&l.InflightBytesMax, &d.InflightBytesMax},
		{&l.ApplyBytesMax, &d.ApplyBytesMax},
		{&l.CacheBytesMax, &d.CacheBytesMax},
	} {
		if *f.have == 0 {
			*f.have = *f.want
		}
		if *f.have < 0 {
			return errors.New("check limits: a bound is negative")
		}
	}
	if l.TrailingEntriesMax == 0 {
		l.TrailingEntriesMax = d.TrailingEntriesMax
	}
	if l.LeaderWaitMax == 0 {
		l.LeaderWaitMax = d.LeaderWaitMax
	}
	if l.InflightBytesMax < l.MessageBytesMax {
		return errors.New("check limits: InflightBytesMax is below MessageBytesMax")
	}
	return nil
}
