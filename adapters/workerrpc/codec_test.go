package workerrpc

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func testName(t rapid.TB) metric.Name {
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// drawTable builds a table as a node would: through a Builder.
func drawTable(t *rapid.T, groupBy []string) aggregate.Table {
	window, err := aggregate.WindowOf(rapid.SampledFrom([]int64{0, 1, 60_000_000}).Draw(t, "window"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: testName(t), Window: window, GroupBy: groupBy})
	if err != nil {
		t.Fatal(err)
	}
	b := aggregate.NewBuilder(q)
	if rapid.Bool().Draw(t, "known") {
		b.MarkKnown()
	}
	for range rapid.IntRange(0, 30).Draw(t, "samples") {
		tags := make([]string, len(groupBy))
		for i := range tags {
			tags[i] = rapid.SampledFrom([]string{"", "a", "ö", "b\u00a0c"}).Draw(t, "tag")
		}
		g, err := b.Group(tags)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.Int64Range(int64(metric.TimestampMin), int64(metric.TimestampMax)).Draw(t, "at")
		value := rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "value")
		if err := g.Add(metric.Timestamp(at), value); err != nil {
			t.Fatal(err)
		}
	}
	return b.Table()
}

// sameBits compares partials by their bits: an overflowed sum may be NaN.
var sameBits = cmp.Comparer(func(a, b aggregate.Partial) bool {
	x, y := a.Parts(), b.Parts()
	return x.Count == y.Count && math.Float64bits(x.Sum) == math.Float64bits(y.Sum) &&
		math.Float64bits(x.Compensation) == math.Float64bits(y.Compensation) &&
		math.Float64bits(x.Min) == math.Float64bits(y.Min) && math.Float64bits(x.Max) == math.Float64bits(y.Max)
})

func TestTableRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groupBy := rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}}).Draw(t, "group_by")
		want := drawTable(t, groupBy)
		text, err := proto.Marshal(encodeTable(want))
		if err != nil {
			t.Fatal(err)
		}
		var message workerpb.Table
		if err := proto.Unmarshal(text, &message); err != nil {
			t.Fatal(err)
		}
		got, err := decodeTable(&message, len(groupBy))
		if err != nil {
			t.Fatal(err)
		}
		if got.SeriesKnown != want.SeriesKnown || len(got.Groups) != len(want.Groups) {
			t.Fatalf("table=%+v, want %+v", got, want)
		}
		for i, g := range want.Groups {
			if len(groupBy) > 0 && !cmp.Equal(g.Tags, got.Groups[i].Tags) || !cmp.Equal(g.Cells, got.Groups[i].Cells, sameBits) {
				t.Fatalf("group %d=%+v, want %+v", i, got.Groups[i], g)
			}
		}
	})
}

func TestBrokenTablesAreRefused(t *testing.T) {
	whole := func() *workerpb.Table {
		return &workerpb.Table{
			TagsPerGroup: 1, Tags: []string{"a", "b"}, Cells: []uint32{2, 1}, Starts: []int64{-5, 10, 7},
			Counts: []uint64{1, 1, 1}, Sums: []float64{1, 2, 3}, Compensations: make([]float64, 3),
			Minima: []float64{1, 2, 3}, Maxima: []float64{1, 2, 3},
		}
	}
	if _, err := decodeTable(whole(), 1); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(*workerpb.Table){
		"other tags":        func(m *workerpb.Table) { m.TagsPerGroup = 2 },
		"tag missing":       func(m *workerpb.Table) { m.Tags = m.GetTags()[:1] },
		"cell missing":      func(m *workerpb.Table) { m.Cells[0] = 1 },
		"too many cells":    func(m *workerpb.Table) { m.Cells[0] = math.MaxUint32 },
		"empty group":       func(m *workerpb.Table) { m.Cells = []uint32{3, 0} },
		"groups unordered":  func(m *workerpb.Table) { m.Tags = []string{"b", "a"} },
		"groups equal":      func(m *workerpb.Table) { m.Tags = []string{"a", "a"} },
		"starts equal":      func(m *workerpb.Table) { m.Starts[1] = 0 },
		"starts overflow":   func(m *workerpb.Table) { m.Starts[0], m.Starts[1] = math.MaxInt64, 1 },
		"empty partial":     func(m *workerpb.Table) { m.Counts[0], m.Sums[0], m.Minima[0], m.Maxima[0] = 0, 0, 0, 0 },
		"minimum not least": func(m *workerpb.Table) { m.Minima[0] = 2 },
		"column short":      func(m *workerpb.Table) { m.Sums = m.GetSums()[:2] },
	} {
		m := whole()
		damage(m)
		if table, err := decodeTable(m, 1); err == nil {
			t.Errorf("%s: taken as %+v", name, table)
		}
	}
}

func TestEveryKindTravels(t *testing.T) {
	for kind := fault.Internal; kind <= fault.Canceled; kind++ {
		if codes[kind] == 0 {
			t.Errorf("kind %d has no code", kind)
		}
		want := fault.New(kind, "code", "message").WithDetail("half", 0.5).WithDetail("yes", true)
		got := decodeFault(encodeFault(want))
		if !errors.Is(got, want) || got.Message() != "message" || len(got.Details()) != 2 {
			t.Errorf("fault=%v, want %v", got, want)
		}
	}
}

func TestUnknownLevelIsRefused(t *testing.T) {
	for _, m := range []*workerpb.Read{
		{Shards: []uint32{1}, Level: 2},
		{Shards: []uint32{1}, Level: uint32(consistency.Linearizable), FreshnessMaxNanos: 1},
		{Shards: []uint32{1}, Level: uint32(consistency.None), FreshnessMaxNanos: -1},
		{},
	} {
		if r, err := decodeRead(m); err == nil {
			t.Errorf("%v: taken as %+v", m, r)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, 1)
	f.Fuzz(func(_ *testing.T, text []byte, tags int) {
		var table workerpb.Table
		if proto.Unmarshal(text, &table) == nil {
			_, _ = decodeTable(&table, min(max(tags, 0), metric.TagsMax))
		}
		var query workerpb.Query
		if proto.Unmarshal(text, &query) == nil {
			_, _ = decodeQuery(&query)
		}
		var read workerpb.Read
		if proto.Unmarshal(text, &read) == nil {
			_, _ = decodeRead(&read)
		}
	})
}
