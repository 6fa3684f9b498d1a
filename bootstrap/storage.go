package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// shardsOpeningMax bounds the shards that are brought up at one time.
const shardsOpeningMax = 4

// sampleStorage is what both storage adapters are.
type sampleStorage interface {
	outbound.ShardOpener
	outbound.SampleAppender
	outbound.StateCutter
	outbound.StateFlusher
	outbound.PartialReader
	outbound.LatestReader
	outbound.WriteGate
	outbound.ContentPinner
}

// place is where a node keeps its data: the directory, or only memory.
type place struct {
	directory *datadir.Dir // nil in memory
	record    datadir.Record
	log       *raftlog.Store
	storage   sampleStorage
	close     closers
}

// openPlace opens everything that keeps data. fatal is told when the log fails later.
func openPlace(c Config, record datadir.Record, logger zerolog.Logger, fatal func(error)) (_ *place, err error) {
	p := &place{record: record}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close.run())
		}
	}()
	logOptions := raftlog.Options{Dir: "raftlog", FS: vfs.NewMem(), Log: logger, Fatal: fatal}
	if c.Storage != storageMemory {
		if err := p.openDirectory(c); err != nil {
			return nil, err
		}
		logOptions.Dir, logOptions.FS = p.directory.LogPath(), raftlog.PrivateFS()
	}
	if p.log, err = raftlog.Open(logOptions); err != nil {
		return nil, err
	}
	p.close.add("close the log", p.log.Close)
	if c.Storage == storageMemory {
		p.storage = memory.New(memory.Options{})
		return p, nil
	}
	threads := c.DuckDBThreads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	store, err := duckdb.New(duckdb.Options{
		Directory:        p.directory.Path(),
		Cluster:          p.record.ClusterID,
		MemtableBytesMax: int64(c.MemtableMemory),
		MemoryBytesMax:   int64(c.DuckDBMemory),
		Threads:          threads,
	})
	if err != nil {
		return nil, err
	}
	p.close.add("close DuckDB", store.Close)
	p.storage = store
	return p, nil
}

// openDirectory locks the data directory and founds the cluster in it, or finds it founded.
func (p *place) openDirectory(c Config) (err error) {
	if p.directory, err = datadir.Open(c.DataDir); err != nil {
		return err
	}
	p.close.add("unlock the data directory", p.directory.Close)
	p.record, err = p.directory.Found(p.record)
	return err
}

// openShards brings every shard's storage up and returns the durable states, by shard.
func (p *place) openShards(ctx context.Context, shards []shard.ID) ([]outbound.AppliedState, error) {
	states := make([]outbound.AppliedState, len(shards))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(shardsOpeningMax)
	for i, id := range shards {
		group.Go(func() (err error) {
			if states[i], err = p.storage.Open(ctx, id); err != nil {
				return fmt.Errorf("open shard %v: %w", id, err)
			}
			return nil
		})
	}
	return states, group.Wait()
}

// closers are what must be closed, in reverse order.
type closers []closer

type closer struct {
	what  string
	close func() error
}

func (c *closers) add(what string, closing func() error) {
	*c = append(*c, closer{what, closing})
}

// run closes everything, once.
func (c *closers) run() error {
	var errs []error
	for list := *c; len(list) > 0; list = list[:len(list)-1] {
		last := list[len(list)-1]
		if err := last.close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", last.what, err))
		}
	}
	*c = nil
	return errors.Join(errs...)
}
