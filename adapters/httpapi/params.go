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

// tagPrefix begins the parameters that filter by a tag.
const tagPrefix = "tag."

// params are a request's query parameters, each known and given once.
type params struct {
	values map[string]string
	tags   []metric.Tag // of the parameters tag.<key>, in no order
}

// parseParams reads the query string and refuses parameters that are not known; tag.<key> is known if
// tagPrefix is.
func parseParams(r *http.Request, known ...string) (params, error) {
	if r.URL.RawQuery == "" {
		return params{}, nil
	}
	p := params{values: map[string]string{}}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return p, fault.New(fault.Invalid, "invalid_query_string",
			"the query string is malformed; expected name=value joined by &, with other characters as %XX").WithCause(err)
	}
	var unknown []string
	for name, given := range values {
		switch key, isTag := strings.CutPrefix(name, tagPrefix); {
		case isTag && slices.Contains(known, tagPrefix):
			for _, value := range given {
				p.tags = append(p.tags, metric.Tag{Key: key, Value: value})
			}
		case !slices.Contains(known, name):
			unknown = append(unknown, name)
		case len(given) > 1:
			return p, fault.Field(name, "is given "+strconv.Itoa(len(given))+" times", "it once")
		default:
			p.values[name] = given[0]
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return p, unknownParams(unknown, known)
	}
	return p, nil
}

func unknownParams(unknown, known []string) error {
	expected := "none"
	if len(known) > 0 {
		expected = strings.ReplaceAll(strings.Join(known, ", "), tagPrefix, tagPrefix+"<key>")
	}
	return fault.Newf(fault.Invalid, "unknown_parameter", "unknown query parameter %s; expected %s",
		strings.Join(unknown, ", "), expected).WithDetail("parameters", unknown)
}

// matchers returns the selection that the tag parameters make.
func (p params) matchers() (metric.Matchers, error) { return metric.NewMatchers(p.tags) }

// requirement returns how up to date the answer must be. A freshness implies level none.
func (p params) requirement() (consistency.Requirement, error) {
	level, leveled := p.values["level"]
	freshness, bounded := p.values["freshness"]
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
	text, given := p.values["timeout"]
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
	text, given := p.values[name]
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
