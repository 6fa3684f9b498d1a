package outbound

import "time"

// Clock is where time comes from; tests give their own.
type Clock interface {
	// Now returns the wall clock's time, which may jump.
	Now() time.Time
	// Monotonic returns the time elapsed since some fixed point, which never goes back.
	Monotonic() time.Duration
}

// Timer waits, by the clock that belongs to it.
type Timer interface {
	// After returns a channel that gets one value when d has passed.
	After(d time.Duration) <-chan time.Time
}

// Entropy is where identifiers that must not repeat come from; a simulation gives its own.
type Entropy interface {
	// Uint64 returns 64 unpredictable bits.
	Uint64() uint64
}
