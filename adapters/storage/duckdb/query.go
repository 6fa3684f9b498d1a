package duckdb

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// source is what one shard adds to a query: its memtable's view, and its file's rows up to the
// generation that the view says is durable. The two together are one cut.
type source struct {
	replica *replica
	view    *memtable.View
}

// Partials implements outbound.PartialReader.
func (s *Store) Partials(ctx context.Context, shards []shard.ID, q aggregate.Query) (aggregate.Table, error) {
	running, end, err := s.begin(ctx)
	if err != nil {
		return aggregate.Table{}, fmt.Errorf("read shards: %w", err)
	}
	defer end()
	sources := make([]source, 0, len(shards))
	for _, id := range shards {
		r, err := s.replica(id)
		if err != nil {
			return aggregate.Table{}, err
		}
		sources = append(sources, source{replica: r, view: r.table.View(q)})
	}
	b := aggregate.NewBuilder(q)
	var files []source
	for _, src := range sources {
		if err := src.view.AddTo(running, b); err != nil {
			return aggregate.Table{}, fmt.Errorf("read shard %d: %w", src.replica.id, err)
		}
		if src.replica.stored.Load() > 0 && len(src.view.Selected()) > 0 {
			files = append(files, src)
		}
	}
	if len(files) > 0 {
		if err := s.addFiles(running, q, files, b); err != nil {
			return aggregate.Table{}, fmt.Errorf("read files: %w", err)
		}
	}
	return b.Table(), nil
}

func (s *Store) addFiles(ctx context.Context, q aggregate.Query, files []source, b *aggregate.Builder) error {
	return s.queries.with(ctx, func(c *engine.Conn) error {
		p := newPlan(q, files)
		err := c.Query(ctx, p.text(), p.args, func(chunk engine.Chunk) error { return p.add(chunk, b) })
		if err != nil && isDamage(err) {
			err = findDamage(ctx, c, q, files, err)
		}
		return classify(ctx, err)
	})
}

// findDamage asks the files one by one, to name the shard whose file is damaged.
func findDamage(ctx context.Context, c *engine.Conn, q aggregate.Query, files []source, err error) error {
	for _, f := range files {
		p := newPlan(q, []source{f})
		if alone := c.Query(ctx, p.text(), p.args, nil); alone != nil && isDamage(alone) {
			return corrupt(f.replica.id, alone)
		}
	}
	return err
}

// selecting says how a statement picks series. All files of one statement do it alike.
type selecting uint8

const (
	selectMetric selecting = iota // every series of the metric
	selectOne                     // one series a file
	selectListed                  // the series of a list
	selectGroups                  // the series of a list, each with the number of its group
)

// plan is one statement over several files and how to read its rows. Every value is a parameter.
type plan struct {
	query  aggregate.Query
	how    selecting
	files  []string
	args   []any
	groups [][]string // values of the group_by keys, by group number
	origin int64      // what was added to a time before it was divided by the window's width
}

func newPlan(q aggregate.Query, files []source) *plan {
	p := &plan{query: q, how: howToSelect(q, files)}
	numbers := map[string]int64{}
	from, to := int64(q.Range().From()), int64(q.Range().To())
	for _, f := range files {
		id, _ := f.view.Metric()
		p.file(f, fileArgs{metric: int64(id), from: from, to: to, generation: int64(f.view.Durable())}, numbers)
	}
	if w := q.Window(); !w.IsZero() {
		// SQL's division truncates, so every time is lifted above zero first, by whole windows.
		lift := (-int64(metric.TimestampMin)/w.Width() + 2) * w.Width()
		p.origin = lift - w.Origin()
		p.args = append(p.args, p.origin, w.Width())
	}
	return p
}

type fileArgs struct{ metric, from, to, generation int64 }

func howToSelect(q aggregate.Query, files []source) selecting {
	one := true
	for _, f := range files {
		one = one && len(f.view.Selected()) == 1
	}
	switch {
	case len(q.GroupBy()) > 0:
		return selectGroups
	case one:
		return selectOne
	case q.Matchers().IsZero():
		return selectMetric
	}
	return selectListed
}

