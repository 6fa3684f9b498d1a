package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// tagPrefix begins the parameters that select series by a tag's values. Where it is known so are notPrefix
// and matchPrefix.
const (
	tagPrefix   = "tag."
	notPrefix   = "not."
	matchPrefix = "match."
)

// repeatable marks the end of a known parameter's name that may be given more than once.
const repeatable = "*"

// params are a request's query parameters, each known and, but for repeatable ones, given once. They are
// few, so looking through them takes less than hashing.
type params struct {
	given []param
	tags  []metric.Matcher // of tag.<key> and the like
}

type param struct{ name, value string }

// get returns a parameter's value, the first of a repeatable one, and whether it is given.
func (p params) get(name string) (string, bool) {
	for i := range p.given {
		if p.given[i].name == name {
			return p.given[i].value, true
		}
	}
	return "", false
}

// all returns the values of a repeatable parameter in their order.
func (p params) all(name string) (values []string) {
	for i := range p.given {
		if p.given[i].name == name {
			values = append(values, p.given[i].value)
		}
	}
	return values
}

// parseParams reads the query string and refuses parameters that are not known; those that select by tags
// are known if tagPrefix is.
func parseParams(r *http.Request, known ...string) (params, error) {
	rest := r.URL.RawQuery
	if rest == "" {
		return params{}, nil
	}
	p := params{given: make([]param, 0, 4)}
	var unknown []string
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		one, err := parseParam(pair)
		if err != nil {
			return p, err
		}
		op, key := matcherOf(one.name)
		_, before := p.get(one.name)
		switch {
		case op != 0 && slices.Contains(known, tagPrefix):
			p.tags = addTag(p.tags, op, key, one.value)
		case !isKnown(known, one.name):
			if !slices.Contains(unknown, one.name) && len(unknown) < unknownMax {
				unknown = append(unknown, one.name)
			}
		case before && !slices.Contains(known, one.name+repeatable):
			return p, fault.Field(one.name, "is given more than once", "it once")
		case len(p.given) >= paramsMax:
			return p, fault.Field(one.name, "is one parameter too many", "at most "+strconv.Itoa(paramsMax))
		default:
			p.given = append(p.given, one)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return p, unknownParams(unknown, known)
	}
	return p, nil
}

const (
	// paramsMax bounds the parameters of a request besides those that select by tags.
	paramsMax = 64
	// unknownMax bounds how many unknown parameters an error names.
	unknownMax = 10
)

func isKnown(known []string, name string) bool {
	for _, k := range known {
		if strings.TrimSuffix(k, repeatable) == name && k != tagPrefix {
			return true
		}
	}
	return false
}

// parseParam reads name=value.
func parseParam(pair string) (p param, err error) {
	if strings.IndexByte(pair, ';') >= 0 {
		return p, errQueryString
	}
	p.name, p.value, _ = strings.Cut(pair, "=")
	if strings.ContainsAny(pair, "%+") {
		if p.name, err = url.QueryUnescape(p.name); err == nil {
			p.value, err = url.QueryUnescape(p.value)
		}
		if err != nil {
			return p, errQueryString.WithCause(err)
		}
	}
	return p, nil
}

var errQueryString = fault.New(fault.Invalid, "invalid_query_string",
	"the query string is malformed; expected name=value joined by &, with other characters as %XX")

// matcherOf returns how a parameter selects by the tag key; 0 where it is another parameter.
func matcherOf(name string) (op metric.MatcherOp, key string) {
	if key, is := strings.CutPrefix(name, tagPrefix); is {
		return metric.MatchAnyOf, key
	}
	if key, is := strings.CutPrefix(name, notPrefix); is {
		return metric.MatchNoneOf, key
	}
	if key, is := strings.CutPrefix(name, matchPrefix); is {
		return metric.MatchPattern, key
	}
	return 0, ""
}

// addTag adds a value to the matcher of op and key. One matcher beyond the limit is enough to be refused.
func addTag(tags []metric.Matcher, op metric.MatcherOp, key, value string) []metric.Matcher {
	for i := range tags {
		if m := &tags[i]; m.Op == op && m.Key == key {
			m.Values = append(m.Values, value)
			return tags
		}
	}
	if len(tags) <= metric.MatchersMax {
		tags = append(tags, metric.Matcher{Key: key, Op: op, Values: []string{value}})
	}
	return tags
}

func unknownParams(unknown, known []string) error {
	expected := "none"
	if len(known) > 0 {
		expected = strings.ReplaceAll(strings.Join(known, ", "), repeatable, "")
		expected = strings.ReplaceAll(expected, tagPrefix, tagPrefix+"<key>, "+notPrefix+"<key>, "+matchPrefix+"<key>")
	}
	return fault.Newf(fault.Invalid, "unknown_parameter", "unknown query parameter %s; expected %s",
		strings.Join(unknown, ", "), expected).WithDetail("parameters", unknown)
}

// matchers returns the selection that the tag parameters make.
func (p params) matchers() (metric.Matchers, error) { return metric.NewSelection(p.tags) }

// requirement returns how up to date the answer must be. A freshness implies level none.
func (p params) requirement() (consistency.Requirement, error) {
	level, leveled := p.get("level")
	freshness, bounded := p.get("freshness")
	switch {
	case leveled && level != consistency.Linearizable.String() && level != consistency.None.String():
		return consistency.Requirement{}, fault.Field("level", "is "+strconv.Quote(level), "linearizable or none")
	case bounded && level == consistency.Linearizable.String():
		return consistency.Requirement{}, fault.Field("freshness", "is given with level=linearizable, which is always up to date", "it without level, or with level=none")
	case bounded:
		freshnessMax, err := time.ParseDuration(freshness)
		if err != nil {
			return consistency.Requirement{}, fault.Field("freshness", "is "+strconv.Quote(freshness), "a positive duration, such as 5s")
		}
		return consistency.FreshWithin(freshnessMax)
	case level == consistency.None.String():
		return consistency.Of(consistency.None), nil
	}
	return consistency.Of(consistency.Linearizable), nil
}

// timeout returns how long the client would wait, 0 when it does not say.
func (p params) timeout() (time.Duration, error) {
	text, given := p.get("timeout")
	if !given {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fault.Field("timeout", "is "+strconv.Quote(text), "a duration above zero such as 500ms or 2s")
	}
	return d, nil
}

// timestamp returns the time that parameter name gives, nil when it is absent.
func (p params) timestamp(name string) (*metric.Timestamp, error) {
	text, given := p.get(name)
	if !given {
		return nil, nil //nolint:nilnil // an open end is no error
	}
	// A + that the client did not escape arrives as a space; nowhere else does an offset hold one.
	if i := len(text) - len("+00:00"); i > 0 && text[i] == ' ' {
		text = text[:i] + "+" + text[i+1:]
	}
	at, err := metric.ParseTimestamp(name, text)
	if err != nil {
		return nil, err
	}
	return &at, nil
}

// whole returns the whole number from 1 to most that parameter name gives, 0 when it is absent.
func (p params) whole(name string, most int) (int, error) {
	text, given := p.get(name)
	if !given {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fault.Field(name, "is "+strconv.Quote(text), "a whole number from 1 to "+strconv.Itoa(most))
	}
	return n, nil
}
