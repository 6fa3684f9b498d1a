package duckdb

import (
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
)

// portion is what a statement reads of one file.
type portion struct {
	source
	ids   []catalogue.SeriesID // of the selected series, ascending; at least one
	spans []span               // ascending and disjoint; at least one
}

// statement is a question to some files and what becomes of its rows.
type statement interface {
	// sql returns the text and the values of its parameters. Names are never text.
	sql() (text string, args []any)
	// add takes rows of the result.
	add(chunk engine.Chunk) error
}

// filtering says how a statement picks series; all of its files do it alike, so that texts are few.
type filtering uint8

const (
	filterNone filtering = iota // every series of the metric
	filterOne                   // one series a file
	filterFew                   // up to fewMax series a file, each a parameter, by which zone maps prune
	filterList                  // the series of a list
)

// fewMax bounds the series of filterFew.
const fewMax = 16

// all reports whether the portion has every series of the metric.
func (p *portion) all() bool {
	return p.query.Matchers().IsZero() && len(p.ids) == len(p.view.Selected())
}

func chooseFilter(portions []portion) filtering {
	one, few, all := true, true, true
	for i := range portions {
		p := &portions[i]
		one = one && len(p.ids) == 1
		few = few && len(p.ids) <= fewMax
		all = all && p.all()
	}
	switch {
	case one:
		return filterOne
	case all:
		return filterNone
	case few:
		return filterFew
	}
	return filterList
}

// parameters collects the values of a statement.
type parameters []any

// bind adds a value and returns what stands for it in the text.
func (a *parameters) bind(value any) string {
	*a = append(*a, value)
	return "$" + strconv.Itoa(len(*a))
}

// table is where a statement finds rows.
type table struct {
	name string
	time string // the column of the time, by which spans are picked
}

var (
	samplesTable = table{name: "samples", time: "ts"}
	hoursTable   = table{name: "hours", time: "bucket"}
	minutesTable = table{name: "minutes", time: "bucket"}
)

// from returns what stands after FROM for the table in a file.
func (t table) from(catalog string) string {
	if t == samplesTable {
		return samplesOf(catalog)
	}
	return catalog + "." + t.name
}

// where returns the condition for the rows of p in s that the view does not have itself.
func (a *parameters) where(t table, p *portion, s span, f filtering) string {
	id, _ := p.view.Metric()
	text := "metric_id = " + a.bind(int64(id)) +
		" AND " + t.time + " >= " + a.bind(s.from) + " AND " + t.time + " <= " + a.bind(s.to)
	if t == samplesTable {
		text += " AND until >= " + a.bind(s.from) + " AND since <= " + a.bind(s.to)
	}
	text += " AND gen <= " + a.bind(int64(p.view.Durable()))
	switch f {
	case filterOne:
		text += " AND series_id = " + a.bind(int64(p.ids[0]))
	case filterFew:
		text += " AND series_id IN (" + a.few(p.ids) + ")"
	case filterList:
		text += " AND series_id IN (" + a.listed(p.ids) + ")"
	case filterNone:
	}
	return text
}

// few names ids, the last of them as often as it takes to have few different texts.
func (a *parameters) few(ids []catalogue.SeriesID) string {
	names := make([]string, 0, fewMax)
	for n := 1; len(names) < len(ids); n *= 2 {
		for len(names) < n {
			names = append(names, a.bind(int64(ids[min(len(names), len(ids)-1)])))
		}
	}
	return strings.Join(names, ", ")
}

// listed selects ids.
func (a *parameters) listed(ids []catalogue.SeriesID) string {
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	return "SELECT unnest(" + a.bind(numbers) + "::BIGINT[]) AS id"
}

// union joins the parts of a statement.
func union(members []string) string { return strings.Join(members, " UNION ALL ") }
