package bootstrap

import (
	"sync"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
)

// refusalsLoggedMax bounds the distinct refusals that are remembered as logged.
const refusalsLoggedMax = 32

// refused keeps why others do not take this node into their cluster. It is safe for concurrent use.
type refused struct {
	keyring *link.Keyring
	logger  zerolog.Logger
	mu      struct {
		sync.Mutex
		reason string                      // the last one while the node belongs to no cluster
		logged map[link.Rejection]struct{} // so that each is logged once, however often it is repeated
	}
}

func newRefused(keyring *link.Keyring, logger zerolog.Logger) *refused {
	r := &refused{keyring: keyring, logger: logger}
	r.mu.logged = map[link.Rejection]struct{}{}
	return r
}

// hear takes a refusal by another node.
func (r *refused) hear(rejection link.Rejection) {
	own := r.keyring.ClusterID()
	if own != "" && own == rejection.ClusterID {
		return // it was taken in meanwhile
	}
	if !r.note(rejection, own == "") {
		return
	}
	event := r.logger.Warn().Stringer("by", rejection.By.ID()).Str("address", rejection.By.Address()).
		Str("cluster", rejection.ClusterID).Str("reason", rejection.Reason)
	if own == "" {
		event.Msg("this node was refused")
		return
	}
	event.Str("own_cluster", own).Msg("a node of another cluster asked to adopt this node; it stays in its own")
}

// note remembers a rejection and reports whether it is a new one.
func (r *refused) note(rejection link.Rejection, waits bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if waits {
		r.mu.reason = rejection.Reason
	}
	if _, known := r.mu.logged[rejection]; known {
		return false
	}
	if len(r.mu.logged) >= refusalsLoggedMax {
		clear(r.mu.logged)
	}
	r.mu.logged[rejection] = struct{}{}
	return true
}

// forget drops the refusals: the node was taken in.
func (r *refused) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.reason = ""
	clear(r.mu.logged)
}

// after adds the last refusal, if any, to what the node waits for.
func (r *refused) after(waiting string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.reason == "" {
		return waiting
	}
	return waiting + "; refused: " + r.mu.reason
}
