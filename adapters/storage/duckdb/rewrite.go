package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

const (
	// A file is rewritten when rewriteFreeMin in a hundred of its blocks are free, and these are worth it.
	// DuckDB uses free blocks again, but gives back only those at the file's end.
	rewriteFreeMin      = 30
	rewriteFreeBytesMin = 8 << 20
	// rewriteEvery keeps a shard that is written to from being rewritten again and again for blocks that its
	// next flushes would use.
	rewriteEvery = 10 * time.Minute
	// swapWait is how long a rewritten file waits for the statements on the old one to end; swapLook is the
	// time between two looks. Statements that come do not wait meanwhile.
	swapWait = 10 * time.Second
	swapLook = 5 * time.Millisecond
)

// space is how large a file is, and how much of it is not used.
type space struct {
	bytes, free int64
	rewritten   bool // just now: another rewriting would come to the same
}

func (s space) wasteful(freeBytesMin int64) bool {
	return !s.rewritten && s.free >= freeBytesMin && s.free*100 >= s.bytes*rewriteFreeMin
}

// measure asks how much of the file is free. A failure is none of what was written before.
func (r *replica) measure(ctx context.Context, c *engine.Conn) error {
	text := "SELECT block_size, total_blocks, free_blocks FROM pragma_database_size() WHERE database_name = $1"
	err := c.Query(ctx, text, []any{r.catalog}, func(chunk engine.Chunk) error {
		if chunk.Rows() > 0 {
			block := chunk.Int64s(0)[0]
			r.space.Store(&space{bytes: block * chunk.Int64s(1)[0], free: block * chunk.Int64s(2)[0]})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("measure the file: %w", err)
	}
	return nil
}

// wantsRewrite reports that the file holds space worth giving back. With all it does not matter when it was
// last rewritten.
func (r *replica) wantsRewrite(all bool) bool {
	s := r.space.Load()
	return s != nil && s.wasteful(r.rewriteFrom) && r.mayRewrite(all)
}

func (r *replica) mayRewrite(all bool) bool {
	return all || time.Since(time.Unix(0, r.rewrittenAt.Load())) >= rewriteEvery
}

// anewRowsMax bounds the rows of a file that is rewritten to merge most of it, for its flush waits.
const anewRowsMax = 1 << 25

// mergesAnew reports whether merges, if done inside the file, would leave so much of it free that it were to
// be rewritten. The merged runs' share of the file is as large as their share of its rows.
func (r *replica) mergesAnew(merges [][]run, runs []run, all bool) bool {
	s := r.space.Load()
	if s == nil || s.rewritten || !r.mayRewrite(all) {
		return false
	}
	rows, merged := rowsOf(runs), int64(0)
	for _, m := range merges {
		merged += rowsOf(m)
	}
	freed := int64(float64(s.bytes-s.free) * float64(merged) / float64(rows))
	return rows <= anewRowsMax && space{bytes: s.bytes + freed, free: s.free + freed}.wasteful(r.rewriteFrom)
}

// rewriteFile copies the file, whose flush is locked, to one of the next generation, where what is to be
// merged becomes one run a window, and has it take its place, under the same name in SQL. Before the pointer
// is replaced a crash leaves the old one, after it the new; both have the same content. Where statements on
// the old one do not end in time it stays.
func (s *Store) rewriteFile(ctx context.Context, c *engine.Conn, r *replica, todo chores) error {
	r.rewrittenAt.Store(time.Now().UnixNano())
	before := r.space.Load()
	if err := s.hasRoom(before.bytes - before.free); err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	f := s.folder(r.id)
	next, err := f.nextGeneration()
	if err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	err = s.newFile(ctx, c, r.id, next, func(catalog string) error { return copyFile(ctx, c, r.catalog, catalog, todo.merges) })
	if err != nil {
		return s.recovered(ctx, c, r, fmt.Errorf("rewrite: %w", err))
	}
	if !lockSoon(ctx, func() bool { return r.rewrites.try(r.file.TryLock) }) {
		r.space.Store(&space{rewritten: true}) // Until the next flush: not to be tried again at once.
		return os.Remove(f.file(next))
	}
	defer r.file.Unlock()
	defer r.rewrites.end()
	if err := s.swap(context.WithoutCancel(ctx), c, r, next); err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	s.tidied.rewrites.Add(1)
	s.tidied.note(todo, 0)
	if after := r.space.Load(); after.bytes < before.bytes {
		s.tidied.freed.Add(uint64(before.bytes - after.bytes))
	}
	return nil
}

// lockSoon tries to lock until it succeeds or swapWait or ctx ends.
func lockSoon(ctx context.Context, try func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, swapWait)
	defer cancel()
	look := time.NewTicker(swapLook)
	defer look.Stop()
	for !try() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// copyFile fills a new file, called to, with the content of another: what is not merged row by row in its
// order, and then the runs that come of merges.
func copyFile(ctx context.Context, c *engine.Conn, from, to string, merges [][]run) error {
	return c.Transact(ctx, func() error {
		if err := declare(ctx, c, to, nil); err != nil {
			return err
		}
		for _, t := range tables {
			if t.name == "runs" {
				continue
			}
			if err := c.Exec(ctx, "INSERT INTO "+to+"."+t.name+" SELECT * FROM "+from+"."+t.name+unmerged(t.name, merges)); err != nil {
				return err
			}
		}
		e, err := newEraser(ctx, c, from)
		if err != nil {
			return err
		}
		for _, runs := range merges {
			if err := e.mergeInto(to, runs); err != nil {
				return err
			}
		}
		return e.writeRuns(to)
	})
}

// unmerged is the clause that leaves out the rows of a table that merges replace: samples and rollups.
func unmerged(table string, merges [][]run) string {
	if !slices.Contains([]string{"points", "hours", "minutes"}, table) || len(merges) == 0 {
		return ""
	}
	replaced := make([]string, len(merges))
	for i, runs := range merges {
		replaced[i] = ofRuns(table, runs)
	}
	return " WHERE NOT (" + strings.Join(replaced, " OR ") + ")"
}

// swap makes generation next the file of r, which is locked.
func (s *Store) swap(ctx context.Context, c *engine.Conn, r *replica, next uint64) error {
	f, old := s.folder(r.id), r.generation
	if err := f.point(next); err != nil {
		// Which of the two is valid after a crash is not known, so nothing more may be reported durable.
		s.damage(r, corrupt(r.id, err))
		return err
	}
	r.generation = next
	if err := detach(ctx, c, r.catalog); err != nil {
		return err
	}
	// Where this fails whoever reads next attaches it again.
	if err := s.attachAgain(ctx, c, r); err != nil {
		return err
	}
	if err := r.measure(ctx, c); err != nil {
		return err
	}
	measured := *r.space.Load()
	measured.rewritten = true
	r.space.Store(&measured)
	return errors.Join(os.Remove(f.file(old)), f.dropLog(old))
}
