package workerrpc

import (
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// BenchmarkTable sends and receives a table of 3 windows of 1,000 groups.
func BenchmarkTable(b *testing.B) {
	name, err := metric.NewName("cpu")
	if err != nil {
		b.Fatal(err)
	}
	hour, err := aggregate.ParseWindow("1h")
	if err != nil {
		b.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: name, Window: hour, GroupBy: []string{"host"}})
	if err != nil {
		b.Fatal(err)
	}
	builder := aggregate.NewBuilder(q)
	for i := range 1000 {
		group, err := builder.Group([]string{"host_" + strconv.Itoa(i)})
		if err != nil {
			b.Fatal(err)
		}
		for h := range int64(3) {
			if err := group.Add(metric.Timestamp(h*hour.Width()), float64(i)/7); err != nil {
				b.Fatal(err)
			}
		}
	}
	table := builder.Table()
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
			if got, err := decodeTable(m, q); err != nil || len(got.Groups) != 1000 {
				b.Fatal(len(got.Groups), err)
			}
		}
	})
}
