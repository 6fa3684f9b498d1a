package duckdb

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// readFile runs one statement on the file of r, and ends it with errReplaced when r is taken away.
func (s *Store) readFile(ctx context.Context, r *replica, text string, args []any, use func(engine.Chunk) error) error {
	ctx, stop := untilEnded(ctx, []*replica{r})
	defer stop()
	return s.with(ctx, forQueries, func(ctx context.Context, c *engine.Conn) error {
		r.file.RLock()
		defer r.file.RUnlock()
		if r.gone {
			return errReplaced
		}
		err := c.Query(ctx, text, args, use)
		if isDamage(err) {
			err = corrupt(r.id, err)
			s.noteDamage(r, err)
		}
		return err
	}, r)
}
