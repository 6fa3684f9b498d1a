package duckdb

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// grouping says how a statement tells groups apart; all of its files do it alike.
type grouping uint8

const (
	groupNone   grouping = iota
	groupSeries          // every series is a group of its own
	groupJoin            // a list says which series are of which group
)

// plan is the statement that aggregates rows of several files, and how to read its result. Every value
// is a parameter.
type plan struct {
	query    aggregate.Query
	builder  *aggregate.Builder
	table    table
	filter   filtering
	grouping grouping
	members  []string
	args     parameters
	groups   map[int64][]string // values of the group_by keys, by group number
	lift     int64              // what is added to a time before it is divided by the window's width
}

// newPlan returns the plan that adds portions of a table, samples or rollups, to b.
func newPlan(q aggregate.Query, t table, portions []portion, b *aggregate.Builder) *plan {
	p := &plan{query: q, builder: b, table: t, groups: map[int64][]string{}}
	p.filter = chooseFilter(portions)
	numbers := p.number(portions)
	for i := range portions {
		for _, s := range portions[i].spans {
			p.member(i, &portions[i], s, numbers)
		}
	}
	if w := q.Window(); !w.IsZero() {
		// SQL's division truncates, so every time is lifted above zero first, by whole windows.
		p.lift = (-int64(metric.TimestampMin)/w.Width()+2)*w.Width() - w.Origin()
		p.args = append(p.args, p.lift, w.Width())
	}
	return p
}

// seriesNumber is the group number of a series that is a group of its own: the portion's index in the
// upper half, the series' id in the lower.
func seriesNumber(portion int, id int64) int64 { return int64(portion)<<32 | id }

// number numbers the groups, and returns each series' group number where a join needs it.
func (p *plan) number(portions []portion) (joined [][]int64) {
	if len(p.query.GroupBy()) == 0 {
		return nil
	}
	byTags := map[string]int64{}
	p.grouping = groupSeries
	var parts catalogue.Parts
	for i := range portions {
		var numbers []int64
		for _, id := range portions[i].ids {
			tags := p.query.GroupTags(portions[i].view.Series().Tags(id, &parts))
			key := strings.Join(tags, "\x00")
			n, known := byTags[key]
			if known {
				p.grouping = groupJoin
			} else {
				n = seriesNumber(i, int64(id))
				byTags[key], p.groups[n] = n, tags
			}
			numbers = append(numbers, n)
		}
		joined = append(joined, numbers)
	}
	return joined
}

// member adds one span's part of the statement.
func (p *plan) member(i int, part *portion, s span, numbers [][]int64) {
	columns, from := "value", p.table.from(part.replica.catalog)
	if p.table != samplesTable {
		columns = "count, sum, comp, min, max"
	}
	if !p.query.Window().IsZero() {
		columns += ", " + p.table.time + " AS ts"
	}
	filter := p.filter
	switch {
	case p.grouping == groupSeries:
		columns += ", series_id + " + p.args.bind(seriesNumber(i, 0)) + " AS grp"
	case p.grouping == groupJoin && filter == filterOne:
		columns += ", " + p.args.bind(numbers[i][0]) + "::BIGINT AS grp"
	case p.grouping == groupJoin:
		columns += ", listed.grp"
		from += " JOIN (" + p.args.listed(part.ids) + ", unnest(" + p.args.bind(numbers[i]) + "::BIGINT[]) AS grp) AS listed ON series_id = listed.id"
		filter = filterNone // The join picks them.
	}
	where := p.args.where(p.table, part, s, filter)
	if w := p.query.Where(); !w.IsZero() && p.table == samplesTable {
		where += " AND value " + operators[w.Op()] + " " + p.args.bind(w.Value())
	}
	p.members = append(p.members, "SELECT "+columns+" FROM "+from+" WHERE "+where)
}

// operators are SQL's comparisons.
var operators = map[aggregate.Comparison]string{
	aggregate.Greater: ">", aggregate.GreaterOrEqual: ">=", aggregate.Less: "<", aggregate.LessOrEqual: "<=",
	aggregate.Equal: "=", aggregate.NotEqual: "<>",
}

// sql implements statement. The result's columns are count, sum, its compensation, min, max, then the
// window's number and the group's number as far as the query has them.
func (p *plan) sql() (text string, args []any) {
	columns := []string{"count(*)", "fsum(value)", "0::DOUBLE", "min(value)", "max(value)"}
	if p.table != samplesTable {
		columns = []string{"coalesce(sum(count), 0)::BIGINT", "fsum(sum)", "fsum(comp)", "min(min)", "max(max)"}
	}
	var by []string
	if !p.query.Window().IsZero() {
		n := len(p.args)
		by = append(by, fmt.Sprintf("(ts + $%d) // $%d", n-1, n))
	}
	if p.grouping != groupNone {
		by = append(by, "grp")
	}
	text = "SELECT " + strings.Join(append(columns, by...), ", ") + " FROM (" + union(p.members) + ")"
	if len(by) > 0 {
		// One row more than an answer may have tells that there are too many.
		text += " GROUP BY " + strings.Join(by, ", ") + " LIMIT " + strconv.Itoa(aggregate.CellsMax+1)
	}
	return text, p.args
}

// add implements statement.
func (p *plan) add(chunk engine.Chunk) error {
	counts, sums, compensations := chunk.Int64s(0), chunk.Float64s(1), chunk.Float64s(2)
	least, greatest := chunk.Float64s(3), chunk.Float64s(4)
	column := 5
	var windows, groups []int64
	if !p.query.Window().IsZero() {
		windows = chunk.Int64s(column)
		column++
	}
	if p.grouping != groupNone {
		groups = chunk.Int64s(column)
	}
	for row, count := range counts {
		if count == 0 {
			continue // Without groups and windows there is always a row.
		}
		part, err := restore(count, sums[row], compensations[row], least[row], greatest[row])
		if err != nil {
			return err
		}
		tags, start := []string{}, metric.Timestamp(0)
		if groups != nil {
			tags = p.groups[groups[row]]
		}
		if windows != nil {
			start = metric.Timestamp(windows[row]*p.query.Window().Width() - p.lift)
		}
		group, err := p.builder.Group(tags)
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

// restoreStored makes a partial of a row of a rollup.
func restoreStored(count int64, sum, compensation, least, greatest float64) (aggregate.Partial, error) {
	return aggregate.RestorePartial(aggregate.Parts{
		Count: uint64(count), Sum: sum, Compensation: compensation, Min: least, Max: greatest,
	})
}

// restore makes a partial of sums that SQL made. Where those left float64's range the compensation means
// nothing.
func restore(count int64, sum, compensation, least, greatest float64) (aggregate.Partial, error) {
	if sum-sum != 0 || compensation-compensation != 0 {
		compensation = 0
	}
	return restoreStored(count, sum, compensation, least, greatest)
}
