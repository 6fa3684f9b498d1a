package metric_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func TestSeriesKey(t *testing.T) {
	for _, c := range []struct {
		name string
		tags []metric.Tag
		want string
	}{
		{"cpu", nil, `cpu`},
		{"cpu", []metric.Tag{{Key: "zone", Value: "x"}, {Key: "host", Value: "a"}}, `cpu{host="a",zone="x"}`},
		{`a{b}`, nil, `a\{b\}`},
		{`a=b,c"\`, []metric.Tag{{Key: `k=1,"{}\`, Value: `v=1,"{}\`}}, `a\=b\,c\"\\{k\=1\,\"\{\}\\="v=1,\"{}\\"}`},
		{"řeka", []metric.Tag{{Key: "ř", Value: "🐎"}}, `řeka{ř="🐎"}`},
	} {
		name, err := metric.NewName(c.name)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := metric.NewTags(c.tags)
		if err != nil {
			t.Fatal(err)
		}
		s, err := metric.NewSeries(name, tags)
		if err != nil || s.Key() != c.want {
			t.Errorf("key of %q %v is %q, %v, want %q", c.name, c.tags, s.Key(), err, c.want)
		}
	}
}

func TestSeriesLimits(t *testing.T) {
	if _, err := metric.NewSeries(metric.Name{}, metric.Tags{}); err == nil {
		t.Error("a series without a name was built")
	}
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	for length, ok := range map[int]bool{8192 - len(`m{k=""}`): true, 8193 - len(`m{k=""}`): false} {
		tags, err := metric.NewTags([]metric.Tag{{Key: "k", Value: strings.Repeat("v", length)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := metric.NewSeries(name, tags); (err == nil) != ok {
			t.Errorf("a key of %d bytes: %v", length+len(`m{k=""}`), err)
		}
	}
}

func TestParseSeriesKeyRefuses(t *testing.T) {
	for _, key := range []string{
		``, `{`, `m{`, `m{}`, `m{k}`, `m{k=}`, `m{k="v"`, `m{k="v}`, `m{k="v",}`, `m{k="v"}x`, `m{="v"}`, `m{k=""}`,
		`m{b="1",a="2"}`, `m{a="1",a="2"}`, `m\`, `m\x`, `m=`, `m{k="\v"}`, `m{k=v"}`, "m\n", `m}`, `a{k="v" }`,
	} {
		s, err := metric.ParseSeriesKey(key)
		wantInvalid(t, fmt.Sprintf("ParseSeriesKey(%q)=%v", key, s), err)
	}
}

// checkParsed fails unless s, parsed from key, is what its own parts make.
func checkParsed(t interface{ Fatalf(string, ...any) }, key string, s metric.Series) {
	if s.Key() != key {
		t.Fatalf("ParseSeriesKey(%q).Key()=%q", key, s.Key())
	}
	tags, err := metric.NewTags(s.Tags().All())
	if err != nil {
		t.Fatalf("tags of %q: %v", key, err)
	}
	name, err := metric.NewName(s.Name().String())
	if err != nil {
		t.Fatalf("name of %q: %v", key, err)
	}
	again, err := metric.NewSeries(name, tags)
	if err != nil || again.Key() != key || again.KeyHash() != s.KeyHash() || again.NameHash() != s.NameHash() {
		t.Fatalf("%q parsed and built again is %q, %v", key, again.Key(), err)
	}
	if name.Hash() != s.NameHash() {
		t.Fatalf("hash of name %q is %d and %d", name, name.Hash(), s.NameHash())
	}
}

func FuzzParseSeriesKey(f *testing.F) {
	for _, seed := range []string{
		`cpu`, `cpu{host="a",zone="x"}`, `a\{b\}{k\="v=\"\\"}`, `m{k="v"`, `m{k="v",k="v"}`, `\\\`, `ř{ř="🐎"}`, `m{}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if s, err := metric.ParseSeriesKey(key); err == nil {
			checkParsed(t, key, s)
		}
	})
}

// anyText draws short text made mostly of what the key escapes.
var anyText = rapid.StringOfN(rapid.SampledFrom([]rune(`ab\{}=,"ř `)), 1, 6, -1)

func anySeries(r *rapid.T, label string) (metric.Series, map[string]string) {
	name, err := metric.NewName(anyText.Draw(r, label+" name"))
	if err != nil {
		r.Fatalf("NewName: %v", err)
	}
	parts := rapid.MapOfN(anyText, anyText, 0, 3).Draw(r, label+" tags")
	var list []metric.Tag
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		list = append(list, metric.Tag{Key: key, Value: parts[key]})
	}
	tags, err := metric.NewTags(rapid.Permutation(list).Draw(r, label+" order"))
	if err != nil {
		r.Fatalf("NewTags: %v", err)
	}
	s, err := metric.NewSeries(name, tags)
	if err != nil {
		r.Fatalf("NewSeries: %v", err)
	}
	return s, parts
}

func TestSeriesKeyIsInjective(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a, tagsA := anySeries(r, "a")
		b, tagsB := anySeries(r, "b")
		same := a.Name() == b.Name() && maps.Equal(tagsA, tagsB)
		if (a.Key() == b.Key()) != same {
			r.Fatalf("%q and %q: equal keys for different series or the reverse", a.Key(), b.Key())
		}
		for _, s := range []metric.Series{a, b} {
			parsed, err := metric.ParseSeriesKey(s.Key())
			if err != nil {
				r.Fatalf("ParseSeriesKey(%q): %v", s.Key(), err)
			}
			checkParsed(r, s.Key(), parsed)
			if !slices.Equal(parsed.Tags().All(), s.Tags().All()) || parsed.Name() != s.Name() {
				r.Fatalf("%q parsed to other parts", s.Key())
			}
		}
	})
}
