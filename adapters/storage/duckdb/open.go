package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// errContent is the cause of a Corrupt error where the tables of a file contradict each other.
var errContent = errors.New("the tables contradict each other")

// Open implements outbound.ShardOpener. A shard that is open already is a Conflict, as is a file of
// another cluster, another shard or a later format. After Corrupt the shard may be opened again once
// its directory has been replaced; other shards are not touched.
func (s *Store) Open(ctx context.Context, id shard.ID) (outbound.AppliedState, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return outbound.AppliedState{}, err
	}
	defer end()
	if err := s.reserve(id); err != nil {
		return outbound.AppliedState{}, err
	}
	r, state, err := s.bringUp(running, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.mu.shards, id)
		return outbound.AppliedState{}, fmt.Errorf("open shard %d: %w", id, err)
	}
	s.mu.shards[id] = r
	return state, nil
}

func (s *Store) reserve(id shard.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.mu.shards[id]; taken {
		return fault.Newf(fault.Conflict, "shard_open", "shard %d is open already", id)
	}
	s.mu.shards[id] = nil
	return nil
}

// bringUp opens the valid file of a shard that is reserved, creating the first one.
func (s *Store) bringUp(ctx context.Context, id shard.ID) (r *replica, state outbound.AppliedState, err error) {
	for attempt := 1; ; attempt++ {
		r = s.newReplica(id)
		err = s.with(ctx, forFlushes, func(ctx context.Context, c *engine.Conn) error {
			state, err = s.openFile(ctx, c, r)
			return err
		}, r)
		if !errors.Is(err, errReplaced) || attempt == attemptsMax {
			return r, state, err
		}
	}
}

func (s *Store) newReplica(id shard.ID) *replica {
	r := &replica{id: id, rewriteFrom: s.options.rewriteFrom}
	r.ended, r.end = context.WithCancelCause(context.Background())
	return r
}

func (r *replica) setGeneration(generation uint64) {
	r.generation, r.catalog = generation, catalogName(r.id, generation)
}

func (s *Store) openFile(ctx context.Context, c *engine.Conn, r *replica) (outbound.AppliedState, error) {
	id, f := r.id, s.folder(r.id)
	none := outbound.AppliedState{}
	if err := makeFolder(f.path); err != nil {
		return none, err
	}
	generation, err := f.current()
	if errors.Is(err, errPointer) {
		return none, corrupt(id, err)
	}
	if err != nil {
		return none, fmt.Errorf("read the pointer: %w", err)
	}
	if generation == 0 {
		if generation, err = s.create(ctx, c, id); err != nil {
			return none, fmt.Errorf("create: %w", err)
		}
	}
	if err := f.clean(generation); err != nil {
		return none, fmt.Errorf("remove leftovers: %w", err)
	}
	r.setGeneration(generation)
	state, err := s.attach(ctx, c, r, f)
	if err != nil {
		if e := detach(ctx, c, r.catalog); e != nil {
			err = errors.Join(err, e)
		}
		return none, err
	}
	if err := f.outdate(state.Index); err != nil {
		return none, fmt.Errorf("remove an old snapshot: %w", err)
	}
	return state, nil
}

func catalogName(id shard.ID, generation uint64) string {
	return "s" + id.String() + "_" + strconv.FormatUint(generation, 10)
}

// create makes the first file of a shard, or the first after a quarantine.
func (s *Store) create(ctx context.Context, c *engine.Conn, id shard.ID) (uint64, error) {
	f := s.folder(id)
	first, err := f.nextGeneration()
	if err != nil {
		return 0, err
	}
	err = s.newFile(ctx, c, id, first, func(catalog string) error {
		return createTables(ctx, c, catalog, s.options.Cluster, id)
	})
	if err != nil {
		return 0, err
	}
	return first, f.point(first)
}

// newFile makes the file of a generation, which fill fills under the name of a catalog. It gets its name
// only when it is complete.
func (s *Store) newFile(ctx context.Context, c *engine.Conn, id shard.ID, generation uint64, fill func(catalog string) error) error {
	f := s.folder(id)
	catalog, file := catalogName(id, generation)+"_new", f.file(generation)
	if err := os.RemoveAll(file + newSuffix); err != nil {
		return err
	}
	if err := attach(ctx, c, file+newSuffix, catalog, attachOptions); err != nil {
		return err
	}
	err := fill(catalog)
	if err == nil {
		err = checkpoint(ctx, c, catalog)
	}
	if err = errors.Join(err, detach(ctx, c, catalog)); err != nil {
		return errors.Join(err, os.RemoveAll(file+newSuffix))
	}
	if err := os.Chmod(file+newSuffix, fileMode); err != nil {
		return err
	}
	if err := os.Rename(file+newSuffix, file); err != nil {
		return err
	}
	return syncFolder(f.path)
}

// attach opens the file of a generation and rebuilds what memory holds of it. DuckDB may end the
// process over a damaged file, so a note tells the next start.
func (s *Store) attach(ctx context.Context, c *engine.Conn, r *replica, f folder) (outbound.AppliedState, error) {
	none := outbound.AppliedState{}
	if _, err := os.Stat(f.file(r.generation)); err != nil {
		return none, corrupt(r.id, err)
	}
	if err := f.markOpening(); errors.Is(err, errOpenings) {
		return none, corrupt(r.id, err)
	} else if err != nil {
		return none, fmt.Errorf("mark the opening: %w", err)
	}
	state, err := s.load(ctx, c, r, f.file(r.generation))
	if e := f.unmarkOpening(); e != nil {
		return none, errors.Join(err, fmt.Errorf("unmark the opening: %w", e))
	}
	if err != nil {
		return none, asDamage(ctx, r.id, err)
	}
	return state, nil
}

