package duckdb

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// filtering says how a statement picks series; all of its files do it alike.
type filtering uint8

const (
	filterNone filtering = iota // every series of the metric
	filterOne                   // one series a file
	filterList                  // the series of a list
)

// grouping says how a statement tells groups apart; all of its files do it alike.
type grouping uint8

const (
	groupNone   grouping = iota
	groupSeries          // every series is a group of its own
	groupJoin            // a list says which series are of which group
)

// plan is one statement over several files and how to read its rows. Every value is a parameter.
type plan struct {
	query    aggregate.Query
	filter   filtering
	grouping grouping
	files    []string
	args     []any
	groups   map[int64][]string // values of the group_by keys, by group number
	lift     int64              // what is added to a time before it is divided by the window's width
}

func newPlan(q aggregate.Query, files []source) *plan {
	p := &plan{query: q, groups: map[int64][]string{}}
	p.filter = p.chooseFilter(files)
	numbers := p.number(files)
	for i, f := range files {
		p.file(i, f, numbers)
	}
	if w := q.Window(); !w.IsZero() {
		// SQL's division truncates, so every time is lifted above zero first, by whole windows.
		p.lift = (-int64(metric.TimestampMin)/w.Width()+2)*w.Width() - w.Origin()
		p.args = append(p.args, p.lift, w.Width())
	}
	return p
}

func (p *plan) chooseFilter(files []source) filtering {
	one := true
	for _, f := range files {
		one = one && len(f.view.Selected()) == 1
	}
	switch {
	case one:
		return filterOne
	case p.query.Matchers().IsZero():
		return filterNone
	}
	return filterList
}

// seriesNumber is the group number of a series that is a group of its own: the file's index in the
// upper half, the series' id in the lower.
func seriesNumber(file int, id int64) int64 { return int64(file)<<32 | id }

// number numbers the groups, and returns each selected series' group number where a join needs it.
func (p *plan) number(files []source) (joined [][]int64) {
	if len(p.query.GroupBy()) == 0 {
		return nil
	}
	byTags := map[string]int64{}
	p.grouping = groupSeries
	for i, f := range files {
		var numbers []int64
		for _, id := range f.view.Selected() {
			series, _ := f.view.Series().At(id)
			tags := p.query.GroupTags(series.Tags())
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

// file adds one file's part of the statement.
func (p *plan) file(i int, f source, numbers [][]int64) {
	span := p.query.Range()
	id, _ := f.view.Metric()
	columns, table := "value", samplesOf(f.replica.catalog)
	if !p.query.Window().IsZero() {
		columns += ", ts"
	}
	where := "metric_id = " + p.bind(int64(id)) +
		" AND ts >= " + p.bind(int64(span.From())) + " AND until >= " + p.bind(int64(span.From())) +
		" AND ts <= " + p.bind(int64(span.To())) + " AND since <= " + p.bind(int64(span.To())) +
		" AND gen <= " + p.bind(int64(f.view.Durable()))
	switch {
	case p.filter == filterOne:
		where += " AND series_id = " + p.bind(int64(f.view.Selected()[0]))
	case p.grouping == groupJoin:
		columns += ", listed.grp"
		table += " JOIN (" + p.listed(f) + ", unnest(" + p.bind(numbers[i]) + "::BIGINT[]) AS grp) AS listed ON series_id = listed.id"
	case p.filter == filterList:
		where += " AND series_id IN (" + p.listed(f) + ")"
	}
	switch {
	case p.grouping == groupSeries:
		columns += ", series_id + " + p.bind(seriesNumber(i, 0)) + " AS grp"
	case p.grouping == groupJoin && p.filter == filterOne:
		columns += ", " + p.bind(numbers[i][0]) + "::BIGINT AS grp"
	}
	p.files = append(p.files, "SELECT "+columns+" FROM "+table+" WHERE "+where)
}

// listed selects the ids of a file's selected series.
func (p *plan) listed(f source) string {
	ids := make([]int64, len(f.view.Selected()))
	for i, id := range f.view.Selected() {
		ids[i] = int64(id)
	}
	return "SELECT unnest(" + p.bind(ids) + "::BIGINT[]) AS id"
}

func (p *plan) bind(value any) string {
	p.args = append(p.args, value)
	return "$" + strconv.Itoa(len(p.args))
}

// text returns the statement. Its columns are count, sum, min, max, then the window's number and the
// group's number as far as the query has them.
func (p *plan) text() string {
	var by []string
	if !p.query.Window().IsZero() {
		n := len(p.args)
		by = append(by, fmt.Sprintf("(ts + $%d) // $%d", n-1, n))
	}
	if p.grouping != groupNone {
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
	if p.grouping != groupNone {
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
			start = metric.Timestamp(windows[row]*p.query.Window().Width() - p.lift)
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
