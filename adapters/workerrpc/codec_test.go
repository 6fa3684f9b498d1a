package workerrpc

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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

// drawQuery asks for details and narrowing at random.
func drawQuery(t *rapid.T) aggregate.Query {
	window, err := aggregate.WindowOf(rapid.SampledFrom([]int64{0, 100}).Draw(t, "window"))
	if err != nil {
		t.Fatal(err)
	}
	spec := aggregate.QuerySpec{
		Metric: testName(t), Window: window, GroupBy: rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}}).Draw(t, "group_by"),
		Detail: aggregate.Detail(rapid.IntRange(0, 31).Draw(t, "detail")),
	}
	if rapid.Bool().Draw(t, "where") {
		if spec.Where, err = aggregate.ParseWhere("value!=5"); err != nil {
			t.Fatal(err)
		}
	}
	if spec.Detail&aggregate.DetailNarrow != 0 {
		spans := []aggregate.Span{
			{Low: -1e300, High: -1},
			aggregate.Span{Low: 0, High: 10}.Binned(100, aggregate.Linear),
			aggregate.Span{Low: 11, High: 1e300}.Binned(1000, aggregate.Ordinal),
		}
		tags := make([]string, len(spec.GroupBy))
		spec.Narrowing, err = aggregate.NewNarrowing([]aggregate.PlannedCell{
			{Tags: tags, Start: window.Start(0), Spans: spans[:rapid.IntRange(1, 3).Draw(t, "spans")]},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// drawTable builds a table as a node would: through a Builder.
func drawTable(t *rapid.T, q aggregate.Query) aggregate.Table {
	b := aggregate.NewBuilder(q)
	if rapid.Bool().Draw(t, "known") {
		b.MarkKnown()
	}
	for range rapid.IntRange(0, 5).Draw(t, "series") {
		var tags []metric.Tag
		for _, key := range []string{"x", "y"} {
			if v := rapid.SampledFrom([]string{"", "a", "ö", "b\u00a0c"}).Draw(t, "tag"); v != "" {
				tags = append(tags, metric.Tag{Key: key, Value: v})
			}
		}
		set, err := metric.NewTags(tags)
		if err != nil {
			t.Fatal(err)
		}
		series, err := metric.NewSeries(testName(t), set)
		if err != nil {
			t.Fatal(err)
		}
		f, err := b.Fold(series)
		if err != nil {
			t.Fatal(err)
		}
		times := rapid.SliceOfN(rapid.Int64Range(0, 250), 0, 30).Draw(t, "times")
		slices.Sort(times)
		for _, at := range times {
			value := rapid.OneOf(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), rapid.Float64Range(-1, 12)).Draw(t, "value")
			if err := f.Add(metric.Timestamp(at), value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.Table()
}

// sameBits compares partials by their bits: an overflowed sum may be NaN.
var sameBits = cmp.Comparer(func(a, b aggregate.Partial) bool {
	x, y := a.Parts(), b.Parts()
	return x.Count == y.Count && math.Float64bits(x.Sum) == math.Float64bits(y.Sum) &&
		math.Float64bits(x.Compensation) == math.Float64bits(y.Compensation) &&
		math.Float64bits(x.Min) == math.Float64bits(y.Min) && math.Float64bits(x.Max) == math.Float64bits(y.Max) &&
		cmp.Equal(plainDetails(a), plainDetails(b), cmpopts.EquateNaNs(), cmpopts.EquateEmpty())
})

// plainDetails turns details into something that cmp can look into.
func plainDetails(p aggregate.Partial) []any {
	d := p.Details()
	out := []any{d.Ends, d.Spread, d.Steps, d.Spans}
	if d.Sketch != nil {
		out = append(out, d.Sketch.Parts())
	}
	return out
}

func TestTableRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := drawQuery(t)
		want := drawTable(t, asked)
		q := queryTrip(t, asked)
		text, err := proto.Marshal(encodeTable(want))
		if err != nil {
			t.Fatal(err)
		}
		var message workerpb.Table
		if err := proto.Unmarshal(text, &message); err != nil {
			t.Fatal(err)
		}
		got, err := decodeTable(&message, q)
		if err != nil {
			t.Fatal(err)
		}
		if got.SeriesKnown != want.SeriesKnown || len(got.Groups) != len(want.Groups) {
			t.Fatalf("table=%+v, want %+v", got, want)
		}
		for i, g := range want.Groups {
			if len(q.GroupBy()) > 0 && !cmp.Equal(g.Tags, got.Groups[i].Tags) || !cmp.Equal(g.Cells, got.Groups[i].Cells, sameBits) {
				t.Fatalf("group %d=%+v, want %+v", i, got.Groups[i], g)
			}
		}
	})
}

// queryTrip sends q.
func queryTrip(t *rapid.T, q aggregate.Query) aggregate.Query {
	text, err := proto.Marshal(encodeQuery(q))
	if err != nil {
		t.Fatal(err)
	}
	var message workerpb.Query
	if err := proto.Unmarshal(text, &message); err != nil {
		t.Fatal(err)
	}
	got, err := decodeQuery(&message)
	if err != nil {
		t.Fatal(err)
	}
	if got.Where() != q.Where() || got.Detail() != q.Detail() || got.Window().Width() != q.Window().Width() ||
		!cmp.Equal(got.Narrowing().Cells(), q.Narrowing().Cells(), cmpopts.EquateEmpty()) {
		t.Fatalf("query=%+v, want %+v", got, q)
	}
	return got
}

// TestDetailsThatAreMissingAreRefused damages one column after the other.
func TestDetailsThatAreMissingAreRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuery(t)
		table := drawTable(t, q)
		m := encodeTable(table)
		if m.GetDetails() == nil {
			return
		}
		columns := []protoreflect.FieldDescriptor{}
		m.GetDetails().ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			columns = append(columns, f)
			return true
		})
		if len(columns) == 0 {
			return
		}
		slices.SortFunc(columns, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
		f := rapid.SampledFrom(columns).Draw(t, "column")
		list := m.GetDetails().ProtoReflect().Mutable(f).List()
		list.Truncate(rapid.IntRange(0, list.Len()-1).Draw(t, "left"))
		if got, err := decodeTable(m, q); err == nil {
			t.Fatalf("without the end of %s: taken as %+v", f.Name(), got)
		}
	})
}

