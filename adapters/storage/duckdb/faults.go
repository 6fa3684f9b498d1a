package duckdb

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// corrupt makes the error for a shard whose file fails its check.
func corrupt(id shard.ID, cause error) error {
	return fault.Wrap(cause, fault.Corrupt, "shard_corrupt", "the stored data of shard "+id.String()+" is damaged").
		WithDetail("shard", uint32(id))
}

// classify gives an error of DuckDB its kind. The end of ctx is its cause; what is a fault stays.
func classify(ctx context.Context, err error) error {
	var known *fault.Error
	var e *engine.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &e):
		return err
	case e.IsFatal():
		return fault.Wrap(err, fault.Internal, "storage_failed", "the storage of this node failed; it must be started again")
	case strings.Contains(e.Error(), "No space left"):
		return errDiskFull.WithCause(err)
	case e.IsOutOfMemory():
		return fault.Wrap(err, fault.Unprocessable, "query_memory",
			"the query needs more memory than DUCKDB_MEMORY_LIMIT; ask for fewer groups, wider windows or a shorter range")
	}
	return err
}

// errDiskFull is for writes that meet the end of the disk, which the gate should have kept away.
var errDiskFull = fault.New(fault.DiskFull, "disk_full", "the disk is full; free some space")

// diskError is err, as errDiskFull where the file system says so.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errDiskFull.WithCause(err)
	}
	return err
}

// isDetached reports that a file must be attached again.
func isDetached(err error) bool {
	var e *engine.Error
	return errors.As(err, &e) && e.IsDetached()
}

// isLostWrite reports that the disk did not take what the system had accepted. What is read of the file
// then may be what memory has and the disk has not.
func isLostWrite(err error) bool {
	var e *engine.Error
	return errors.As(err, &e) && !e.IsFatal() && strings.Contains(e.Error(), "fsync")
}

// isDamage reports that DuckDB read something that fails its check. A fatal error is not of one file, for
// whatever runs gets it; Store.with tells whose it is.
func isDamage(err error) bool {
	var e *engine.Error
	if !errors.As(err, &e) || e.IsFatal() {
		return false
	}
	for _, sign := range []string{"Corrupt", "checksum", "Serialization Error", "not a valid DuckDB"} {
		if strings.Contains(e.Error(), sign) {
			return true
		}
	}
	return false
}

// isEnvironment reports that a file could not be opened for a reason that is not its content.
func isEnvironment(err error) bool {
	var e *engine.Error
	if !errors.As(err, &e) {
		return true
	}
	for _, sign := range []string{"Could not set lock", "Cannot open file", "Permission", "No space left", "Too many open files", "Unique file handle conflict"} {
		if strings.Contains(e.Error(), sign) {
			return true
		}
	}
	return e.IsFatal() || e.IsOutOfMemory() || e.IsInterrupted()
}
