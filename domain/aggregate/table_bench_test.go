package aggregate_test

import (
	"strconv"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// The shape of a question whose answer is mostly group and window: an average by hour and host.
const (
	benchGroups  = 1000
	benchWindows = 3
	benchTables  = 8
	benchHour    = metric.Timestamp(3_600_000_000)
)

func byHostAndHour(b *testing.B) aggregate.Query {
	b.Helper()
	hour, err := aggregate.ParseWindow("1h")
	if err != nil {
		b.Fatal(err)
	}
	return mustQuery(b, aggregate.QuerySpec{Window: hour, GroupBy: []string{"host"}})
}

// hosts returns one series a host, in the order in which they would have been written first.
func hosts(b *testing.B) []metric.Series {
	b.Helper()
	list := make([]metric.Series, benchGroups)
	for i := range list {
		tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: "host_" + strconv.Itoa(i)}, {Key: "region", Value: "eu"}})
		if err == nil {
			list[i], err = metric.NewSeries(cpu(b), tags)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return list
}

// foldHours adds hours of each series, as storage does that has them summed up.
func foldHours(b *testing.B, builder *aggregate.Builder, list []metric.Series, hour aggregate.Partial) {
	b.Helper()
	for _, s := range list {
		f, err := builder.Fold(s)
		if err != nil {
			b.Fatal(err)
		}
		for w := range metric.Timestamp(benchWindows) {
			if enough, err := f.AddBucket(w*benchHour, hour); err != nil || !enough {
				b.Fatal(enough, err)
			}
		}
	}
}

// BenchmarkManyGroups answers a question of 3,000 windows of groups from what storage folds, and from 8
// tables that share no group or all of them.
func BenchmarkManyGroups(b *testing.B) {
	q := byHostAndHour(b)
	list, hour := hosts(b), partialOf(tenths[:])
	apart, shared := make([]aggregate.Table, benchTables), make([]aggregate.Table, benchTables)
	for i := range benchTables {
		builder := aggregate.NewBuilder(q)
		foldHours(b, builder, list[i*len(list)/benchTables:(i+1)*len(list)/benchTables], hour)
		apart[i] = builder.Table()
		builder = aggregate.NewBuilder(q)
		foldHours(b, builder, list, hour)
		shared[i] = builder.Table()
	}
	for _, c := range []struct {
		name string
		fill func(*aggregate.Builder)
	}{
		{"folded", func(builder *aggregate.Builder) { foldHours(b, builder, list, hour) }},
		{"merged apart", func(builder *aggregate.Builder) { mergeAll(b, builder, apart) }},
		{"merged shared", func(builder *aggregate.Builder) { mergeAll(b, builder, shared) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				builder := aggregate.NewBuilder(q)
				c.fill(builder)
				answerOf(b, aggregate.Question{Query: q, Functions: []aggregate.Function{aggregate.Avg}}, builder.Table(), benchGroups)
			}
		})
	}
}

func mergeAll(b *testing.B, builder *aggregate.Builder, tables []aggregate.Table) {
	b.Helper()
	for _, t := range tables {
		if err := builder.Merge(t); err != nil {
			b.Fatal(err)
		}
	}
}

// answerOf leads a question of one round to its answer.
func answerOf(b *testing.B, question aggregate.Question, t aggregate.Table, groups int) {
	b.Helper()
	search := aggregate.NewSearch(question)
	if err := search.Take(t); err != nil {
		b.Fatal(err)
	}
	answer, err := search.Answer()
	if err != nil || len(answer.Groups) != groups {
		b.Fatal(len(answer.Groups), err)
	}
}

// BenchmarkFilledWindows answers with 10,000 windows of which two have samples.
func BenchmarkFilledWindows(b *testing.B) {
	const windows = 10_000
	second, err := aggregate.ParseWindow("1s")
	if err != nil {
		b.Fatal(err)
	}
	q := mustQuery(b, aggregate.QuerySpec{Window: second})
	builder := aggregate.NewBuilder(q)
	group, err := builder.Group(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, at := range []metric.Timestamp{0, (windows - 1) * 1_000_000} {
		if err := group.Add(at, 1); err != nil {
			b.Fatal(err)
		}
	}
	table := builder.Table()
	b.ReportAllocs()
	for b.Loop() {
		answerOf(b, aggregate.Question{Query: q, Functions: aggregate.DefaultFunctions(), Fill: aggregate.FillNull}, table, 1)
	}
}
