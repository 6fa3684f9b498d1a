// Package raftlog keeps the Raft logs of all groups of a node in one Pebble store: one batch and one
// fsync for everything that became ready together.
package raftlog

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Sizes of the store. A log is written once, read seldom and dropped from its start, so memory goes
// to write buffers rather than to caches, and nothing is compressed.
const (
	memtableBytesDefault  = 16 << 20
	memtableCountMax      = 4
	blockCacheBytes       = 8 << 20
	blockBytes            = 8 << 10
	tableBytes            = 16 << 20
	levelBaseBytes        = 256 << 20
	tablesOverlapMax      = 64 // of level 0, before writes wait for a compaction
	filesOpenMax          = 256
	truncationFlushDelay  = 5 * time.Second
	diskSlowThreshold     = 5 * time.Second
	flushSplitBytes       = 4 << 20
	compactionsBesidesMax = 2
)

// Options configure a store.
type Options struct {
	// Dir holds the store's files and nothing else. Its parent must exist.
	Dir string
	// FS is where Dir is; PrivateFS in production, a crashable one in tests.
	FS vfs.FS
	// Log takes what Pebble reports of failing background work and slow disks.
	Log zerolog.Logger
	// Fatal is called, perhaps more than once and from any goroutine, when a write or fsync of the
	// log failed: what is on disk is unknown, and the process must end. The store takes and gives
	// nothing any more.
	Fatal func(error)
	// DiskFull, when not nil, is called when the disk has no space left; what failed is tried once
	// more after it returns, so it may free a ballast. It must be quick.
	DiskFull func()
	// MemtableBytes is how much is buffered in memory before it becomes a table; 0 takes the default.
	MemtableBytes uint64
}

// Store is a node's log store. It implements multiraft.Log; Write may be called by any number of
// goroutines, one after another.
type Store struct {
	db     *pebble.DB
	lock   *pebble.Lock
	fatal  func(error)
	failed atomic.Pointer[error]
	write  sync.Mutex // held while a batch is built and committed
	mu     struct {
		sync.RWMutex
		groups map[multiraft.GroupID]multiraft.LogState // of groups that were loaded or written
	}
}

var _ multiraft.Log = (*Store)(nil)

// Open opens the store in opts.Dir and creates it when there is no such directory. An error of kind
// Corrupt means that the store was damaged before the tail of its last write: every replica in it is
// dead and must be replaced under a new id.
func Open(opts Options) (*Store, error) {
	if opts.DiskFull != nil {
		opts.FS = vfs.OnDiskFull(opts.FS, opts.DiskFull)
	}
	ordered := newOrderedFS(opts.FS)
	opts.FS = ordered
	_, err := opts.FS.Stat(opts.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(opts)
	}
	if err != nil {
		return nil, fmt.Errorf("create the log: %w", err)
	}
	lock, err := pebble.LockDirectory(opts.Dir, opts.FS)
	if err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "log_in_use", "the log in "+opts.Dir+" is in use by another process")
	}
	s := &Store{fatal: opts.Fatal, lock: lock}
	s.mu.groups = make(map[multiraft.GroupID]multiraft.LogState)
	if err := s.open(opts); err != nil {
		return nil, errors.Join(fmt.Errorf("open the log: %w", err), lock.Close())
	}
	if err := ordered.removeKept(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the log: %w", err), s.Close())
	}
	return s, nil
}

