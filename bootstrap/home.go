package bootstrap

import (
	"context"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// home is where a node keeps who it is and what cluster it belongs to: a data directory, or only memory.
type home interface {
	outbound.MetaStore
	outbound.StateStore
	// Identify returns the stored identity, or stores a new one with this incarnation.
	Identify(nodeID, storageKind string, incarnation uint64) (datadir.Identity, error)
	Membership() (datadir.Membership, bool, error)
	SaveMembership(m datadir.Membership) error
	State() ([]byte, error)
	ForgetMeta() error
	// Retire forgets everything: this life of the node is over.
	Retire() error
	Close() error
}

var (
	_ home = (*datadir.Dir)(nil)
	_ home = (*memoryHome)(nil)
)

// memoryHome is a home that ends with the process. It is safe for concurrent use.
type memoryHome struct {
	mu struct {
		sync.Mutex
		identity   datadir.Identity
		membership datadir.Membership
		member     bool
		state      []byte
		meta       outbound.AppliedState
	}
}

// Identify implements home.
func (h *memoryHome) Identify(nodeID, storageKind string, incarnation uint64) (datadir.Identity, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.identity.Incarnation == 0 {
		h.mu.identity = datadir.Identity{NodeID: nodeID, StorageKind: storageKind, Incarnation: incarnation}
	}
	return h.mu.identity, nil
}

// Membership implements home.
func (h *memoryHome) Membership() (datadir.Membership, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.membership, h.mu.member, nil
}

// SaveMembership implements home.
func (h *memoryHome) SaveMembership(m datadir.Membership) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.membership, h.mu.member = m, true
	return nil
}

// State implements home.
func (h *memoryHome) State() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.state, nil
}

// SaveState implements home.
func (h *memoryHome) SaveState(encoded []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.state = encoded
	return nil
}

// SaveMeta implements outbound.MetaStore.
func (h *memoryHome) SaveMeta(_ context.Context, s outbound.AppliedState) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.meta = s
	return nil
}

// LoadMeta implements outbound.MetaStore.
func (h *memoryHome) LoadMeta(context.Context) (outbound.AppliedState, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.meta, nil
}

// ForgetMeta implements home.
func (h *memoryHome) ForgetMeta() error {
	return h.SaveMeta(context.Background(), outbound.AppliedState{})
}

// Retire implements home.
func (h *memoryHome) Retire() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.identity, h.mu.membership, h.mu.member = datadir.Identity{}, datadir.Membership{}, false
	h.mu.state, h.mu.meta = nil, outbound.AppliedState{}
	return nil
}

// Close implements home.
func (h *memoryHome) Close() error { return nil }
