package duckdb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

const (
	// reopeningsMax bounds how often DuckDB is started anew after fatal errors without reopeningsQuiet
	// between any two of them. Beyond, its error stays: the machine is broken, not one file.
	reopeningsMax   = 5
	reopeningsQuiet = time.Hour
)

// session is one life of DuckDB, from its start to a fatal error or the store's end.
type session struct {
	instance *engine.Instance
	queries  *pool
	flushes  *pool
	merges   *pool
	ended    context.Context //nolint:containedctx // ends before the session, so that its statements stop
	end      context.CancelCauseFunc
}

// errReplaced ends statements whose file or whole DuckDB is being replaced. What the store itself can
// begin again it does.
var errReplaced = fault.New(fault.Unavailable, "shard_replaced", "the shard's storage was replaced meanwhile; try again").
	WithRetryAfter(retryAfter)

func newSession(o Options) (*session, error) {
	instance, err := engine.Open(engine.Options{
		Directory:     filepath.Join(o.Directory, shardsFolder),
		TempDirectory: filepath.Join(o.Directory, tempFolder), TempBytesMax: o.TempBytesMax,
		MemoryBytesMax: o.MemoryBytesMax, Threads: o.Threads, Fault: o.fault,
	})
	if err != nil {
		return nil, fmt.Errorf("start duckdb: %w", err)
	}
	e := &session{instance: instance, queries: newPool(instance, o.QueriesMax), flushes: newPool(instance, flushesMax), merges: newPool(instance, 1)}
	e.ended, e.end = context.WithCancelCause(context.Background())
	return e, nil
}

// close ends the session; none of its connections may be lent.
func (e *session) close() {
	e.end(errReplaced)
	e.queries.close()
	e.flushes.close()
	e.merges.close()
	e.instance.Close()
}

func forQueries(e *session) *pool { return e.queries }
func forFlushes(e *session) *pool { return e.flushes }
func forMerges(e *session) *pool  { return e.merges }

// run lends a connection. It returns DuckDB's error and the same with its kind.
func (e *session) run(ctx context.Context, p *pool, use func(context.Context, *engine.Conn) error) (raw, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	release := context.AfterFunc(e.ended, func() { cancel(errReplaced) }) //nolint:contextcheck // the session's own end
	defer release()
	raw = p.with(ctx, func(c *engine.Conn) error { return use(ctx, c) })
	return raw, classify(ctx, raw)
}

// with lends a connection to use, which works on the files of replicas. After a fatal error it starts
// DuckDB anew; if there is only one replica, and its statement failed so, that one is damaged, otherwise
// errReplaced says that all may be tried again. with must not be called from use.
func (s *Store) with(
	ctx context.Context, of func(*session) *pool, use func(context.Context, *engine.Conn) error, replicas ...*replica,
) error {
	s.engine.RLock()
	e, failed := s.engine.session, s.engine.failed
	if failed != nil {
		s.engine.RUnlock()
		return failed
	}
	raw, err := e.run(ctx, of(e), use)
	s.engine.RUnlock()
	fatal := e.instance.Fatal()
	if fatal == nil {
		return err
	}
	var damaged *replica
	if errors.Is(raw, fatal) && !errors.Is(raw, engine.ErrRefused) && len(replicas) == 1 {
		damaged, err = replicas[0], corrupt(replicas[0].id, raw)
	} else if raw != nil {
		err = errReplaced.WithCause(raw)
	}
	if failed := s.reopen(ctx, e, damaged, err); failed != nil {
		return failed
	}
	return err
}

// reopen starts DuckDB anew in place of e, which failed, with every file as of its last checkpoint but
// the damaged one's, nil for none. It does nothing where that has happened already.
func (s *Store) reopen(ctx context.Context, e *session, damaged *replica, err error) error {
	e.end(errReplaced)
	s.engine.Lock()
	defer s.engine.Unlock()
	if damaged != nil {
		s.damage(damaged, err)
	}
	if s.engine.failed != nil || s.engine.session != e {
		return s.engine.failed
	}
	e.close()
	s.engine.session = nil
	if s.engine.reopenings > 0 && time.Since(s.engine.reopened) > reopeningsQuiet {
		s.engine.reopenings = 0
	}
	s.engine.reopenings++
	s.engine.reopened = time.Now()
	if s.engine.reopenings > reopeningsMax {
		s.engine.failed = classify(ctx, e.instance.Fatal())
		return s.engine.failed
	}
	next, err := newSession(s.options) //nolint:contextcheck // the session outlives the call that needs it first
	if err != nil {
		s.engine.failed = fault.Wrap(err, fault.Internal, "storage_failed", "the storage of this node failed; it must be started again")
		return s.engine.failed
	}
	s.engine.session = next
	for _, r := range s.open() {
		// One that fails for another reason than damage is attached when it is needed.
		raw := next.flushes.with(context.WithoutCancel(ctx), func(c *engine.Conn) error { return s.attachAgain(ctx, c, r) })
		if raw != nil && (isDamage(raw) || fault.KindOf(raw) == fault.Corrupt) {
			s.damage(r, corrupt(r.id, raw))
		}
	}
	return nil
}
