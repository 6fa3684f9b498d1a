package samplejson

import (
	"github.com/raftmetrics/raftmetrics/adapters/httpapi/excerpt"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// member is a member of a sample, as a bit.
type member uint8

const (
	memberName member = 1 << iota
	memberValue
	memberTimestamp
	memberTags
)

// fields collects one sample while its members are read.
type fields struct {
	seen    member
	name    []byte // as written, without quotes
	escaped bool   // the name holds escapes
	tags    []byte // as written, with braces; nil when not given
	tagsPos int    // where tags begin
	value   float64
	at      metric.Timestamp
	timed   bool
	problem error // the first thing wrong with the sample
}

func (f *fields) bad(field, problem, expected string) {
	if f.problem == nil {
		f.problem = fault.Field(field, problem, expected)
	}
}

// sample reads the sample at whose opening brace the scanner stands and appends its observation. A
// problem is about this sample alone, and the scanner stands behind it; after err the text makes no sense.
func (d *Decoder) sample() (problem, err error) {
	s := &d.scan
	var f fields
	s.pos++
	for ended := false; !ended; {
		s.skipSpace()
		if s.peek() == '}' { // no members, or the comma behind the last that the documentation shows
			s.pos++
			break
		}
		if s.peek() != '"' {
			return nil, s.syntax("expected a member's name in quotes, or '}'")
		}
		if err := d.readMember(&f); err != nil {
			return nil, err
		}
		s.skipSpace()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			ended = true
		default:
			return nil, s.syntax("expected ',' or '}' after a member")
		}
	}
	if f.problem != nil {
		return f.problem, nil
	}
	return d.finish(&f)
}

// readMember reads one member's name and value.
func (d *Decoder) readMember(f *fields) error {
	s := &d.scan
	m, name, err := d.memberName()
	if err != nil {
		return err
	}
	if err := s.colon(); err != nil {
		return err
	}
	if f.seen&m != 0 {
		f.bad(name, "is given twice", "each member once")
		return s.skipValue(0)
	}
	f.seen |= m
	switch m {
	case memberName:
		return s.readName(f)
	case memberValue:
		return s.readValue(f)
	case memberTimestamp:
		return d.readTimestamp(f)
	case memberTags:
		return s.readTags(f)
	}
	f.bad(name, "is an unknown member", "only metric_name, value, timestamp and tags")
	return s.skipValue(0)
}

// memberName reads which member comes; 0 and its text for one that samples do not have.
func (d *Decoder) memberName() (member, string, error) {
	raw, escaped, err := d.scan.text()
	if err != nil {
		return 0, "", err
	}
	if escaped {
		var ok bool
		if d.unescaped, ok = unescape(d.unescaped[:0], raw); !ok {
			return 0, excerpt.Of(raw), nil
		}
		raw = d.unescaped
	}
	switch string(raw) {
	case "metric_name":
		return memberName, "metric_name", nil
	case "value":
		return memberValue, "value", nil
	case "timestamp":
		return memberTimestamp, "timestamp", nil
	case "tags":
		return memberTags, "tags", nil
	}
	return 0, excerpt.Of(raw), nil
}

func (s *scanner) readName(f *fields) error {
	if s.peek() != '"' {
		f.bad("metric_name", "is "+s.kind(), "a string")
		return s.skipValue(0)
	}
	var err error
	f.name, f.escaped, err = s.text()
	return err
}

func (s *scanner) readValue(f *fields) error {
	if c := s.peek(); c != '-' && !isDigit(c) {
		f.bad("value", "is "+s.kind(), "a finite number")
		return s.skipValue(0)
	}
	value, finite, err := s.number()
	if err == nil && !finite {
		f.bad("value", "is out of range", "a finite number of 64 bits")
	}
	f.value = value
	return err
}

func (d *Decoder) readTimestamp(f *fields) error {
	s := &d.scan
	if s.takeNull() {
		return nil
	}
	if s.peek() != '"' {
		f.bad("timestamp", "is "+s.kind(), "a string such as \"2024-08-01T12:00:00Z\"")
		return s.skipValue(0)
	}
	raw, escaped, err := s.text()
	if err != nil {
		return err
	}
	f.timed = true
	var ok bool
	if f.at, ok = timestampOf(raw); ok {
		return nil
	}
	if escaped {
		if d.unescaped, ok = unescape(d.unescaped[:0], raw); !ok {
			f.bad("timestamp", "holds a bad escape", "a valid JSON string")
			return nil
		}
		raw = d.unescaped
	}
	at, err := metric.ParseTimestamp("timestamp", string(raw))
	if err != nil && f.problem == nil {
		f.problem = err
	}
	f.at = at
	return nil
}

