package metric

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Tag is one key and its value.
type Tag struct {
	Key   string
	Value string
}

// Tags is a set of tags with distinct keys, sorted by key. The zero Tags is the empty set.
type Tags struct{ sorted []Tag }

// NewTags checks, copies and sorts tags. Keys are 1 to TagKeyBytesMax bytes and distinct, values not
// empty; both are UTF-8 without control characters. A fault.Invalid names the offending tag.
func NewTags(tags []Tag) (Tags, error) {
	if len(tags) == 0 {
		return Tags{}, nil
	}
	if len(tags) > TagsMax {
		return Tags{}, fault.Field("tags", "holds "+strconv.Itoa(len(tags))+" tags", "at most "+strconv.Itoa(TagsMax))
	}
	for _, t := range tags {
		if err := checkText("tags key", "", t.Key, TagKeyBytesMax); err != nil {
			return Tags{}, err
		}
		if err := checkText("tags.", t.Key, t.Value, SeriesKeyBytesMax); err != nil {
			return Tags{}, err
		}
	}
	sorted := slices.Clone(tags)
	slices.SortFunc(sorted, func(a, b Tag) int { return cmp.Compare(a.Key, b.Key) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Key == sorted[i-1].Key {
			return Tags{}, fault.Field("tags."+sorted[i].Key, "is given twice", "each key once")
		}
	}
	return Tags{sorted: sorted}, nil
}

// Len returns the number of tags.
func (t Tags) Len() int { return len(t.sorted) }

// At returns the i-th tag in key order, 0 <= i < Len.
func (t Tags) At(i int) Tag { return t.sorted[i] }

// Get returns the value of key and whether it is set.
func (t Tags) Get(key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(t.sorted, key, func(tag Tag, k string) int { return cmp.Compare(tag.Key, k) })
	if !ok {
		return "", false
	}
	return t.sorted[i].Value, true
}

// All returns a copy of the tags in key order.
func (t Tags) All() []Tag { return slices.Clone(t.sorted) }
