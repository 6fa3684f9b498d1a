package catalogue_test

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func define(t *testing.T, c *catalogue.Catalogue, keys ...string) []catalogue.SeriesID {
	t.Helper()
	p, err := c.Prepare(keys, nil, nil)
	if err != nil {
		t.Fatalf("Prepare(%q): %v", keys, err)
	}
	c.Define(p)
	return p.IDs()
}

func name(t *testing.T, text string) metric.Name {
	t.Helper()
	n, err := metric.NewName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestIDsFollowFirstAppearance(t *testing.T) {
	c := catalogue.New(0)
	if ids := define(t, c, `b{h="1"}`, "a", `b{h="2"}`); !slices.Equal(ids, []catalogue.SeriesID{0, 1, 2}) {
		t.Errorf("ids=%v, want 0 1 2", ids)
	}
	before := c.Series()
	if ids := define(t, c, "a", `a{h="1"}`, `b{h="1"}`); !slices.Equal(ids, []catalogue.SeriesID{1, 3, 0}) {
		t.Errorf("ids=%v, want 1 3 0", ids)
	}
	if before.Len() != 3 || c.Series().Len() != 4 || c.Len() != 4 {
		t.Errorf("lists of %d and %d series, want 3 and 4", before.Len(), c.Series().Len())
	}
	id, series, ok := c.Metric(name(t, "a"))
	if id != 1 || !slices.Equal(series, []catalogue.SeriesID{1, 3}) || !ok {
		t.Errorf("Metric(a)=%d %v %v, want 1 [1 3]", id, series, ok)
	}
	if _, _, ok := c.Metric(name(t, "none")); ok {
		t.Error("Metric(none) is known")
	}
	if s, m := c.Series().At(3); s.Key() != `a{h="1"}` || m != 1 {
		t.Errorf("At(3)=%s of metric %d", s.Key(), m)
	}
}

func TestKeysAreCopied(t *testing.T) {
	c := catalogue.New(0)
	key := []byte("cpu")
	define(t, c, unsafe.String(unsafe.SliceData(key), len(key)))
	copy(key, "xxx")
	if s, _ := c.Series().At(0); s.Key() != "cpu" || s.Name().String() != "cpu" {
		t.Errorf("the series follows its caller's memory: %s", s.Key())
	}
	if ids := define(t, c, "cpu"); ids[0] != 0 {
		t.Errorf("cpu is numbered %d anew", ids[0])
	}
}

func TestPrepareChangesNothing(t *testing.T) {
	c := catalogue.New(2)
	define(t, c, "a")
	_, err := c.Prepare([]string{"a", "b", "c"}, nil, nil)
	if f := fault.From(err); f.Kind() != fault.Unprocessable || f.Code() != "series_limit" {
		t.Errorf("Prepare over the limit: %v", err)
	}
	if _, err := c.Prepare([]string{"a{"}, nil, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Prepare of a bad key: %v", err)
	}
	if _, err := c.Prepare([]string{"b"}, nil, nil); err != nil || c.Len() != 1 {
		t.Errorf("Prepare defined something: %d series, %v", c.Len(), err)
	}
	if ids := define(t, c, "a", "c"); ids[1] != 1 || c.Len() != 2 {
		t.Errorf("ids=%v of %d series, want 1 of 2", ids, c.Len())
	}
}

func TestNumbersStandForKeys(t *testing.T) {
	c := catalogue.New(4)
	define(t, c, "a", "b", "c")
	numbers := []uint32{9, 9, 9}
	c.Number([]string{"c", "d", "a"}, numbers)
	if !slices.Equal(numbers, []uint32{3, 0, 1}) {
		t.Fatalf("numbers=%d, want 3 0 1", numbers)
	}
	p, err := c.Prepare([]string{"", "d", ""}, numbers, nil)
	if err != nil || !slices.Equal(p.IDs(), []catalogue.SeriesID{2, 3, 0}) {
		t.Fatalf("Prepare=%v, %v, want 2 3 0", p.IDs(), err)
	}
	c.Define(p)
	if s, _ := c.Series().At(3); c.Len() != 4 || s.Key() != "d" {
		t.Errorf("%d series, the last %s, want 4 with d", c.Len(), s.Key())
	}
	if _, err := c.Prepare([]string{""}, []uint32{5}, p); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("Prepare of a number that was never given: %v", err)
	}
	if _, err := c.Prepare([]string{"", "e"}, []uint32{1, 0}, p); fault.KindOf(err) != fault.Unprocessable {
		t.Errorf("Prepare over the limit: %v", err)
	}
}

func TestNewest(t *testing.T) {
	c := catalogue.New(0)
	define(t, c, "a")
	if _, _, ok := c.Newest(0); ok {
		t.Error("a series without samples has a newest one")
	}
	for _, step := range []struct {
		at        int64
		value     float64
		wantAt    int64
		wantValue float64
	}{{-5, 1, -5, 1}, {-6, 2, -5, 1}, {-5, 3, -5, 3}, {0, 0, 0, 0}, {-1, 4, 0, 0}} {
		c.Observe(0, step.at, step.value)
		if at, v, ok := c.Newest(0); at != step.wantAt || v != step.wantValue || !ok {
			t.Errorf("after %d %v newest is %d %v %v, want %d %v", step.at, step.value, at, v, ok, step.wantAt, step.wantValue)
		}
	}
}
