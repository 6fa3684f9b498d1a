package catalogue

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/adapters/storage/chunks"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// indexedMin is how many series make an index worth its while; fewer are matched one by one.
	indexedMin = 64
	// staleMin and staleShare bound how many series that came since it was built an index leaves to be
	// matched one by one: so many, or that share of those it has, whichever is more. So building it
	// anew costs each series a bounded amount of work.
	staleMin   = 1024
	staleShare = 8
	// fewShare: where one matcher leaves less than this share, the others look at what is left.
	fewShare = 16
)

// Index finds a metric's series by their tags: for each tag key the distinct values, ascending, and for
// each value the places of its series. It is built when matchers are first asked for, without holding
// up the appender, and may be used concurrently.
type Index struct {
	building sync.Mutex
	built    atomic.Pointer[built]
}

// built is an index of a metric's first series. It is immutable.
type built struct {
	covers int
	keys   []keyIndex // ascending by key
}

// keyIndex is the inverted list of one tag key: the series with values[i] have the places
// places[starts[i]:starts[i+1]], ascending. Values are told by the numbers of their tags.
type keyIndex struct {
	key    string
	tags   chunks.List[metric.CheckedTag]
	values []uint32 // ascending by text
	starts []uint32
	places []uint32
}

// Select returns those of ids, the metric's series as of now, that matchers select, ascending.
func (x *Index) Select(list List, ids []SeriesID, matchers metric.Matchers) []SeriesID {
	var matched []SeriesID
	covered := 0
	if len(ids) >= indexedMin {
		b := x.upToDate(list, ids)
		covered = min(b.covers, len(ids))
		matched = b.selectFrom(list, ids[:covered], matchers)
	}
	var parts Parts
	for _, id := range ids[covered:] {
		if matchers.Match(list.Tags(id, &parts)) {
			matched = append(matched, id)
		}
	}
	return matched
}

// upToDate returns an index of nearly all of ids, or more.
func (x *Index) upToDate(list List, ids []SeriesID) *built {
	fresh := func(b *built) bool { return b != nil && len(ids)-b.covers <= max(staleMin, b.covers/staleShare) }
	if b := x.built.Load(); fresh(b) {
		return b
	}
	x.building.Lock()
	defer x.building.Unlock()
	if b := x.built.Load(); fresh(b) {
		return b
	}
	b := build(list, ids)
	x.built.Store(b)
	return b
}

// keyBuilder numbers the values of one key in the order of their appearance.
type keyBuilder struct {
	values []uint32 // their tags
	counts []uint32
	of     []uint32 // by entry: number of the value
	places []uint32 // by entry, ascending
}

// known is what a builder knows of a tag: whose it is, and the number of its value there.
type known struct {
	builder *keyBuilder
	value   uint32
}

func build(list List, ids []SeriesID) *built {
	content := list.content
	builders := map[string]*keyBuilder{}
	byTag := map[uint32]known{} // so that the texts of a tag are looked at once
	for place, id := range ids {
		for _, tag := range content.set(content.series.At(uint32(id)).set) {
			k, seen := byTag[tag]
			if !seen {
				key := content.tags.At(tag).Tag().Key
				if k.builder = builders[key]; k.builder == nil {
					k.builder = &keyBuilder{}
					builders[key] = k.builder
				}
				k.value = uint32(len(k.builder.values))
				k.builder.values, k.builder.counts = append(k.builder.values, tag), append(k.builder.counts, 0)
				byTag[tag] = k
			}
			k.builder.counts[k.value]++
			k.builder.of, k.builder.places = append(k.builder.of, k.value), append(k.builder.places, uint32(place))
		}
	}
	b := &built{covers: len(ids)}
	for key, k := range builders {
		b.keys = append(b.keys, k.finish(key, content.tags))
	}
	slices.SortFunc(b.keys, func(a, b keyIndex) int { return cmp.Compare(a.key, b.key) })
	return b
}

