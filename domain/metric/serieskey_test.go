package metric_test

import (
	"cmp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// closeText draws texts that often are prefixes of each other and hold what keys escape or end with.
var closeText = rapid.StringOfN(rapid.SampledFrom([]rune(`ab \{}=,"!~`)), 1, 3, -1)

func closeSeries(r *rapid.T) metric.Series {
	var list []metric.Tag
	for key := range rapid.MapOfN(closeText, rapid.Bool(), 0, 3).Draw(r, "keys") {
		list = append(list, metric.Tag{Key: key, Value: closeText.Draw(r, "value")})
	}
	tags, err := metric.NewTags(list)
	if err != nil {
		r.Fatalf("NewTags(%v): %v", list, err)
	}
	name, err := metric.NewName(closeText.Draw(r, "name"))
	if err != nil {
		r.Fatalf("NewName: %v", err)
	}
	s, err := metric.NewSeries(name, tags)
	if err != nil {
		r.Fatalf("NewSeries(%v): %v", list, err)
	}
	return s
}

func TestPartsCompareLikeKeys(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a, b := closeSeries(r), closeSeries(r)
		want := cmp.Compare(a.Key(), b.Key())
		if got := metric.CompareSeriesKeys(a.Name(), a.Tags(), b.Name(), b.Tags()); got != want {
			r.Fatalf("CompareSeriesKeys(%s, %s)=%d, want %d", a.Key(), b.Key(), got, want)
		}
		same, err := metric.NewSeries(a.Name(), b.Tags())
		if err != nil {
			r.Fatalf("NewSeries: %v", err)
		}
		if got, want := metric.CompareTags(a.Tags(), b.Tags()), cmp.Compare(a.Key(), same.Key()); got != want {
			r.Fatalf("CompareTags(%s, %s)=%d, want %d", a.Key(), same.Key(), got, want)
		}
	})
}

func TestSeriesIsJoinedOfItsParts(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want := closeSeries(r)
		var parts []metric.CheckedTag
		for i := range want.Tags().Len() {
			tag := want.Tags().At(i)
			parts = append(parts, want.Tags().Checked(i).In(strings.Clone(tag.Key), strings.Clone(tag.Value)))
		}
		got := metric.JoinSeries(want.Name().Clone(), metric.JoinTags(parts))
		if got.Key() != want.Key() || got.Name() != want.Name() || got.KeyHash() != want.KeyHash() || got.NameHash() != want.NameHash() {
			r.Fatalf("joined %s, want %s", got.Key(), want.Key())
		}
		if key := metric.AppendSeriesKey([]byte("x"), got.Name(), got.Tags()); string(key) != "x"+want.Key() {
			r.Fatalf("AppendSeriesKey=%s, want x%s", key, want.Key())
		}
	})
}

func TestCheckedTagStaysItself(t *testing.T) {
	tags, err := metric.NewTags([]metric.Tag{{Key: "k", Value: "v"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a tag became another")
		}
	}()
	tags.Checked(0).In("k", "")
}
