package multiraft

import "time"

// Observer is told what happens, for measurements. Its methods are called by several goroutines at once,
// on the paths they measure, so they return at once.
type Observer interface {
	// BatchProposed: a leader here made one entry of this many waiting commands and bytes.
	BatchProposed(g GroupID, commands, bytes int)
	// LogWritten: one durable write of the log held this many entries, of this many groups, and bytes.
	LogWritten(groups, entries, bytes int, took time.Duration)
	// EntriesApplied: the state machine took these entries and commands.
	EntriesApplied(g GroupID, entries, commands int, took time.Duration)
	// ProposalAnswered: a proposal's caller got its answer, err as Propose returned it, this long after
	// it asked.
	ProposalAnswered(g GroupID, took time.Duration, err error)
	// LeaderChanged: the group's leader or term is another one, as far as this replica knows.
	LeaderChanged(g GroupID, change LeaderChanged)
}

// silent is the observer of a node that nobody observes.
type silent struct{}

var _ Observer = silent{}

func (silent) BatchProposed(GroupID, int, int)                 {}
func (silent) LogWritten(int, int, int, time.Duration)         {}
func (silent) EntriesApplied(GroupID, int, int, time.Duration) {}
func (silent) ProposalAnswered(GroupID, time.Duration, error)  {}
func (silent) LeaderChanged(GroupID, LeaderChanged)            {}
