package metric

import (
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Series is one metric name with one set of tags. It is a small handle to shared immutable data:
// copy it freely. Two handles of the same series are equal by Key; they are == only when they come
// from the same NewSeries call (which an interning cache makes the usual case).
// The zero Series is not valid.
type Series struct{ data *seriesData }

type seriesData struct {
	note     uint64 // first, so that it is aligned on every machine
	name     Name
	tags     Tags
	key      string
	nameHash uint64
	keyHash  uint64
}

// NewSeries builds a series; its canonical key must not exceed SeriesKeyBytesMax.
func NewSeries(name Name, tags Tags) (Series, error) {
	if name.IsZero() {
		return Series{}, fault.Field("metric_name", "is empty", "a metric name")
	}
	s := JoinSeries(name, tags)
	if n := len(s.data.key); n > SeriesKeyBytesMax {
		return Series{}, fault.Field("tags", "make a series key of "+strconv.Itoa(n)+" bytes",
			"at most "+strconv.Itoa(SeriesKeyBytesMax)+" with the metric name")
	}
	return s, nil
}

// JoinSeries puts a series together again of name and tags that were one's: it checks nothing. It keeps both, so
// tags must not change any more (see JoinTags).
func JoinSeries(name Name, tags Tags) Series {
	key := canonicalKey(name, tags)
	return Series{data: &seriesData{
		name: name, tags: tags, key: key, nameHash: hashText(name.text), keyHash: hashText(key),
	}}
}

// Name returns the metric's name.
func (s Series) Name() Name { return s.data.name }

// Tags returns the tags.
func (s Series) Tags() Tags { return s.data.tags }

// Key returns the canonical text: the name alone, or name{key="value",…} with keys in order.
// In names and keys the characters \ { } = , " are escaped by a backslash, in values \ and ".
// Different series have different keys, and ParseSeriesKey is its inverse.
func (s Series) Key() string { return s.data.key }

// NameHash returns a hash of the name that is the same on every machine and version.
func (s Series) NameHash() uint64 { return s.data.nameHash }

// KeyHash returns a hash of the key that is the same on every machine and version.
func (s Series) KeyHash() uint64 { return s.data.keyHash }

// Note returns the place of a number, at first 0, that this handle and its copies carry. It is no part of
// the series: it lets whoever meets the same handle again and again remember what it looked up. There is one,
// for one user, who must be able to tell that it is out of date, and must read and write it atomically.
func (s Series) Note() *uint64 { return &s.data.note }

// IsZero reports whether s was never built.
func (s Series) IsZero() bool { return s.data == nil }

// Hash returns the hash of a name as NameHash does.
func (n Name) Hash() uint64 { return hashText(n.text) }

// ParseSeriesKey rebuilds a series from its canonical key. It accepts exactly what Key returns. The
// series shares key's memory, so that one of very many costs little more than its key.
func ParseSeriesKey(key string) (Series, error) {
	p := keyParser{rest: key}
	name, err := NewName(p.text('{'))
	if err != nil {
		return Series{}, err
	}
	var tags []Tag
	if p.take('{') {
		for {
			k := p.text('=')
			if !p.take('=') || !p.take('"') {
				return Series{}, errSeriesKey(key)
			}
			v := p.text('"')
			if !p.take('"') {
				return Series{}, errSeriesKey(key)
			}
			tags = append(tags, Tag{Key: k, Value: v})
			if !p.take(',') {
				break
			}
		}
		if !p.take('}') {
			return Series{}, errSeriesKey(key)
		}
	}
	set, err := NewTags(tags)
	if err != nil {
		return Series{}, err
	}
	s, err := NewSeries(name, set)
	if err != nil {
		return Series{}, err
	}
	if p.rest != "" || s.Key() != key {
		return Series{}, errSeriesKey(key)
	}
	s.data.key = key
	return s, nil
}

func errSeriesKey(key string) error {
	return fault.Newf(fault.Invalid, "invalid_series_key", "series key %q is not canonical; expected name{key=\"value\",…}", key)
}

type keyParser struct{ rest string }

// text consumes up to an unescaped end character or the end of the input.
func (p *keyParser) text(end byte) string {
	i := strings.IndexByte(p.rest, end)
	if i < 0 {
		i = len(p.rest)
	}
	if text := p.rest[:i]; strings.IndexByte(text, '\\') < 0 {
		p.rest = p.rest[i:]
		return text
	}
	return p.unescape(end)
}

// unescape is text for what holds backslashes.
func (p *keyParser) unescape(end byte) string {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == end {
			p.rest = p.rest[i:]
			return b.String()
		}
		if c == '\\' && i+1 < len(p.rest) {
			i++
			c = p.rest[i]
		}
		b.WriteByte(c)
	}
	p.rest = ""
	return b.String()
}

func (p *keyParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// hashText is FNV-1a (Fowler, Noll, Vo) with the 64-bit finalizer of MurmurHash3 behind it, which
// spreads its weak high bits. It decides placement, so it never changes: version 1 of the shard map.
func hashText(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
