package multiraft

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// memLog is a Log in memory that holds its callers to the contract.
type memLog struct {
	mu struct {
		sync.Mutex
		groups map[GroupID]*memGroup
		writes int
		fail   error
	}
	gate chan struct{} // when not nil, every Write takes one value from it first
}

type memGroup struct {
	state   LogState
	entries []*raftpb.Entry
}

func newMemLog() *memLog {
	l := &memLog{}
	l.mu.groups = map[GroupID]*memGroup{}
	return l
}

func (l *memLog) Load(g GroupID) (LogState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.mu.groups[g]; have != nil {
		return have.state, nil
	}
	return LogState{}, nil
}

func (l *memLog) Entries(g GroupID, lo, hi, bytesMax uint64) ([]*raftpb.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.mu.groups[g]
	if have == nil || lo < have.state.First() || hi > have.state.Last+1 || lo >= hi {
		return nil, fmt.Errorf("no entries [%d,%d)", lo, hi)
	}
	first := have.state.First()
	return firstBytes(have.entries[lo-first:hi-first], bytesMax), nil
}

func (l *memLog) Term(g GroupID, index uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.mu.groups[g]
	switch {
	case have == nil || index < have.state.Truncated.Index || index > have.state.Last:
		return 0, fmt.Errorf("no entry %d", index)
	case index == have.state.Truncated.Index:
		return have.state.Truncated.Term, nil
	}
	return have.entries[index-have.state.First()].GetTerm(), nil
}

func (l *memLog) Write(writes []LogWrite) error {
	if l.gate != nil {
		<-l.gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.fail != nil {
		return l.mu.fail
	}
	l.mu.writes++
	for i := range writes {
		if err := l.write(&writes[i]); err != nil {
			return fmt.Errorf("%s: %w", writes[i].Group, err)
		}
	}
	return nil
}

func (l *memLog) write(w *LogWrite) error {
	if w.Destroy {
		delete(l.mu.groups, w.Group)
		return nil
	}
	have := l.mu.groups[w.Group]
	if have == nil {
		if w.Create == nil {
			return fmt.Errorf("write %+v before create", w)
		}
		have = &memGroup{state: LogState{Identity: *w.Create}}
		l.mu.groups[w.Group] = have
	} else if w.Create != nil {
		return errors.New("created twice")
	}
	s := &have.state
	if w.Reset != nil {
		s.Truncated, s.Last, have.entries = *w.Reset, w.Reset.Index, nil
	}
	if w.HardState != nil {
		if w.HardState.GetTerm() < s.HardState.GetTerm() {
			return errors.New("term goes back")
		}
		s.HardState = w.HardState
	}
	if len(w.Entries) > 0 {
		from := w.Entries[0].GetIndex()
		if from <= s.Truncated.Index || from > s.Last+1 {
			return fmt.Errorf("append at %d to (%d,%d]", from, s.Truncated.Index, s.Last)
		}
		have.entries = append(slices.Clone(have.entries[:from-s.First()]), w.Entries...)
		s.Last = w.Entries[len(w.Entries)-1].GetIndex()
	}
	if w.Truncate != nil {
		at := *w.Truncate
		if at.Index <= s.Truncated.Index || at.Index > s.Last || have.entries[at.Index-s.First()].GetTerm() != at.Term {
			return fmt.Errorf("truncate to %+v in (%d,%d]", at, s.Truncated.Index, s.Last)
		}
		have.entries = slices.Clone(have.entries[at.Index-s.First()+1:])
		s.Truncated = at
	}
	if c := s.HardState.GetCommit(); c > s.Last {
		return fmt.Errorf("commit %d past last %d", c, s.Last)
	}
	return nil
}
