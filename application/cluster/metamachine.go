package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.MetaApplier = (*MetaMachine)(nil)

// MetaMachine is the meta group's state machine on a node that is a member of it. Changes are rare
// and small, so each batch of entries is saved whole before it counts as applied. ApplyMeta and
// Install are called serially by replication; Applied may be called beside them.
type MetaMachine struct {
	view      *View
	store     outbound.MetaStore
	truncator outbound.MetaTruncator
	mu        struct {
		sync.Mutex
		state   *cluster.State
		applied outbound.AppliedState
	}
}

// NewMetaMachine continues from applied, whose Machine is an encoded State: what LoadMeta returned, or
// at index 0 the state that the cluster was founded with. A member that joined later starts without
// one; it gets its state by Install before there is anything to apply.
func NewMetaMachine(applied outbound.AppliedState, view *View, store outbound.MetaStore, truncator outbound.MetaTruncator) (*MetaMachine, error) {
	m := &MetaMachine{view: view, store: store, truncator: truncator}
	if applied.Machine == nil {
		return m, nil
	}
	return m, m.adopt(applied)
}

func (m *MetaMachine) adopt(applied outbound.AppliedState) error {
	state, err := DecodeState(applied.Machine)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.mu.state, m.mu.applied = state, applied
	m.mu.Unlock()
	m.view.Update(state)
	return nil
}

// Applied returns the durable state, which is also the snapshot that a member far behind is sent.
func (m *MetaMachine) Applied() outbound.AppliedState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.applied
}

// Install replaces the state by a snapshot of another member.
func (m *MetaMachine) Install(ctx context.Context, applied outbound.AppliedState) error {
	if _, err := DecodeState(applied.Machine); err != nil {
		return err
	}
	if err := m.store.SaveMeta(ctx, applied); err != nil {
		return fmt.Errorf("install meta snapshot: %w", err)
	}
	return m.adopt(applied)
}

// ApplyMeta implements inbound.MetaApplier.
func (m *MetaMachine) ApplyMeta(ctx context.Context, entries []inbound.Entry) ([][]byte, error) {
	m.mu.Lock()
	state, applied := m.mu.state, m.mu.applied
	m.mu.Unlock()
	if state == nil {
		return nil, errNoState
	}
	next := state.Clone()
	var outcomes [][]byte
	for _, e := range entries {
		for _, data := range e.Commands {
			outcome, err := encodeOutcome(applyCommand(next, data))
			if err != nil {
				return nil, err
			}
			outcomes = append(outcomes, outcome)
		}
		applied.Index, applied.Term, applied.LogTime = e.Index, e.Term, e.LogTime
		if e.Membership != nil {
			applied.Membership = e.Membership
		}
	}
	encoded, err := EncodeState(next)
	if err != nil {
		return nil, err
	}
	applied.Machine = encoded
	if err := m.store.SaveMeta(ctx, applied); err != nil {
		return nil, fmt.Errorf("save meta state: %w", err)
	}
	m.mu.Lock()
	m.mu.state, m.mu.applied = next, applied
	m.mu.Unlock()
	m.view.Update(next)
	m.truncator.DurableMeta(applied.Index)
	return outcomes, nil
}

// errNoState means that replication applied entries before it installed a snapshot.
var errNoState = errors.New("the meta group's state is missing")

// applyCommand carries out one command; what it refuses changes nothing. A command that this version
// cannot read is refused alike on every member, as all of them run the same version of the format.
func applyCommand(s *cluster.State, data []byte) error {
	c, err := DecodeCommand(data)
	if err != nil {
		return fault.From(err)
	}
	return c.apply(s)
}
