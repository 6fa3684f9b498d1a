package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// refuseInterval is how often a node is told the same reason again: it may have been started anew and
// know nothing of the last time.
const refuseInterval = 30 * time.Second

// refuser tells nodes why they are not taken in, each once a reason and every refuseInterval. It is safe
// for concurrent use.
type refuser struct {
	contact outbound.Recruiter
	clock   outbound.Clock
	mu      struct {
		sync.Mutex
		told map[string]refusal // by address; none is older than refuseInterval after a call of due
	}
}

type refusal struct {
	reason string
	at     time.Duration
}

func newRefuser(contact outbound.Recruiter, clock outbound.Clock) *refuser {
	r := &refuser{contact: contact, clock: clock}
	r.mu.told = map[string]refusal{}
	return r
}

// refuse tells the node at address reason unless it was told lately. A node that could not be told is
// told with the next call.
func (r *refuser) refuse(ctx context.Context, address, reason string) error {
	if !r.due(address, reason) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recruitMax)
	defer cancel()
	err := r.contact.Refuse(ctx, address, reason)
	if err != nil {
		r.mu.Lock()
		delete(r.mu.told, address)
		r.mu.Unlock()
	}
	return err
}

// due takes note of a refusal and reports whether it is to be told.
func (r *refuser) due(address, reason string) bool {
	now := r.clock.Monotonic()
	r.mu.Lock()
	defer r.mu.Unlock()
	for a, told := range r.mu.told {
		if now-told.at >= refuseInterval {
			delete(r.mu.told, a)
		}
	}
	if r.mu.told[address].reason == reason {
		return false
	}
	r.mu.told[address] = refusal{reason: reason, at: now}
	return true
}
