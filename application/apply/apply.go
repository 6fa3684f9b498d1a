// Package apply is the replicated state machine: it turns committed commands into stored samples,
// each exactly once, and remembers in replicated state what it needs for that.
package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Options are what a StateMachine works with.
type Options struct {
	Appender outbound.SampleAppender
	// Remover forgets samples; nil only where no command asks for that, for one that does breaks the shard.
	Remover outbound.SampleRemover
	Cutter  outbound.StateCutter
	// Pinner holds content fast where a mark asks for it; nil: marks are passed over.
	Pinner outbound.ContentPinner
	Limits Limits // zero fields take defaults; equal on all replicas
}

// StateMachine is the state machines of a node's shards. It is safe for concurrent use; calls for
// one shard take turns.
type StateMachine struct {
	options   Options
	cutReady  chan struct{}
	digesting chan struct{} // bounds the digests under way

	mu struct {
		sync.Mutex
		machines map[shard.ID]*machine
		cut      []shard.ID // shards cut since TakeCut, each once
	}
}

var _ inbound.Applier = (*StateMachine)(nil)

// New returns a StateMachine without shards.
func New(o Options) *StateMachine {
	o.Limits = o.Limits.orDefaults()
	s := &StateMachine{options: o, cutReady: make(chan struct{}, 1), digesting: make(chan struct{}, digestsMax)}
	s.mu.machines = make(map[shard.ID]*machine)
	return s
}

// Restore takes up a shard at state, which outbound.ShardOpener.Open returned: zero for a new shard.
// It replaces the shard's machine, if any; no Apply of the shard may run beside it. Corrupt when
// the state's bytes fail their check.
func (s *StateMachine) Restore(id shard.ID, state outbound.AppliedState) error {
	m, err := newMachine(id, s.options, state)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.machines[id] = m
	return nil
}

// Forget drops a shard that left this node; no Apply of it may run beside it.
func (s *StateMachine) Forget(id shard.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.machines, id)
	s.mu.cut = slices.DeleteFunc(s.mu.cut, func(cut shard.ID) bool { return cut == id })
}

// Apply implements inbound.Applier. Where storage asks for it the shard is cut behind the entry that
// made it ask, see CutReady. After an error an entry may be half applied: the shard applies nothing
// more and is not cut again until it is restored.
func (s *StateMachine) Apply(ctx context.Context, id shard.ID, entries []inbound.Entry) ([][]byte, error) {
	m, err := s.machine(id)
	if err != nil {
		return nil, err
	}
	outcomes, cut, err := m.apply(ctx, entries)
	if cut {
		s.announce(id)
	}
	return outcomes, err
}

// Cut freezes what the shard has applied so that it can be flushed. It reports false when nothing
// was applied since the cut before, or when the shard is broken or unknown.
func (s *StateMachine) Cut(id shard.ID) bool {
	m, err := s.machine(id)
	if err != nil {
		return false
	}
	m.mu.Lock()
	cut := m.mu.broken == nil && m.mu.applied.Index > m.mu.cut
	if cut {
		m.freeze()
	}
	m.mu.Unlock()
	if cut {
		s.announce(id)
	}
	return cut
}

// Applied returns the index of the newest entry that the shard has applied, 0 for an unknown shard.
func (s *StateMachine) Applied(id shard.ID) uint64 {
	m, err := s.machine(id)
	if err != nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.applied.Index
}

// State returns what a cut at this moment would store with the shard's samples: equal on all
// replicas that have applied the same entries, but for Membership's memory, which must not be changed.
func (s *StateMachine) State(id shard.ID) (outbound.AppliedState, error) {
	m, err := s.machine(id)
	if err != nil {
		return outbound.AppliedState{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.broken != nil {
		return outbound.AppliedState{}, m.mu.broken
	}
	return m.state(), nil
}

// Shards returns the shards that were restored, ascending.
func (s *StateMachine) Shards() []shard.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.mu.machines))
}

// CutReady returns a channel that holds a value while TakeCut may have shards.
func (s *StateMachine) CutReady() <-chan struct{} { return s.cutReady }

// TakeCut returns the shards that were cut since the call before, each once, in order of their cuts.
func (s *StateMachine) TakeCut() []shard.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	cut := s.mu.cut
	s.mu.cut = nil
	return cut
}

func (s *StateMachine) announce(id shard.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.mu.cut, id) {
		s.mu.cut = append(s.mu.cut, id)
	}
	select {
	case s.cutReady <- struct{}{}:
	default:
	}
}

func (s *StateMachine) machine(id shard.ID) (*machine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.mu.machines[id]
	if !ok {
		return nil, fmt.Errorf("shard %v is not on this node", id)
	}
	return m, nil
}
