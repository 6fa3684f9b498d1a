package workerrpc

import (
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// BenchmarkTable sends and receives a table of 3 windows of 1,000 groups, plain and with details.
func BenchmarkTable(b *testing.B) {
	for _, c := range []struct {
		name   string
		detail aggregate.Detail
	}{{"plain", 0}, {"details", aggregate.DetailEnds | aggregate.DetailSpread | aggregate.DetailSteps}} {
		b.Run(c.name, func(b *testing.B) {
			q, table := manyGroups(b, c.detail)
			sent, err := proto.Marshal(encodeTable(table))
			if err != nil {
				b.Fatal(err)
			}
			b.Run("encode", func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(sent)))
				for b.Loop() {
					if _, err := proto.Marshal(encodeTable(table)); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("decode", func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(sent)))
				for b.Loop() {
					m := &workerpb.Table{}
					if err := proto.Unmarshal(sent, m); err != nil {
						b.Fatal(err)
					}
					if got, err := decodeTable(m, q); err != nil || len(got.Groups) != len(table.Groups) {
						b.Fatal(len(got.Groups), err)
					}
				}
			})
		})
	}
}

func manyGroups(b *testing.B, detail aggregate.Detail) (aggregate.Query, aggregate.Table) {
	b.Helper()
	hour, err := aggregate.ParseWindow("1h")
	if err != nil {
		b.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: testName(b), Window: hour, GroupBy: []string{"host"}, Detail: detail})
	if err != nil {
		b.Fatal(err)
	}
	builder := aggregate.NewBuilder(q)
	for i := range 1000 {
		series, err := metric.ParseSeriesKey(`m{host="h` + strconv.Itoa(i) + `"}`)
		if err != nil {
			b.Fatal(err)
		}
		fold, err := builder.Fold(series)
		for h := range int64(3) {
			if err == nil {
				err = fold.Add(metric.Timestamp(h*hour.Width()), float64(i)/7)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return q, builder.Table()
}