// asDamage makes Corrupt of an error that came while a file was read for the first time, unless it has
// another reason than the file.
func asDamage(ctx context.Context, id shard.ID, err error) error {
	var known *fault.Error
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &known):
		return err
	case errors.Is(err, errContent), errors.Is(err, errState), !isEnvironment(err):
		return corrupt(id, err)
	}
	return err
}

func (s *Store) load(ctx context.Context, c *engine.Conn, r *replica, file string) (outbound.AppliedState, error) {
	none := outbound.AppliedState{}
	if err := attach(ctx, c, file, r.catalog, ""); err != nil {
		return none, fmt.Errorf("attach: %w", err)
	}
	format, err := s.checkIdentity(ctx, c, r)
	if err == nil && format < formatVersion {
		err = upgrade(ctx, c, r.catalog, format)
	}
	if err != nil {
		return none, err
	}
	state, err := readState(ctx, c, r.catalog)
	if err != nil {
		return none, err
	}
	r.table = memtable.New(state.generation, s.options.SeriesMax)
	retention, err := memtable.DecodeRetention(state.retention)
	if err != nil {
		return none, corrupt(r.id, err)
	}
	if err := loadSeries(ctx, c, r); err != nil {
		return none, err
	}
	r.table.RestoreRetention(retention)
	r.noteRetention(state)
	if err := loadNewest(ctx, c, r); err != nil {
		return none, err
	}
	runs, err := loadRuns(ctx, c, r.catalog)
	if err != nil {
		return none, err
	}
	r.runs.Store(&runs)
	r.stored.Store(len(runs) > 0)
	r.mu.durable = state.Index
	return state.AppliedState, r.measure(ctx, c)
}

// checkIdentity refuses a file that belongs elsewhere, and returns its format.
func (s *Store) checkIdentity(ctx context.Context, c *engine.Conn, r *replica) (format int64, err error) {
	rows := 0
	err = c.Query(ctx, "SELECT format, cluster, shard FROM "+r.catalog+".meta", nil, func(chunk engine.Chunk) error {
		rows += chunk.Rows()
		format = chunk.Int64s(0)[0]
		switch {
		case format < 1 || format > formatVersion:
			return fault.Newf(fault.Conflict, "format_unknown",
				"the file of shard %d has format %d, this version knows %d; use a newer version", r.id, format, formatVersion)
		case chunk.Text(1, 0) != s.options.Cluster || chunk.Int64s(2)[0] != int64(r.id):
			return fault.Newf(fault.Conflict, "foreign_data",
				"the file of shard %d belongs to shard %d of cluster %q; use the data directory of this cluster",
				r.id, chunk.Int64s(2)[0], chunk.Text(1, 0))
		}
		return nil
	})
	if err == nil && rows != 1 {
		err = fmt.Errorf("%d rows of identity: %w", rows, errContent)
	}
	return format, err
}

// loadSeries defines the stored series, whose numbers must come out as they were stored. It does so chunk by
// chunk: the keys of all of a million series at once would take several times what the series take.
func loadSeries(ctx context.Context, c *engine.Conn, r *replica) error {
	var keys []string
	err := c.Query(ctx, "SELECT id, metric_id, key FROM "+r.catalog+".series ORDER BY id", nil, func(chunk engine.Chunk) error {
		first := r.table.Series().Len()
		keys = keys[:0]
		for row, id := range chunk.Int64s(0) {
			if id != int64(first+row) {
				return fmt.Errorf("series %d stands at %d: %w", id, first+row, errContent)
			}
			keys = append(keys, chunk.Text(2, row))
		}
		if err := r.table.Define(keys); err != nil {
			return fmt.Errorf("define series: %w: %w", errContent, err)
		}
		list := r.table.Series()
		for row, want := range chunk.Int64s(1) {
			if got := list.MetricOf(catalogue.SeriesID(first + row)); int64(got) != want {
				return fmt.Errorf("series %d has metric %d: %w", first+row, want, errContent)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read series: %w", err)
	}
	return nil
}

// loadNewest rebuilds the newest sample of every series: each flush wrote one for each series it
// had, in the order of the log.
func loadNewest(ctx context.Context, c *engine.Conn, r *replica) error {
	series := int64(r.table.Series().Len())
	err := c.Query(ctx, "SELECT series_id, ts, value FROM "+r.catalog+".newest ORDER BY gen", nil, func(chunk engine.Chunk) error {
		ids, times, values := chunk.Int64s(0), chunk.Int64s(1), chunk.Float64s(2)
		for row, id := range ids {
			if id < 0 || id >= series {
				return fmt.Errorf("newest sample of series %d: %w", id, errContent)
			}
			r.table.Observe(catalogue.SeriesID(id), memtable.Point{At: times[row], Value: values[row]})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read newest samples: %w", err)
	}
	return nil
}
