package snapshot

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Checker passes received data on and checks that it is what a manifest announced.
type Checker struct {
	to       io.Writer
	manifest Manifest
	hash     hash.Hash
	taken    int64
}

// NewChecker returns a checker that writes to to.
func NewChecker(to io.Writer, m Manifest) *Checker {
	return &Checker{to: to, manifest: m, hash: sha256.New()}
}

var errData = fault.New(fault.Corrupt, "snapshot_damaged", "the received data is not what the snapshot's manifest announced; it is fetched again")

// Write implements io.Writer. More than was announced is Corrupt, and not passed on.
func (c *Checker) Write(b []byte) (int, error) {
	if int64(len(b)) > c.manifest.Bytes-c.taken {
		return 0, errData
	}
	n, err := c.to.Write(b)
	c.taken += int64(n)
	c.hash.Write(b[:n])
	return n, err
}

// Check returns Corrupt unless exactly the announced data was written.
func (c *Checker) Check() error {
	if c.taken != c.manifest.Bytes || [sha256.Size]byte(c.hash.Sum(nil)) != c.manifest.SHA256 {
		return errData
	}
	return nil
}