func TestListingRoundTrip(t *testing.T) {
	matchers, err := metric.NewMatchers([]metric.Tag{{Key: "host", Value: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []metric.ListingSpec{
		{Kind: metric.ListSeries},
		{Kind: metric.ListMetrics, Limit: 3},
		{Kind: metric.ListTagValues, Key: "host", Metric: testName(t), Matchers: matchers},
	} {
		want, err := metric.NewListing(spec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeListing(encodeListing(want))
		if err != nil || got.Kind() != want.Kind() || got.Key() != want.Key() || got.Limit() != want.Limit() ||
			got.Metric() != want.Metric() || !cmp.Equal(got.Matchers().List(), want.Matchers().List()) {
			t.Errorf("listing=%+v, %v, want %+v", got, err, want)
		}
		if _, err := decodeItems([]string{"b", "a"}, want); err == nil {
			t.Error("items out of order were taken")
		}
		if _, err := decodeItems(make([]string, want.Limit()+2), want); err == nil {
			t.Error("more items than the limit were taken")
		}
	}
	for _, bad := range []*workerpb.ListSeriesRequest{{}, {Kind: 9}, {Kind: 1, Key: "k"}, {Kind: 1, Limit: math.MaxUint32}, {Kind: 1, Metric: "\x00"}} {
		if l, err := decodeListing(bad); err == nil {
			t.Errorf("%v: taken as %+v", bad, l)
		}
	}
}

func TestBrokenNarrowingsAreRefused(t *testing.T) {
	whole := func() *workerpb.Narrowing {
		return &workerpb.Narrowing{
			Tags: []string{"a", "b"}, Starts: []int64{0, 0}, Spans: []uint32{2, 1}, Lows: []float64{0, 2, 0}, Highs: []float64{1, 3, 1},
			Scales: []uint32{0, 1, 2}, Bins: []uint32{0, 10, 10}, Factors: []float64{0, 10, 0}, Shifts: []uint32{0, 0, 5},
		}
	}
	if n, err := decodeNarrowing(whole(), 1); err != nil || len(n.Cells()) != 2 {
		t.Fatal(n, err)
	}
	for name, damage := range map[string]func(*workerpb.Narrowing){
		"tags":       func(m *workerpb.Narrowing) { m.Tags = m.GetTags()[:1] },
		"same cell":  func(m *workerpb.Narrowing) { m.Tags[1] = "a" },
		"no spans":   func(m *workerpb.Narrowing) { m.Spans = []uint32{3, 0} },
		"more spans": func(m *workerpb.Narrowing) { m.Spans[0] = math.MaxUint32 },
		"overlap":    func(m *workerpb.Narrowing) { m.Lows[1] = 1 },
		"reversed":   func(m *workerpb.Narrowing) { m.Lows[0] = 1.5 },
		"infinite":   func(m *workerpb.Narrowing) { m.Highs[1] = math.Inf(1) },
		"scale":      func(m *workerpb.Narrowing) { m.Scales[0] = 256 },
		"bins":       func(m *workerpb.Narrowing) { m.Bins[1] = math.MaxUint32 },
		"factor":     func(m *workerpb.Narrowing) { m.Factors[1] = 0 },
		"shift":      func(m *workerpb.Narrowing) { m.Shifts[2] = 64 },
		"column":     func(m *workerpb.Narrowing) { m.Shifts = nil },
	} {
		m := whole()
		damage(m)
		if n, err := decodeNarrowing(m, 1); err == nil {
			t.Errorf("%s: taken as %+v", name, n)
		}
	}
}

func TestBrokenTablesAreRefused(t *testing.T) {
	whole := func() *workerpb.Table {
		return &workerpb.Table{
			TagsPerGroup: 1, Tags: []string{"a", "b"}, Cells: []uint32{2, 1}, Starts: []int64{-5, 10, 7},
			Counts: []uint64{1, 1, 1}, Sums: []float64{1, 2, 3}, Compensations: make([]float64, 3),
			Minima: []float64{1, 2, 3}, Maxima: []float64{1, 2, 3},
		}
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: testName(t), GroupBy: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeTable(whole(), q); err != nil {
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
		if table, err := decodeTable(m, q); err == nil {
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

// TestTheEndOfTimeTravels: whoever asked tells by it that the question's time ended, not the node.
func TestTheEndOfTimeTravels(t *testing.T) {
	if got := restoreFault(faultMessage(context.DeadlineExceeded)); got.Kind() != fault.Timeout || !errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("restored %v, want a timeout whose cause is the deadline", got)
	}
	if got := restoreFault(faultMessage(fault.New(fault.Timeout, "stale", "too old"))); errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("restored %v: an old replica is no deadline", got)
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
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(_ *testing.T, asked, text []byte) {
		var query workerpb.Query
		if proto.Unmarshal(asked, &query) == nil {
			if q, err := decodeQuery(&query); err == nil {
				var table workerpb.Table
				if proto.Unmarshal(text, &table) == nil {
					_, _ = decodeTable(&table, q)
				}
			}
		}
		var listing workerpb.ListSeriesRequest
		if proto.Unmarshal(text, &listing) == nil {
			_, _ = decodeListing(&listing)
		}
		var read workerpb.Read
		if proto.Unmarshal(text, &read) == nil {
			_, _ = decodeRead(&read)
		}
	})
}