// file adds one file's part of the statement.
func (p *plan) file(f source, a fileArgs, numbers map[string]int64) {
	columns := "value"
	if !p.query.Window().IsZero() {
		columns += ", ts"
	}
	table := f.replica.catalog + ".samples"
	where := "metric_id = " + p.bind(a.metric) + " AND ts >= " + p.bind(a.from) + " AND ts <= " + p.bind(a.to) + " AND gen <= " + p.bind(a.generation)
	switch selected := f.view.Selected(); p.how {
	case selectMetric:
	case selectOne:
		where += " AND series_id = " + p.bind(int64(selected[0]))
	case selectListed, selectGroups:
		ids, groups := make([]int64, len(selected)), []int64(nil)
		for i, id := range selected {
			ids[i] = int64(id)
			if p.how == selectGroups {
				series, _ := f.view.Series().At(id)
				groups = append(groups, p.group(p.query.GroupTags(series.Tags()), numbers))
			}
		}
		listed := "SELECT unnest(" + p.bind(ids) + "::BIGINT[]) AS id"
		if p.how == selectListed {
			where += " AND series_id IN (" + listed + ")"
			break
		}
		columns += ", listed.grp"
		table += " JOIN (" + listed + ", unnest(" + p.bind(groups) + "::BIGINT[]) AS grp) AS listed ON series_id = listed.id"
	}
	p.files = append(p.files, "SELECT "+columns+" FROM "+table+" WHERE "+where)
}

func (p *plan) bind(value any) string {
	p.args = append(p.args, value)
	return "$" + strconv.Itoa(len(p.args))
}

// group returns the number of the group with these values.
func (p *plan) group(tags []string, numbers map[string]int64) int64 {
	key := strings.Join(tags, "\x00")
	n, ok := numbers[key]
	if !ok {
		n = int64(len(p.groups))
		numbers[key] = n
		p.groups = append(p.groups, tags)
	}
	return n
}

// text returns the statement. Its columns are count, sum, min, max, then the window's number and the
// group's number as far as the query has them.
func (p *plan) text() string {
	var by []string
	if !p.query.Window().IsZero() {
		n := len(p.args)
		by = append(by, fmt.Sprintf("(ts + $%d) // $%d", n-1, n))
	}
	if p.how == selectGroups {
		by = append(by, "grp")
	}
	columns := append([]string{"count(*)", "fsum(value)", "min(value)", "max(value)"}, by...)
	text := "SELECT " + strings.Join(columns, ", ") + " FROM (" + strings.Join(p.files, " UNION ALL ") + ")"
	if len(by) > 0 {
		// One row more than an answer may have tells that there are too many.
		text += " GROUP BY " + strings.Join(by, ", ") + " LIMIT " + strconv.Itoa(aggregate.CellsMax+1)
	}
	return text
}

// add merges rows of the result.
func (p *plan) add(chunk engine.Chunk, b *aggregate.Builder) error {
	counts, sums, least, greatest := chunk.Int64s(0), chunk.Float64s(1), chunk.Float64s(2), chunk.Float64s(3)
	column := 4
	var windows, groups []int64
	if !p.query.Window().IsZero() {
		windows = chunk.Int64s(column)
		column++
	}
	if p.how == selectGroups {
		groups = chunk.Int64s(column)
	}
	for row, count := range counts {
		if count == 0 {
			continue // Without groups and windows there is always a row.
		}
		part, err := aggregate.RestorePartial(aggregate.Parts{Count: uint64(count), Sum: sums[row], Min: least[row], Max: greatest[row]})
		if err != nil {
			return err
		}
		tags, start := []string{}, metric.Timestamp(0)
		if groups != nil {
			tags = p.groups[groups[row]]
		}
		if windows != nil {
			start = metric.Timestamp(windows[row]*p.query.Window().Width() - p.origin)
		}
		group, err := b.Group(tags)
		if err != nil {
			return err
		}
		cell, err := group.Cell(start)
		if err != nil {
			return err
		}
		cell.Merge(part)
	}
	return nil
}

// Latest implements outbound.LatestReader, from memory.
func (s *Store) Latest(ctx context.Context, shards []shard.ID, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	var newest metric.Sample
	found := false
	for _, id := range shards {
		if ctx.Err() != nil {
			return metric.Sample{}, false, fmt.Errorf("read shard %d: %w", id, context.Cause(ctx))
		}
		r, err := s.replica(id)
		if err != nil {
			return metric.Sample{}, false, err
		}
		sample, ok, err := r.table.Latest(name, matchers)
		if err != nil {
			return metric.Sample{}, false, fmt.Errorf("read shard %d: %w", id, err)
		}
		if ok && (!found || sample.NewerThan(newest)) {
			newest, found = sample, true
		}
	}
	return newest, found, nil
}