// finish sorts the values and lays the places out behind each other.
func (k *keyBuilder) finish(key string, tags chunks.List[metric.CheckedTag]) keyIndex {
	order := make([]uint32, len(k.values))
	for i := range order {
		order[i] = uint32(i)
	}
	x := keyIndex{
		key: key, tags: tags,
		values: make([]uint32, len(order)), starts: make([]uint32, len(order)+1), places: make([]uint32, len(k.places)),
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Compare(x.text(k.values[a]), x.text(k.values[b])) })
	next := make([]uint32, len(order)) // by number: where its next place goes
	at := uint32(0)
	for i, n := range order {
		x.values[i], x.starts[i], next[n] = k.values[n], at, at
		at += k.counts[n]
	}
	x.starts[len(order)] = at
	for i, n := range k.of {
		x.places[next[n]] = k.places[i]
		next[n]++
	}
	return x
}

// text returns the value of a tag.
func (x *keyIndex) text(tag uint32) string { return x.tags.At(tag).Tag().Value }

// of returns the places of the series with a value.
func (x *keyIndex) of(value string) []uint32 {
	i, ok := slices.BinarySearchFunc(x.values, value, func(tag uint32, value string) int { return cmp.Compare(x.text(tag), value) })
	if !ok {
		return nil
	}
	return x.at(i)
}

// at returns the places of the series with the i-th value.
func (x *keyIndex) at(i int) []uint32 { return x.places[x.starts[i]:x.starts[i+1]] }

// noKey is the index of a key that no series has.
var noKey = &keyIndex{}

func (b *built) key(key string) *keyIndex {
	i, ok := slices.BinarySearchFunc(b.keys, key, func(x keyIndex, key string) int { return cmp.Compare(x.key, key) })
	if !ok {
		return noKey
	}
	return &b.keys[i]
}

// selectFrom returns those of ids, at most as many as b covers, that matchers select.
func (b *built) selectFrom(list List, ids []SeriesID, matchers metric.Matchers) []SeriesID {
	conditions := matchers.List()
	few, found := b.fewest(conditions)
	if found && len(few) <= len(ids)/fewShare {
		matched := make([]SeriesID, 0, len(few))
		var parts Parts
		for _, place := range few {
			if int(place) < len(ids) && matchers.Match(list.Tags(ids[place], &parts)) {
				matched = append(matched, ids[place])
			}
		}
		return matched
	}
	chosen := newSet(b.covers, true)
	for i, c := range conditions {
		x := b.key(c.Key)
		switch c.Op {
		case metric.MatchAnyOf:
			some := newSet(b.covers, false)
			for _, value := range c.Values {
				some.add(x.of(value))
			}
			chosen.intersect(some)
		case metric.MatchNoneOf:
			for _, value := range c.Values {
				chosen.remove(x.of(value))
			}
		case metric.MatchPattern:
			chosen.intersect(x.matching(b.covers, matchers, i))
		}
	}
	return chosen.pick(ids)
}

// fewest returns the places that the most selective of the conditions with values leaves, ascending, and
// whether there is one.
func (b *built) fewest(conditions []metric.Matcher) (places []uint32, found bool) {
	least := 0
	var best metric.Matcher
	for _, c := range conditions {
		if c.Op != metric.MatchAnyOf {
			continue
		}
		n := 0
		for _, value := range c.Values {
			n += len(b.key(c.Key).of(value))
		}
		if !found || n < least {
			best, least, found = c, n, true
		}
	}
	if len(best.Values) == 1 {
		return b.key(best.Key).of(best.Values[0]), true
	}
	for _, value := range best.Values {
		places = append(places, b.key(best.Key).of(value)...)
	}
	slices.Sort(places)
	return places, found
}

// matching returns the places that the i-th of matchers, a pattern, selects; it looks at each value once.
func (x *keyIndex) matching(covers int, matchers metric.Matchers, i int) set {
	unset := matchers.MatchValue(i, "", false)
	s := newSet(covers, unset)
	for n, tag := range x.values {
		switch matches := matchers.MatchValue(i, x.text(tag), true); {
		case matches && !unset:
			s.add(x.at(n))
		case !matches && unset:
			s.remove(x.at(n))
		}
	}
	return s
}
