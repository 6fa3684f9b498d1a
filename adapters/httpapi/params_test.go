package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// FuzzParams holds the reading of query strings against that of net/url.
func FuzzParams(f *testing.F) {
	for _, seed := range []string{
		"", "metric=a", "metric=a&metric=b", "a%3Db=c%26&x+y=1+2", "%zz", "a;b", "&&metric=&=x", "tag.a=1&tag.a=2&not.b=%20", "agg==",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		want, wantErr := url.ParseQuery(raw)
		known := make([]string, 0, len(want)+1)
		for name := range want {
			if op, _ := matcherOf(name); op == 0 {
				known = append(known, name+repeatable)
			}
		}
		p, err := parseParams(&http.Request{URL: &url.URL{RawQuery: raw}}, append(known, tagPrefix)...)
		if len(p.given) >= paramsMax || len(p.tags) > 60 {
			return
		}
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: %v, want %v", raw, err, wantErr)
		}
		if err != nil {
			return
		}
		for name, values := range want {
			got := p.all(name)
			if op, key := matcherOf(name); op != 0 {
				for _, m := range p.tags {
					if m.Op == op && m.Key == key {
						got = m.Values
					}
				}
			}
			if !slices.Equal(got, values) {
				t.Fatalf("%q: %s=%q, want %q", raw, name, got, values)
			}
		}
	})
}
