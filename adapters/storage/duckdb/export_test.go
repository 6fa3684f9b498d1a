package duckdb

import (
	"context"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// WithFault returns o with what DuckDB shall have answered to a statement instead of running it, "" for
// letting it run.
func (o Options) WithFault(fault func(statement string) string) Options {
	o.fault = fault
	return o
}

// WithRewriteFrom returns o with how many free bytes are worth rewriting a file.
func (o Options) WithRewriteFrom(bytes int64) Options {
	o.rewriteFrom = bytes
	return o
}

// ReopeningsMax is how often DuckDB is started anew before its error stays.
const ReopeningsMax = reopeningsMax

// Ask runs a statement in which the shard's file is called file and its samples file.samples(), and hands
// over its rows.
func (s *Store) Ask(ctx context.Context, id shard.ID, text string, use func(engine.Chunk) error) error {
	r, err := s.replica(id)
	if err != nil {
		return err
	}
	return s.with(ctx, forQueries, func(ctx context.Context, c *engine.Conn) error {
		text = strings.ReplaceAll(text, "file.samples()", samplesOf(r.catalog))
		return c.Query(ctx, strings.ReplaceAll(text, "file.", r.catalog+"."), nil, use)
	}, r)
}
