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

// CheckedTag is a Tag that is known to be valid: only Tags give them away. So storage may keep the parts of a
// series and put them together again, by JoinTags and JoinSeries, without checking anything anew. The zero
// CheckedTag is none, and must not be joined.
type CheckedTag struct{ tag Tag }

// Tag returns the tag.
func (c CheckedTag) Tag() Tag { return c.tag }

// In returns the same tag in the memory of key and value, which must be equal to its own: for those who keep
// equal texts once.
func (c CheckedTag) In(key, value string) CheckedTag {
	if key != c.tag.Key || value != c.tag.Value {
		panic("metric: the tag " + strconv.Quote(c.tag.Key) + " would become another")
	}
	return CheckedTag{Tag{Key: key, Value: value}}
}

// Tags is a set of tags with distinct keys, sorted by key. The zero Tags is the empty set.
type Tags struct{ sorted []CheckedTag }

// NewTags checks, copies and sorts tags. Keys are 1 to TagKeyBytesMax bytes and distinct, values not
// empty; both are UTF-8 without control characters. A fault.Invalid names the offending tag.
func NewTags(tags []Tag) (Tags, error) {
	if len(tags) == 0 {
		return Tags{}, nil
	}
	if len(tags) > TagsMax {
		return Tags{}, fault.Field("tags", "holds "+strconv.Itoa(len(tags))+" tags", "at most "+strconv.Itoa(TagsMax))
	}
	sorted := make([]CheckedTag, len(tags))
	for i, t := range tags {
		if err := checkText("tags key", "", t.Key, TagKeyBytesMax); err != nil {
			return Tags{}, err
		}
		if err := checkText("tags.", t.Key, t.Value, SeriesKeyBytesMax); err != nil {
			return Tags{}, err
		}
		sorted[i] = CheckedTag{t}
	}
	slices.SortFunc(sorted, func(a, b CheckedTag) int { return cmp.Compare(a.tag.Key, b.tag.Key) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].tag.Key == sorted[i-1].tag.Key {
			return Tags{}, fault.Field("tags."+sorted[i].tag.Key, "is given twice", "each key once")
		}
	}
	return Tags{sorted: sorted}, nil
}

// JoinTags puts the tags of one series together again: parts are all of them, as Checked gave them, in the
// order of their keys. It copies nothing and checks nothing: the Tags are valid until parts change.
func JoinTags(parts []CheckedTag) Tags { return Tags{sorted: parts} }

// Len returns the number of tags.
func (t Tags) Len() int { return len(t.sorted) }

// At returns the i-th tag in key order, 0 <= i < Len.
func (t Tags) At(i int) Tag { return t.sorted[i].tag }

// Checked returns the i-th tag in key order, 0 <= i < Len, for JoinTags.
func (t Tags) Checked(i int) CheckedTag { return t.sorted[i] }

// Get returns the value of key and whether it is set.
func (t Tags) Get(key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(t.sorted, key, func(c CheckedTag, k string) int { return cmp.Compare(c.tag.Key, k) })
	if !ok {
		return "", false
	}
	return t.sorted[i].tag.Value, true
}

// All returns a copy of the tags in key order.
func (t Tags) All() []Tag {
	if t.sorted == nil {
		return nil
	}
	all := make([]Tag, len(t.sorted))
	for i, c := range t.sorted {
		all[i] = c.tag
	}
	return all
}
