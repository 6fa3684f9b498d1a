// Package engine drives one closed DuckDB instance: its connections, statements, results and bulk appends.
package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Options say what an instance may use. All but Fault are needed.
type Options struct {
	// Directory holds every database file that may be attached; nothing outside it can be reached.
	Directory string
	// TempDirectory takes what a statement spills.
	TempDirectory string
	// TempBytesMax bounds what TempDirectory takes.
	TempBytesMax int64
	// MemoryBytesMax bounds the buffer pool.
	MemoryBytesMax int64
	// Threads is how many threads work on statements.
	Threads int
	// Fault, for tests, is asked before each statement what DuckDB shall have answered instead of running
	// it; "" lets it run. nil lets everything run.
	Fault func(statement string) (message string)
}

// settings are the statements that close an instance: no file outside the directory, no extension, no
// change of configuration afterwards. They are statements because the configuration object that an
// instance is opened with takes no lists. disabled_filesystems is left alone: with it a checkpoint fails.
// The threshold has a commit write the file itself, as a checkpoint does, rather than the log first: every
// commit here is followed by a checkpoint anyway.
func (o Options) settings() []string {
	return []string{
		"SET checkpoint_threshold = '1KB'",
		"SET threads = " + strconv.Itoa(o.Threads),
		"SET memory_limit = " + QuoteText(strconv.FormatInt(o.MemoryBytesMax, 10)+"B"),
		"SET temp_directory = " + QuoteText(o.TempDirectory),
		"SET max_temp_directory_size = " + QuoteText(strconv.FormatInt(o.TempBytesMax, 10)+"B"),
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET allow_community_extensions = false",
		"SET allow_persistent_secrets = false",
		"SET allowed_directories = [" + QuoteText(o.Directory) + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	}
}

// Instance is one DuckDB with an in-memory main database, to which files are attached.
type Instance struct {
	db    mapping.Database
	fatal atomic.Pointer[Error]
	fault func(statement string) string
}

// Open starts an instance.
func Open(o Options) (*Instance, error) {
	var config mapping.Config
	if mapping.CreateConfig(&config) == mapping.StateError {
		mapping.DestroyConfig(&config)
		return nil, newError(mapping.ErrorTypeSettings, "no configuration object")
	}
	defer mapping.DestroyConfig(&config)
	i := &Instance{fault: o.Fault}
	var message string
	if mapping.OpenExt("", &i.db, config, &message) == mapping.StateError {
		mapping.Close(&i.db)
		return nil, fmt.Errorf("open instance: %w", newError(mapping.ErrorTypeInvalid, message))
	}
	if err := i.configure(o); err != nil {
		i.Close()
		return nil, fmt.Errorf("configure instance: %w", err)
	}
	return i, nil
}

func (i *Instance) configure(o Options) error {
	c, err := i.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, statement := range o.settings() {
		if err := c.Exec(context.Background(), statement); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the instance. Its connections must be closed before.
func (i *Instance) Close() { mapping.Close(&i.db) }

// Fatal returns the error that made the instance unusable, or nil.
func (i *Instance) Fatal() error {
	if e := i.fatal.Load(); e != nil {
		return e
	}
	return nil
}

// injected returns the error that a test wants of the statement, or nil.
func (i *Instance) injected(statement string) error {
	if i.fault == nil {
		return nil
	}
	if message := i.fault(statement); message != "" {
		return i.note(newError(mapping.ErrorTypeInvalid, message))
	}
	return nil
}

// note remembers the first error after which DuckDB refuses everything.
func (i *Instance) note(e *Error) *Error {
	if e.IsFatal() {
		i.fatal.CompareAndSwap(nil, e)
	}
	return e
}

// QuoteText returns text as a SQL literal, for the few statements that take no parameters.
func QuoteText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
