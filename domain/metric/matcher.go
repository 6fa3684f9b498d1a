package metric

import (
	"cmp"
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Matchers selects series of a metric by their tags: every matcher must hold. The zero Matchers
// selects all.
type Matchers struct{ equal []Tag }

// NewMatchers builds a selection of the series whose tag Key equals Value, for each of equal.
// A key may be given once.
func NewMatchers(equal []Tag) (Matchers, error) {
	sorted := slices.Clone(equal)
	slices.SortFunc(sorted, func(a, b Tag) int { return cmp.Compare(a.Key, b.Key) })
	for i, t := range sorted {
		if err := checkText("tag.", t.Key, t.Key, TagKeyBytesMax); err != nil {
			return Matchers{}, err
		}
		if err := checkText("tag.", t.Key, t.Value, SeriesKeyBytesMax); err != nil {
			return Matchers{}, err
		}
		if i > 0 && sorted[i-1].Key == t.Key {
			return Matchers{}, fault.Field("tag."+t.Key, "is given twice", "each key once")
		}
	}
	return Matchers{equal: sorted}, nil
}

// Match reports whether tags satisfy every matcher.
func (m Matchers) Match(tags Tags) bool {
	for _, want := range m.equal {
		if got, ok := tags.Get(want.Key); !ok || got != want.Value {
			return false
		}
	}
	return true
}

// IsZero reports whether m selects every series.
func (m Matchers) IsZero() bool { return len(m.equal) == 0 }

// Equal returns a copy of the required tags, sorted by key.
func (m Matchers) Equal() []Tag { return slices.Clone(m.equal) }
