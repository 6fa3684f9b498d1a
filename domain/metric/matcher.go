package metric

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// MatcherOp says how a Matcher compares a tag's value.
type MatcherOp uint8

// The comparisons. The numbers travel between nodes.
const (
	// MatchAnyOf: the tag is set to one of Values.
	MatchAnyOf MatcherOp = 1
	// MatchNoneOf: the tag is not set, or to none of Values.
	MatchNoneOf MatcherOp = 2
	// MatchPattern: the whole value matches the RE2 pattern Values[0]; a tag that is not set counts
	// as the empty text.
	MatchPattern MatcherOp = 3
)

const (
	// MatchersMax bounds the matchers of one selection.
	MatchersMax = 64
	// MatcherValuesMax bounds the values of one matcher.
	MatcherValuesMax = 1000
	// PatternBytesMax bounds a pattern, in bytes.
	PatternBytesMax = 1000
)

// prefixes are how the matchers' fields are called by clients.
var matcherPrefixes = map[MatcherOp]string{MatchAnyOf: "tag.", MatchNoneOf: "not.", MatchPattern: "match."}

// Matcher is one condition on the tag Key.
type Matcher struct {
	Key    string
	Op     MatcherOp
	Values []string // MatchPattern: exactly one, the pattern
}

// Matchers selects series of a metric by their tags: every matcher must hold. The zero Matchers
// selects all.
type Matchers struct{ list []compiled }

type compiled struct {
	Matcher
	pattern *regexp.Regexp // of MatchPattern
}

// NewMatchers builds a selection of the series whose tag Key equals Value, for each of equal.
// A key may be given once.
func NewMatchers(equal []Tag) (Matchers, error) {
	list := make([]Matcher, 0, len(equal))
	for _, t := range equal {
		list = append(list, Matcher{Key: t.Key, Op: MatchAnyOf, Values: []string{t.Value}})
	}
	return NewSelection(list)
}

// NewSelection builds a selection by list, which it copies. A key may stand once with each comparison.
func NewSelection(list []Matcher) (Matchers, error) {
	if len(list) > MatchersMax {
		return Matchers{}, fault.Field("tags", "are matched by "+strconv.Itoa(len(list))+" conditions", "at most "+strconv.Itoa(MatchersMax))
	}
	m := Matchers{}
	for _, one := range list {
		c, err := compile(one)
		if err != nil {
			return Matchers{}, err
		}
		m.list = append(m.list, c)
	}
	slices.SortFunc(m.list, func(a, b compiled) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Op, b.Op)) })
	for i := 1; i < len(m.list); i++ {
		if m.list[i].Key == m.list[i-1].Key && m.list[i].Op == m.list[i-1].Op {
			return Matchers{}, fault.Field(matcherPrefixes[m.list[i].Op]+m.list[i].Key, "is given twice", "each key once")
		}
	}
	return m, nil
}

func compile(m Matcher) (compiled, error) {
	prefix, known := matcherPrefixes[m.Op]
	if !known {
		return compiled{}, fault.Field("tags", "are matched by the unknown comparison "+strconv.Itoa(int(m.Op)), "a comparison that this release knows")
	}
	if err := checkText(prefix, m.Key, m.Key, TagKeyBytesMax); err != nil {
		return compiled{}, err
	}
	if m.Op == MatchPattern {
		return compilePattern(prefix, m)
	}
	if len(m.Values) == 0 || len(m.Values) > MatcherValuesMax {
		return compiled{}, fault.Field(prefix+m.Key, "has "+strconv.Itoa(len(m.Values))+" values", "1 to "+strconv.Itoa(MatcherValuesMax))
	}
	for _, v := range m.Values {
		if err := checkText(prefix, m.Key, v, SeriesKeyBytesMax); err != nil {
			return compiled{}, err
		}
	}
	m.Values = slices.Compact(slices.Sorted(slices.Values(m.Values)))
	return compiled{Matcher: m}, nil
}

func compilePattern(prefix string, m Matcher) (compiled, error) {
	if len(m.Values) != 1 || len(m.Values[0]) > PatternBytesMax {
		return compiled{}, fault.Field(prefix+m.Key, "is not one pattern", "one RE2 pattern of at most "+strconv.Itoa(PatternBytesMax)+" bytes")
	}
	pattern, err := regexp.Compile(`\A(?:` + m.Values[0] + `)\z`)
	if err != nil {
		return compiled{}, fault.Field(prefix+m.Key, "is no RE2 pattern", "a pattern such as web-.*").WithCause(err)
	}
	m.Values = slices.Clone(m.Values)
	return compiled{Matcher: m, pattern: pattern}, nil
}

// Match reports whether tags satisfy every matcher.
func (m Matchers) Match(tags Tags) bool {
	for i := range m.list {
		value, set := tags.Get(m.list[i].Key)
		if !m.list[i].match(value, set) {
			return false
		}
	}
	return true
}

// MatchValue reports whether the i-th matcher of List holds for a tag with this value; value is empty
// where the tag is not set.
func (m Matchers) MatchValue(i int, value string, set bool) bool { return m.list[i].match(value, set) }

func (c *compiled) match(value string, set bool) bool {
	switch c.Op {
	case MatchAnyOf:
		return set && c.holds(value)
	case MatchNoneOf:
		return !set || !c.holds(value)
	case MatchPattern:
		return c.pattern.MatchString(value)
	}
	return false
}

func (c *compiled) holds(value string) bool {
	if len(c.Values) == 1 {
		return c.Values[0] == value
	}
	_, found := slices.BinarySearch(c.Values, value)
	return found
}

// IsZero reports whether m selects every series.
func (m Matchers) IsZero() bool { return len(m.list) == 0 }

// Len returns the number of matchers.
func (m Matchers) Len() int { return len(m.list) }

// List returns a copy of the matchers, sorted by key, then comparison; their values are sorted and
// must not be changed.
func (m Matchers) List() []Matcher {
	list := make([]Matcher, len(m.list))
	for i := range m.list {
		list[i] = m.list[i].Matcher
	}
	return list
}