// open opens a store that exists and is locked.
func (s *Store) open(opts Options) (err error) {
	if err := checkFiles(opts.FS, opts.Dir); err != nil {
		return err
	}
	options := s.pebbleOptions(opts)
	options.ErrorIfNotExists = true
	options.Lock = s.lock
	s.db, err = pebble.Open(opts.Dir, options)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Corrupt, "log_corrupt", "raft log: a file is missing")
	}
	if err != nil {
		return asFault(err)
	}
	if err := s.checkLayout(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// create makes an empty store beside opts.Dir and moves it there in one step, so that in opts.Dir
// whatever is missing was lost, not cut off while it was being made.
func create(opts Options) error {
	dir, files := opts.Dir, opts.FS
	opts.Dir += ".new"
	if err := files.RemoveAll(opts.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := files.MkdirAll(opts.Dir, dirMode); err != nil {
		return err
	}
	s := &Store{fatal: opts.Fatal}
	db, err := pebble.Open(opts.Dir, s.pebbleOptions(opts))
	if err != nil {
		return err
	}
	err = db.Set(appendKey(nil, storeGroup, kindLayout), encodeLayout(layoutVersion), pebble.Sync)
	if err := errors.Join(err, s.failure(), db.Close()); err != nil {
		return err
	}
	if err := syncDir(files, opts.Dir); err != nil {
		return err
	}
	if err := files.Rename(opts.Dir, dir); err != nil {
		return err
	}
	return syncDir(files, files.PathDir(dir))
}

func (s *Store) pebbleOptions(opts Options) *pebble.Options {
	log := opts.Log
	options := &pebble.Options{
		FS:                          opts.FS,
		FormatMajorVersion:          pebble.FormatTableFormatV6, // sync offsets in the log, checksums in table footers
		CacheSize:                   blockCacheBytes,
		MaxOpenFiles:                filesOpenMax,
		MemTableSize:                memtableBytesDefault,
		MemTableStopWritesThreshold: memtableCountMax,
		L0StopWritesThreshold:       tablesOverlapMax,
		LBaseMaxBytes:               levelBaseBytes,
		FlushSplitBytes:             flushSplitBytes,
		FlushDelayDeleteRange:       truncationFlushDelay,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, compactionsBesidesMax },
		Logger:                      logger{store: s, log: log},
		EventListener: &pebble.EventListener{
			// The default ends the process; whoever meets the damage gets an error of kind Corrupt.
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				log.Error().Str("file", info.Path).Err(info.Details).Msg("the log is damaged")
			},
			BackgroundError: func(err error) { log.Error().Err(err).Msg("the log's background work failed") },
			DiskSlow: func(info pebble.DiskSlowInfo) {
				if info.Duration >= diskSlowThreshold {
					log.Warn().Str("file", info.Path).Dur("took", info.Duration).Msg("the log's disk is slow")
				}
			},
			WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
				log.Warn().Str("reason", info.Reason).Msg("the log waits for its compaction")
			},
		},
	}
	if opts.MemtableBytes > 0 {
		options.MemTableSize = opts.MemtableBytes
	}
	options.Levels[0].BlockSize = blockBytes
	options.TargetFileSizes[0] = tableBytes
	for i := range options.Levels {
		options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return options
}

// Close releases the store. What Write returned for stays; nothing else may be running.
func (s *Store) Close() error {
	if err := errors.Join(s.db.Close(), s.lock.Close()); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}

// DiskBytes returns how much disk the store uses.
func (s *Store) DiskBytes() uint64 { return s.db.Metrics().DiskSpaceUsage() }

// checkLayout refuses a store that another version of this package wrote.
func (s *Store) checkLayout() error {
	value, found, err := s.get(appendKey(nil, storeGroup, kindLayout))
	if err != nil {
		return err
	}
	if !found {
		return corruptf("the layout record is missing")
	}
	version, err := decodeLayout(value)
	if err != nil {
		return err
	}
	if version != layoutVersion {
		return fault.Newf(fault.Conflict, "log_version",
			"the log has layout %d; this program knows %d: start the version that wrote it", version, layoutVersion)
	}
	return nil
}

// Owner returns whose store it is; false when that was never said.
func (s *Store) Owner() (Owner, bool, error) {
	value, found, err := s.get(appendKey(nil, storeGroup, kindOwner))
	if err != nil || !found {
		return Owner{}, false, err
	}
	owner, err := decodeOwner(value)
	return owner, err == nil, err
}

// SetOwner stores, durably on return, whose store it is.
func (s *Store) SetOwner(owner Owner) error {
	return s.set(appendKey(nil, storeGroup, kindOwner), encodeOwner(owner))
}

// set stores one record durably.
func (s *Store) set(key, value []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.db.Set(key, value, pebble.Sync); err != nil {
		return fmt.Errorf("write the log: %w", asFault(err))
	}
	return s.failure()
}

// get returns a copy of the value of key.
func (s *Store) get(key []byte) (value []byte, found bool, err error) {
	if err := s.failure(); err != nil {
		return nil, false, err
	}
	stored, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the log: %w", asFault(err))
	}
	value = append([]byte(nil), stored...)
	if err := closer.Close(); err != nil {
		return nil, false, fmt.Errorf("read the log: %w", asFault(err))
	}
	return value, true, nil
}

// failure returns why the store gave up, nil as long as it did not.
func (s *Store) failure() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// asFault gives Pebble's corruption errors their kind.
func asFault(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fault.Wrap(err, fault.Corrupt, "log_corrupt", "raft log: a file fails its check")
	}
	return err
}

// logger is what Pebble reports to.
type logger struct {
	store *Store
	log   zerolog.Logger
}

// Infof drops Pebble's account of its daily work.
func (logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l logger) Errorf(format string, args ...any) { l.log.Error().Msgf(format, args...) }

// Fatalf is called where Pebble cannot go on. It must not return in Pebble's eyes; here it does, into
// a store that refuses everything from now on, until the process has ended.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("raft log: "+format, args...)
	l.store.failed.CompareAndSwap(nil, &err)
	l.store.fatal(err)
}
