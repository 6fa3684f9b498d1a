package bootstrap

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// sampleStorage is what both storage adapters are.
type sampleStorage interface {
	outbound.ShardOpener
	outbound.SampleAppender
	outbound.SampleRemover
	outbound.SeriesNumberer
	outbound.StateCutter
	outbound.StateFlusher
	outbound.PartialReader
	outbound.LatestReader
	outbound.SeriesLister
	outbound.WriteGate
	outbound.ContentPinner
	outbound.SnapshotMaker
	outbound.SnapshotInstaller
	outbound.ShardRemover
	outbound.RunMerger
	// MemtableBytes returns, at once, what recent samples take in memory.
	MemtableBytes() int64
	// ExpiredSamples returns, at once, how many samples were left out because they were too old.
	ExpiredSamples() uint64
}

// fileStorage is what storage with files can tell besides, at once.
type fileStorage interface {
	Tidied() duckdb.Tidied
	CacheUse() (hits, misses uint64, bytes int64)
}

// place is where a member keeps its replicas: the log of all of them, and the shards' storage.
type place struct {
	log     *raftlog.Store
	storage sampleStorage
	close   closers
}

// errLogLost means that the log, and with it the vote of every replica here, is gone or damaged.
var errLogLost = fault.New(fault.Corrupt, "log_lost", "the Raft log is lost or damaged")

// openPlace opens everything that keeps data, in directory or, where that is "", in memory. fatal is
// told when the log fails later, damaged of a shard whose file turns out to be.
func openPlace(c Config, directory string, membership datadir.Membership, logger zerolog.Logger, fatal func(error), damaged func(shard.ID, error)) (_ *place, err error) {
	p := &place{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close.run())
		}
	}()
	logOptions := raftlog.Options{Dir: "raftlog", FS: vfs.NewMem(), Log: logger, Fatal: fatal}
	if directory != "" {
		logOptions.Dir, logOptions.FS = filepath.Join(directory, datadir.LogFolder), raftlog.PrivateFS()
	}
	if p.log, err = openLog(logOptions, membership.LogCreated); err != nil {
		return nil, err
	}
	p.close.add("close the log", p.log.Close)
	if directory == "" {
		options := memory.Options{} // all data is in memory, so its default is more than that of a memtable
		if c.explicit["MEMTABLE_MEMORY_LIMIT"] {
			options.BytesMax = int64(c.MemtableMemory)
		}
		p.storage = memory.New(options)
		return p, nil
	}
	threads := c.DuckDBThreads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	store, err := duckdb.New(duckdb.Options{
		Directory:        directory,
		Cluster:          membership.ClusterID,
		MemtableBytesMax: int64(c.MemtableMemory),
		MemoryBytesMax:   int64(c.DuckDBMemory),
		CacheBytesMax:    c.cacheBytes(),
		Threads:          threads,
		Damaged:          damaged,
	})
	if err != nil {
		return nil, err
	}
	p.close.add("close DuckDB", store.Close)
	p.storage = store
	return p, nil
}

// openLog opens the log; one that was created here before and holds no group is a new one in the place
// of one that was lost.
func openLog(options raftlog.Options, created bool) (*raftlog.Store, error) {
	log, err := raftlog.Open(options)
	if fault.KindOf(err) == fault.Corrupt {
		return nil, errLogLost.WithCause(err)
	}
	if err != nil || !created {
		return log, err
	}
	groups, err := log.Groups()
	if err == nil && len(groups) == 0 {
		err = errLogLost
	}
	if fault.KindOf(err) == fault.Corrupt {
		err = errLogLost.WithCause(err)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return log, nil
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
