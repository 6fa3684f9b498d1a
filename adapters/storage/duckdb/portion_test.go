package duckdb

import (
	"slices"
	"strings"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
)

// TestFewTextsForFewSeries checks that every series is named and that there are few different texts.
func TestFewTextsForFewSeries(t *testing.T) {
	texts := map[string]bool{}
	var ids []catalogue.SeriesID
	for n := range catalogue.SeriesID(fewMax) {
		ids = append(ids, 3*n)
		var a parameters
		text := a.few(ids)
		texts[text] = true
		if got, want := len(a), strings.Count(text, "$"); got != want {
			t.Errorf("%d series: %d parameters in %q", n+1, got, text)
		}
		for _, id := range ids {
			if !slices.Contains(a, any(int64(id))) {
				t.Errorf("%d series: %v lacks %d", n+1, a, id)
			}
		}
		for _, arg := range a {
			if id, _ := arg.(int64); !slices.Contains(ids, catalogue.SeriesID(id)) {
				t.Errorf("%d series: %v names one more", n+1, a)
			}
		}
	}
	if len(texts) != 5 {
		t.Errorf("%d texts, want 5", len(texts))
	}
}
