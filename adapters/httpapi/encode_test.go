package httpapi

import (
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// BenchmarkAppendAnswer encodes 28 hours of 100 hosts, and 3 of 1,000.
func BenchmarkAppendAnswer(b *testing.B) {
	for _, c := range []struct{ hosts, hours int }{{100, 28}, {1000, 3}} {
		b.Run(fmt.Sprintf("%d hosts of %d hours", c.hosts, c.hours), func(b *testing.B) {
			answer := hourly(b, c.hosts, c.hours)
			var buffer []byte
			b.ReportAllocs()
			for b.Loop() {
				buffer = appendAnswer(buffer[:0], answer)
			}
			b.SetBytes(int64(len(buffer)))
		})
	}
}

// hourly returns averages by host and hour.
func hourly(tb testing.TB, hosts, hours int) aggregate.Answer {
	tb.Helper()
	const hour = metric.Timestamp(3_600_000_000)
	name, err := metric.NewName("cpu")
	if err != nil {
		tb.Fatal(err)
	}
	window, err := aggregate.ParseWindow("1h")
	if err != nil {
		tb.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: name, Window: window, GroupBy: []string{"host"}})
	if err != nil {
		tb.Fatal(err)
	}
	answer := aggregate.Answer{Query: q}
	for i := range hosts {
		g := aggregate.AnswerGroup{Tags: []metric.Tag{{Key: "host", Value: fmt.Sprint("h", i)}}}
		for j := range metric.Timestamp(hours) {
			g.Windows = append(g.Windows, aggregate.WindowValues{
				Start: received + j*hour, End: received + (j+1)*hour,
				Values: []aggregate.Value{{Function: aggregate.Avg, Number: 50 + float64(i)/3 + float64(j)/7}},
			})
		}
		answer.Groups = append(answer.Groups, g)
	}
	return answer
}
