package bootstrap

import (
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
)

// logTimeFormat has milliseconds: what several nodes log about one event is read side by side.
const logTimeFormat = "2006-01-02T15:04:05.000Z07:00"

// newLogger returns the one logger of the process.
func newLogger(c Config, out io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("parse log level: %w", err)
	}
	if c.LogFormat == "text" {
		out = zerolog.ConsoleWriter{Out: out, NoColor: true, TimeFormat: logTimeFormat}
	}
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(logTimeFormat))
	})
	return zerolog.New(out).Level(level).Hook(stamp).With().Str("node", c.NodeID).Logger(), nil
}

// MarshalZerologObject logs the configuration, without the secret.
func (c Config) MarshalZerologObject(e *zerolog.Event) {
	e.Str("node_id", c.NodeID).
		Stringer("role", c.role()).
		Strs("hosts", c.hosts()).
		Str("listen", c.listenAddr()).
		Str("data_dir", c.DataDir).
		Int("shards", c.Shards).
		Int("metric_spread", c.MetricSpread).
		Stringer("retention", c.retention).
		Stringer("query_cache_memory_limit", c.QueryCacheMemory).
		Str("storage", c.Storage).
		Stringer("duckdb_memory_limit", c.DuckDBMemory).
		Stringer("memtable_memory_limit", c.MemtableMemory).
		Int("duckdb_threads", c.DuckDBThreads).
		Str("log_level", c.LogLevel)
}
