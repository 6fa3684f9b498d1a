package metric

import (
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// ListingKind says what a Listing lists.
type ListingKind uint8

// What can be listed. The numbers travel between nodes.
const (
	ListSeries    ListingKind = 1 // series, as canonical keys
	ListMetrics   ListingKind = 2 // metric names
	ListTagKeys   ListingKind = 3 // keys of tags
	ListTagValues ListingKind = 4 // values of the tag Key
)

const (
	// ListingMax bounds the items of one listing.
	ListingMax = 100_000
	// ListingDefault is how many items a listing has when nothing is said.
	ListingDefault = 1000
)

// Listing asks which series, names, tag keys or tag values there are among the series that have
// samples, of Metric and by Matchers. Build it with NewListing.
type Listing struct {
	kind     ListingKind
	metric   Name
	matchers Matchers
	key      string
	limit    int
}

// ListingSpec are the parts of a Listing by name.
type ListingSpec struct {
	Kind     ListingKind
	Metric   Name // zero: of every metric
	Matchers Matchers
	Key      string // for ListTagValues
	Limit    int    // 0: ListingDefault
}

// NewListing checks spec.
func NewListing(spec ListingSpec) (Listing, error) {
	if spec.Kind < ListSeries || spec.Kind > ListTagValues {
		return Listing{}, fault.Field("list", "is unknown", "series, metrics, tag_keys or tag_values")
	}
	if (spec.Kind == ListTagValues) != (spec.Key != "") {
		return Listing{}, fault.Field("key", "does not go with list", "a tag key with list=tag_values, and only there")
	}
	if spec.Key != "" {
		if err := checkText("key", "", spec.Key, TagKeyBytesMax); err != nil {
			return Listing{}, err
		}
	}
	if spec.Limit == 0 {
		spec.Limit = ListingDefault
	}
	if spec.Limit < 1 || spec.Limit > ListingMax {
		return Listing{}, fault.Field("limit", "is "+strconv.Itoa(spec.Limit), "1 to "+strconv.Itoa(ListingMax))
	}
	return Listing{kind: spec.Kind, metric: spec.Metric, matchers: spec.Matchers, key: spec.Key, limit: spec.Limit}, nil
}

// Kind returns what is listed.
func (l Listing) Kind() ListingKind { return l.kind }

// Metric returns the metric asked about; zero for all.
func (l Listing) Metric() Name { return l.metric }

// Matchers returns which series are looked at.
func (l Listing) Matchers() Matchers { return l.matchers }

// Key returns the tag key of ListTagValues, else "".
func (l Listing) Key() string { return l.key }

// Limit returns how many items are asked for.
func (l Listing) Limit() int { return l.limit }

// Merge makes one answer of several, each ascending and complete or cut after Limit+1 items: ascending, each
// item once, and cut in the same way.
func (l Listing) Merge(parts [][]string) []string {
	if len(parts) == 1 {
		return parts[0]
	}
	all := slices.Concat(parts...)
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), l.limit+1)]
}
