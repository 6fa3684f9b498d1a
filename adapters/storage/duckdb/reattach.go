package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// reattach brings a file back that DuckDB gave up after a failed checkpoint, as of the last one that
// was complete. It does nothing to a file that answers. It runs to its end once it has begun, so that
// the file is not left detached.
func (s *Store) reattach(ctx context.Context, c *engine.Conn, r *replica) error {
	r.file.Lock()
	defer r.file.Unlock()
	ctx = context.WithoutCancel(ctx)
	if r.gone {
		return errReplaced
	}
	if _, err := readState(ctx, c, r.catalog); !isDetached(err) {
		return nil
	}
	if err := detach(ctx, c, r.catalog); err != nil {
		return fmt.Errorf("detach shard %d: %w", r.id, err)
	}
	return s.attachAgain(ctx, c, r)
}

// attachAgain attaches the file of an open shard as of its last complete checkpoint. Nobody may be
// reading it.
func (s *Store) attachAgain(ctx context.Context, c *engine.Conn, r *replica) error {
	ctx = context.WithoutCancel(ctx)
	f := s.folder(r.id)
	if err := f.dropLog(r.generation); err != nil {
		return fmt.Errorf("remove the log of shard %d: %w", r.id, err)
	}
	if _, err := os.Stat(f.file(r.generation)); errors.Is(err, fs.ErrNotExist) {
		return corrupt(r.id, err) // DuckDB would make an empty one.
	}
	if err := attach(ctx, c, f.file(r.generation), r.catalog, ""); err != nil {
		return fmt.Errorf("attach shard %d again: %w", r.id, err)
	}
	state, err := readState(ctx, c, r.catalog)
	if err != nil {
		return fmt.Errorf("read shard %d again: %w", r.id, err)
	}
	runs, err := loadRuns(ctx, c, r.catalog)
	if err != nil {
		return err
	}
	_ = r.publish(nil, runs)
	r.rewrites.note()
	r.mu.Lock()
	defer r.mu.Unlock()
	if state.Index < r.mu.durable {
		return corrupt(r.id, fmt.Errorf("the file is at %d, and %d was durable: %w", state.Index, r.mu.durable, errContent))
	}
	return nil
}
