package duckdb

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// retryAfter is the advice to clients while flushes make room.
const retryAfter = time.Second

// DiskGauge tells how much room the disk has.
type DiskGauge interface {
	// FreeBytes returns how many bytes may still be written, at once.
	FreeBytes() (int64, error)
}

// fileSystem is the DiskGauge of a directory.
type fileSystem struct{ path string }

// FreeBytes implements DiskGauge.
func (f fileSystem) FreeBytes() (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(f.path, &stat); err != nil {
		return 0, fmt.Errorf("ask the file system for its free space: %w", err)
	}
	return int64(stat.Bavail) * stat.Bsize, nil
}

// account brings the sums over all shards up to date with one shard's memtable.
func (s *Store) account(r *replica) {
	r.accounted.Lock()
	defer r.accounted.Unlock()
	usage := r.table.Usage()
	s.active.Add(usage.Active - r.accounted.Active)
	s.bytes.Add(usage.Active + usage.Sealed - r.accounted.Active - r.accounted.Sealed)
	r.accounted.Usage = usage
}

// MemtableBytes returns, at once, what the recent samples of all shards take in memory.
func (s *Store) MemtableBytes() int64 { return s.bytes.Load() }

// release accounts for memory that a flush gave back, and wakes who waits for it.
func (s *Store) release(r *replica) {
	s.account(r)
	s.wake()
}

// wake lets those look again who wait for memory.
func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.mu.freed)
	s.mu.freed = make(chan struct{})
}

// WantsCut implements outbound.StateCutter. Few large runs are better than many small ones, so a shard
// wants a cut only when memory runs short: the one with the most samples once all together hold three
// quarters of it; any whose share is worth a flush once they hold seven eighths, for the one with the
// most may have gone quiet and is not asked. A shard that alone holds half of the memory wants one at
// once, so that the other half is there for what comes while it is written.
func (s *Store) WantsCut(id shard.ID) bool {
	r, err := s.replica(id)
	if err != nil {
		return false
	}
	own, all, limit := r.table.Usage().Active, s.active.Load(), s.options.MemtableBytesMax
	switch {
	case own == 0:
		return false
	case own >= limit/2:
		return true
	case all >= limit-limit/8:
		return own >= limit/cutShareMin
	}
	return all >= limit-limit/4 && own >= s.activeMost()
}

// cutShareMin is the part of the memory that is worth a flush when memory is nearly full.
const cutShareMin = 128

// activeMost returns the most that a shard holds of samples that a cut would freeze.
func (s *Store) activeMost() (most int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.mu.shards {
		if r != nil {
			most = max(most, r.table.Usage().Active)
		}
	}
	return most
}

// Admit implements outbound.WriteGate. Bytes that are admitted and not yet appended are not counted,
// so memory may exceed its bound by what is in flight. An empty memory admits any size.
func (s *Store) Admit(ctx context.Context, bytes int) error {
	free, err := s.options.Disk.FreeBytes()
	if err != nil {
		return err
	}
	if free < s.options.DiskFreeBytesMin {
		return fault.Newf(fault.DiskFull, "disk_full",
			"the disk has %d bytes left, fewer than the %d that are kept free; free some space", free, s.options.DiskFreeBytesMin)
	}
	for {
		s.mu.RLock()
		freed := s.mu.freed
		s.mu.RUnlock()
		used := s.bytes.Load()
		if used == 0 || used+int64(bytes) <= s.options.MemtableBytesMax {
			return nil
		}
		select {
		case <-freed:
		case <-s.closing.Done():
			return errClosed
		case <-ctx.Done():
			return fault.Newf(fault.Exhausted, "memtable_full",
				"the samples in memory would exceed %d bytes before the disk has taken them; try again", s.options.MemtableBytesMax).
				WithRetryAfter(retryAfter)
		}
	}
}
