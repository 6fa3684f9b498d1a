// Package system gives the application this machine's clock, timers, entropy and memory size.
package system

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.Clock   = (*Clock)(nil)
	_ outbound.Timer   = (*Clock)(nil)
	_ outbound.Entropy = Entropy{}
)

// Clock is the machine's clock and the timers that go by it.
type Clock struct {
	start time.Time
}

// NewClock returns a clock whose monotonic time begins now.
func NewClock() *Clock { return &Clock{start: time.Now()} }

// Now implements outbound.Clock.
func (c *Clock) Now() time.Time { return time.Now() }

// Monotonic implements outbound.Clock.
func (c *Clock) Monotonic() time.Duration { return time.Since(c.start) }

// After implements outbound.Timer.
func (c *Clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Entropy draws from the operating system's secure generator.
type Entropy struct{}

// Uint64 implements outbound.Entropy.
func (Entropy) Uint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process where there is no entropy
	return binary.LittleEndian.Uint64(b[:])
}