func (s *scanner) readTags(f *fields) error {
	if s.takeNull() {
		return nil
	}
	if s.peek() != '{' {
		f.bad("tags", "is "+s.kind(), "an object of strings")
		return s.skipValue(0)
	}
	f.tagsPos = s.pos
	raw, flat, err := s.flatObject()
	if err != nil {
		return err
	}
	if !flat {
		f.bad("tags", "holds an object or an array", "an object of strings")
		return s.skipValue(0)
	}
	f.tags = raw
	return nil
}

// finish builds the observation from what was read.
func (d *Decoder) finish(f *fields) (problem, err error) {
	switch {
	case f.seen&memberName == 0:
		return fault.Field("metric_name", "is missing", "a string of 1 to 255 bytes"), nil
	case f.seen&memberValue == 0:
		return fault.Field("value", "is missing", "a finite number"), nil
	}
	// Quotes cannot stand unescaped in the name, so name, quote and tags spell one series only.
	d.spelling = append(append(append(d.spelling[:0], f.name...), '"'), f.tags...)
	series, ok := d.cache.Get(d.spelling)
	if !ok {
		if series, problem, err = d.series(f); problem != nil || err != nil {
			return problem, err
		}
		d.cache.Put(d.spelling, series)
	}
	var o metric.Observation
	if f.timed {
		o, problem = metric.NewObservationAt(series, f.at, f.value)
	} else {
		o, problem = metric.NewObservation(series, f.value)
	}
	if problem == nil {
		d.observations = append(d.observations, o)
	}
	return problem, nil
}

// series parses and checks a name and tags that the cache does not know.
func (d *Decoder) series(f *fields) (series metric.Series, problem, err error) {
	text := string(f.name)
	if f.escaped {
		var ok bool
		if d.unescaped, ok = unescape(d.unescaped[:0], f.name); !ok {
			return series, fault.Field("metric_name", "holds a bad escape", "a valid JSON string"), nil
		}
		text = string(d.unescaped)
	}
	name, problem := metric.NewName(text)
	if problem != nil {
		return series, problem, nil
	}
	list, problem, err := d.tags(f)
	if problem != nil || err != nil {
		return series, problem, err
	}
	tags, problem := metric.NewTags(list)
	if problem != nil {
		return series, problem, nil
	}
	series, problem = metric.NewSeries(name, tags)
	return series, problem, nil
}

// tags parses a flat object of strings.
func (d *Decoder) tags(f *fields) (list []metric.Tag, problem, err error) {
	if f.tags == nil {
		return nil, nil, nil
	}
	// Its own scanner over the whole text makes errors name the right line.
	s := scanner{data: d.scan.data[:f.tagsPos+len(f.tags)], pos: f.tagsPos + 1, line: d.scan.line}
	s.skipSpace()
	if s.peek() == '}' {
		return nil, nil, nil
	}
	for {
		key, problem, err := d.tagText(&s, "tags key")
		if problem != nil || err != nil {
			return nil, problem, err
		}
		if err := s.colon(); err != nil {
			return nil, nil, err
		}
		value, problem, err := d.tagText(&s, "tags."+excerpt.Of([]byte(key)))
		if problem != nil || err != nil {
			return nil, problem, err
		}
		list = append(list, metric.Tag{Key: key, Value: value})
		s.skipSpace()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			return list, nil, nil
		default:
			return nil, nil, s.syntax("expected ',' or '}' after a tag")
		}
	}
}

// tagText reads a key or a value; field names it in the problem.
func (d *Decoder) tagText(s *scanner, field string) (text string, problem, err error) {
	s.skipSpace()
	if s.peek() != '"' {
		if field == "tags key" {
			return "", nil, s.syntax("expected a tag's key in quotes")
		}
		return "", fault.Field(field, "is "+s.kind(), "a string"), nil
	}
	raw, escaped, err := s.text()
	if err != nil || !escaped {
		return string(raw), nil, err
	}
	var ok bool
	if d.unescaped, ok = unescape(d.unescaped[:0], raw); !ok {
		return "", fault.Field(field, "holds a bad escape", "a valid JSON string"), nil
	}
	return string(d.unescaped), nil, nil
}

// kind says what sort of value comes next, for messages.
func (s *scanner) kind() string {
	switch c := s.peek(); {
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '-' || isDigit(c):
		return "a number"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	}
	return "no JSON value"
}
