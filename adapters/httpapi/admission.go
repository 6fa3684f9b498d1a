package httpapi

import (
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// overloadRetryAfter is what clients are told to wait when the server is at a limit.
const overloadRetryAfter = time.Second

// ErrTooManyRequests and ErrTooManyBytes are what a request gets for which the node has no room.
var (
	ErrTooManyRequests = fault.New(fault.Exhausted, "too_many_requests",
		"the node answers as many requests as it may; try again shortly or ask another node").WithRetryAfter(overloadRetryAfter)
	ErrTooManyBytes = fault.New(fault.Exhausted, "too_many_bytes",
		"the bodies of other writes take all the room there is; try again shortly or ask another node").WithRetryAfter(overloadRetryAfter)
)

// inFlight counts requests being answered.
type inFlight struct {
	mu struct {
		sync.Mutex
		count   int
		waiters []chan struct{} // closed when count becomes 0
	}
}

// enter counts one request more unless countMax are there; a negative countMax is no limit.
func (f *inFlight) enter(countMax int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if countMax >= 0 && f.mu.count >= countMax {
		return false
	}
	f.mu.count++
	return true
}

func (f *inFlight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.count--
	if f.mu.count == 0 {
		for _, w := range f.mu.waiters {
			close(w)
		}
		f.mu.waiters = nil
	}
}

// idle returns a channel that is closed when no request is in flight.
func (f *inFlight) idle() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := make(chan struct{})
	if f.mu.count == 0 {
		close(w)
	} else {
		f.mu.waiters = append(f.mu.waiters, w)
	}
	return w
}
