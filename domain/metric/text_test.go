package metric_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func wantInvalid(t *testing.T, what string, err error) {
	t.Helper()
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("%s: err=%v, want Invalid", what, err)
	}
}

func TestNewName(t *testing.T) {
	for text, ok := range map[string]bool{
		"cpu":                      true,
		" ":                        true,
		"řeka 🐎":                   true,
		strings.Repeat("x", 255):   true,
		"":                         false,
		strings.Repeat("x", 256):   false,
		strings.Repeat("ř", 128):   false, // 256 bytes.
		"a\nb":                     false,
		"a\x00":                    false,
		"a\x7f":                    false,
		"a\u0085":                  false, // A control character beyond ASCII.
		"a\xff":                    false,
		"\xed\xa0\x80":             false, // A surrogate.
		"line\u2028separator is Z": true,
	} {
		name, err := metric.NewName(text)
		if ok && (err != nil || name.String() != text || name.IsZero()) {
			t.Errorf("NewName(%q)=%q, %v, want it back", text, name, err)
		}
		if !ok {
			wantInvalid(t, fmt.Sprintf("NewName(%q)", text), err)
			if !name.IsZero() {
				t.Errorf("NewName(%q) is refused but not zero", text)
			}
		}
	}
}

func TestNewTags(t *testing.T) {
	in := []metric.Tag{{Key: "zone", Value: "x"}, {Key: "host", Value: "a"}}
	tags, err := metric.NewTags(in)
	if err != nil || tags.Len() != 2 || tags.At(0).Key != "host" || tags.At(1).Key != "zone" {
		t.Fatalf("NewTags=%v, %v, want host and zone", tags.All(), err)
	}
	in[0].Value = "changed"
	tags.All()[0].Value = "changed"
	if v, ok := tags.Get("zone"); v != "x" || !ok {
		t.Errorf("Get(zone)=%q, %v, want x", v, ok)
	}
	if v, ok := tags.Get("host"); v != "a" || !ok {
		t.Errorf("Get(host)=%q, %v, want a", v, ok)
	}
	if v, ok := tags.Get("none"); v != "" || ok {
		t.Errorf("Get(none)=%q, %v, want nothing", v, ok)
	}

	many := make([]metric.Tag, metric.TagsMax+1)
	for i := range many {
		many[i] = metric.Tag{Key: strconv.Itoa(i), Value: "v"}
	}
	if _, err := metric.NewTags(many[1:]); err != nil {
		t.Errorf("%d tags: %v", metric.TagsMax, err)
	}
	for what, bad := range map[string][]metric.Tag{
		"too many":        many,
		"twice":           {{Key: "a", Value: "1"}, {Key: "b", Value: "1"}, {Key: "a", Value: "1"}},
		"empty key":       {{Key: "", Value: "1"}},
		"empty value":     {{Key: "a", Value: ""}},
		"control in key":  {{Key: "a\n", Value: "1"}},
		"control in text": {{Key: "a", Value: "\x01"}},
		"long key":        {{Key: strings.Repeat("k", 256), Value: "1"}},
		"long value":      {{Key: "k", Value: strings.Repeat("v", 8193)}},
	} {
		_, err := metric.NewTags(bad)
		wantInvalid(t, what, err)
	}
}

func TestMatchers(t *testing.T) {
	tagsOf := func(text ...string) (tags []metric.Tag) {
		for pair := range slices.Chunk(text, 2) {
			tags = append(tags, metric.Tag{Key: pair[0], Value: pair[1]})
		}
		return tags
	}
	set, err := metric.NewTags(tagsOf("host", "a", "zone", "x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		equal []metric.Tag
		want  bool
	}{
		{nil, true},
		{tagsOf("host", "a"), true},
		{tagsOf("zone", "x", "host", "a"), true},
		{tagsOf("host", "b"), false},
		{tagsOf("host", "a", "zone", "y"), false},
		{tagsOf("none", "a"), false},
	} {
		m, err := metric.NewMatchers(c.equal)
		if err != nil || m.Match(set) != c.want || m.IsZero() != (len(c.equal) == 0) {
			t.Errorf("matchers %v: Match=%v IsZero=%v, %v, want %v", c.equal, m.Match(set), m.IsZero(), err, c.want)
		}
		if !slices.IsSortedFunc(m.List(), func(a, b metric.Matcher) int { return strings.Compare(a.Key, b.Key) }) {
			t.Errorf("List()=%v is not sorted", m.List())
		}
	}
	for what, bad := range map[string][]metric.Tag{
		"empty key": tagsOf("", "x"), "empty value": tagsOf("x", ""), "twice": tagsOf("x", "1", "x", "2"),
	} {
		_, err := metric.NewMatchers(bad)
		wantInvalid(t, what, err)
	}
}

func TestSamples(t *testing.T) {
	series, err := metric.ParseSeriesKey("cpu")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := metric.NewObservation(series, v)
		wantInvalid(t, fmt.Sprint("value ", v), err)
		_, err = metric.NewSample(series, 0, v)
		wantInvalid(t, fmt.Sprint("value ", v), err)
	}
	_, err = metric.NewObservation(metric.Series{}, 1)
	wantInvalid(t, "no series", err)
	for _, at := range []metric.Timestamp{metric.TimestampMin - 1, metric.TimestampMax + 1} {
		_, err := metric.NewObservationAt(series, at, 1)
		wantInvalid(t, fmt.Sprint("at ", int64(at)), err)
	}

	open, err := metric.NewObservation(series, 3)
	if err != nil {
		t.Fatal(err)
	}
	timed, err := metric.NewObservationAt(series, 7, 4)
	if err != nil {
		t.Fatal(err)
	}
	if s := open.At(5); s.Timestamp() != 5 || s.Value() != 3 || s.Series() != series || open.Series() != series {
		t.Errorf("an open observation at 5 is %v", s)
	}
	if s := timed.At(5); s.Timestamp() != 7 || s.Value() != 4 {
		t.Errorf("an observation of 7 received at 5 is %v", s)
	}
}

func TestNewerThan(t *testing.T) {
	at := func(key string, at metric.Timestamp) metric.Sample {
		series, err := metric.ParseSeriesKey(key)
		if err != nil {
			t.Fatal(err)
		}
		s, err := metric.NewSample(series, at, 1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ascending := []metric.Sample{at("b", 1), at("a", 2), at("b", 2), at("a", 3)}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := a.NewerThan(b); got != (i > j) {
				t.Errorf("sample %d newer than %d: %v, want %v", i, j, got, i > j)
			}
		}
	}
}
