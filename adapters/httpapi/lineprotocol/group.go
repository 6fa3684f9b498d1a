package lineprotocol

import (
	"bytes"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/seriescache"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const (
	// groupFieldsMax bounds the fields that a group remembers; those beyond are made anew each time.
	groupFieldsMax = 1024
	// groupIndexMin is from how many fields on a group has an index.
	groupIndexMin = 16
	// fieldOverheadBytes is roughly what one field of a group costs beside its texts.
	fieldOverheadBytes = 128
	// valueField is the field whose samples belong to the metric that the measurement names.
	valueField = "value"
)

// Cache remembers the groups of what "measurement,tags" clients send.
type Cache = seriescache.Of[*group]

// NewCache returns an empty cache.
func NewCache(config seriescache.Config) (*Cache, error) {
	return seriescache.NewOf(config, func(g *group) int { return g.bytes })
}

// group is the series that share "measurement,tags", by field. It is never changed once it is in the cache.
type group struct {
	prefix      string // as written
	measurement string
	tags        metric.Tags
	fields      []field
	index       map[string]int // place in fields by key; nil while these are few
	bytes       int
}

// field is one field and the series that its samples belong to.
type field struct {
	key    string // as written, with the = behind it, which no key holds unescaped
	series metric.Series
}

// newGroup parses and checks prefix, the text before the fields.
func newGroup(prefix []byte) (*group, error) {
	end := delimiter(prefix, ',')
	g := &group{prefix: string(prefix), measurement: unescaped(prefix[:end], ", ")}
	if g.measurement == "" {
		return nil, fault.Field("measurement", "is empty", "measurement[,tag=value…] field=value[,field=value…] [timestamp]")
	}
	var tags []metric.Tag
	for end < len(prefix) {
		rest := prefix[end+1:]
		length := delimiter(rest, ',')
		equals := delimiter(rest[:length], '=')
		if equals == length {
			return nil, fault.Field("tag "+shown(rest[:length]), "has no value", "key=value, with commas, spaces and = in either written \\, \\  and \\=")
		}
		key, value := unescaped(rest[:equals], tagEscaped), rest[equals+1:length]
		if delimiter(value, '=') < len(value) {
			return nil, fault.Field("tags."+shown([]byte(key)), "holds an unescaped =", "= in a value written \\=")
		}
		tags = append(tags, metric.Tag{Key: key, Value: unescaped(value, tagEscaped)})
		end += 1 + length
	}
	var err error
	if g.tags, err = metric.NewTags(tags); err != nil {
		return nil, err
	}
	g.bytes = 4 * len(prefix)
	return g, nil
}

// find returns the series of the field at whose written key, up to and with the =, it looks; guess is
// where in fields it may be.
func (g *group) find(key []byte, guess int) (at int, found bool) {
	if g.index != nil {
		at, found = g.index[string(key)]
		return at, found
	}
	for n := range g.fields {
		if at = guess + n; at >= len(g.fields) {
			at -= len(g.fields)
		}
		if g.fields[at].key == string(key) {
			return at, true
		}
	}
	return 0, false
}

// metricName returns the text of the metric that a field's samples belong to.
func (g *group) metricName(key []byte) string {
	name := unescaped(key, tagEscaped)
	if name == valueField {
		return g.measurement
	}
	return g.measurement + "_" + name
}

// newField makes a field; key is as written, up to and with its =.
func (g *group) newField(key []byte) (field, error) {
	name, err := metric.NewName(g.metricName(key[:len(key)-1]))
	if err != nil {
		return field{}, err
	}
	series, err := metric.NewSeries(name, g.tags)
	return field{key: string(key), series: series}, err
}

// with returns a group that has fields more.
func (g *group) with(more []field) *group {
	more = more[:min(len(more), groupFieldsMax-len(g.fields))]
	if len(more) == 0 {
		return g
	}
	grown := *g
	grown.fields = make([]field, 0, len(g.fields)+len(more))
	grown.fields = append(append(grown.fields, g.fields...), more...)
	for i := range more {
		grown.bytes += fieldOverheadBytes + 2*len(more[i].key) + len(more[i].series.Key())
	}
	if len(grown.fields) >= groupIndexMin {
		grown.index = make(map[string]int, len(grown.fields))
		for i := range grown.fields {
			grown.index[grown.fields[i].key] = i
		}
	}
	return &grown
}

// tagEscaped are the characters that a backslash escapes in tags and the keys of fields.
const tagEscaped = ", ="

// delimiter returns where an unescaped end stands in text, or the length of text.
func delimiter(text []byte, end byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && strings.IndexByte(tagEscaped, text[i+1]) >= 0 {
			i++
		} else if text[i] == end {
			return i
		}
	}
	return len(text)
}

// unescaped returns text without the backslashes that escape one of escaped; others stand for themselves.
func unescaped(text []byte, escaped string) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text)
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && strings.IndexByte(escaped, text[i+1]) >= 0 {
			i++
		}
		b = append(b, text[i])
	}
	return string(b)
}
