package lineprotocol

import (
	"bytes"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const lineForm = "measurement[,tag=value…] field=value[,field=value…] [timestamp]"

// point is what one line holds. Its slices are used again for the next line.
type point struct {
	values     []fieldValue
	strings    []string // metrics of string fields that were left out
	at         metric.Timestamp
	timed      bool
	innerLines int // line ends inside strings

	created []field // series that the line's group does not know yet

	// What most lines find without asking the shared cache.
	last       *group            // of the line before
	lastFrom   int               // place in last of its first field
	lastBehind int               // place in last behind its last field
	near       [nearSlots]*group // groups of earlier lines, by hash
}

const (
	// nearSlots is how many groups a decoder holds for itself.
	nearSlots = 2048
	// nearBytesMax bounds such a group, so that decoders stay small.
	nearBytesMax = 8 << 10
)

// fieldValue is one number of a line.
type fieldValue struct {
	series metric.Series
	value  float64
}

// forget lets go of what the last line held.
func (p *point) forget() {
	clear(p.values)
	clear(p.created)
	clear(p.strings)
	p.values, p.created, p.strings, p.last = p.values[:0], p.created[:0], p.strings[:0], nil
}

// read reads the line that begins at from and returns where it stopped: at the line's end (the \n, or
// the end of text), or where the problem is.
func (p *point) read(cache *Cache, text []byte, from int, options Options) (end int, problem error) {
	p.values, p.created, p.strings = p.values[:0], p.created[:0], p.strings[:0]
	p.timed, p.innerLines = false, 0
	i := skipBlanks(text, from)
	switch {
	case i == len(text) || text[i] == '\n':
		return i, nil
	case text[i] == '\r':
		return lineEnd(text, i)
	case text[i] == '#':
		if length := bytes.IndexByte(text[i:], '\n'); length >= 0 {
			return i + length, nil
		}
		return len(text), nil
	}
	prefix, problem := prefixOf(text[i:])
	if problem != nil {
		return i, problem
	}
	g, problem := p.group(cache, prefix)
	if problem != nil {
		return i, problem
	}
	if i, problem = p.fields(cache, g, text, skipBlanks(text, i+len(prefix)), options); problem != nil {
		return i, problem
	}
	if len(p.created) > 0 {
		p.hold(cache.Hash(prefix), p.last.with(p.created))
		cache.Replace(prefix, p.last)
	}
	if i = skipBlanks(text, i); i < len(text) && text[i] != '\n' && text[i] != '\r' {
		if i, problem = p.timestamp(text, i, options.Precision); problem != nil {
			return i, problem
		}
		i = skipBlanks(text, i)
	}
	return lineEnd(text, i)
}

// prefixWindowBytes is where a space is looked for first: text that has none must not be read to its end
// for every line.
const prefixWindowBytes = 512

// prefixOf returns the text up to the first space that is not escaped.
func prefixOf(text []byte) ([]byte, error) {
	end := -1
	for window := prefixWindowBytes; ; window *= 2 {
		part := text[:min(window, len(text))]
		for {
			length := bytes.IndexByte(part[end+1:], ' ')
			if length < 0 {
				break
			}
			// No backslash is itself escaped, so one before a space always escapes that.
			if end += 1 + length; end == 0 || text[end-1] != '\\' {
				return text[:end], nil
			}
		}
		if len(part) == len(text) || bytes.IndexByte(part, '\n') >= 0 {
			return nil, fault.Field("line", "holds no fields", lineForm)
		}
	}
}

// group returns the group of a prefix, and sets lastBehind to where its fields may go on.
func (p *point) group(cache *Cache, prefix []byte) (*group, error) {
	if p.last != nil && p.last.prefix == string(prefix) {
		return p.last, nil
	}
	p.lastBehind = p.lastFrom
	hash := cache.Hash(prefix)
	near := &p.near[hash%nearSlots]
	if *near != nil && (*near).prefix == string(prefix) {
		p.last = *near
		return p.last, nil
	}
	g, known := cache.GetHashed(hash, prefix)
	if !known {
		if bytes.IndexByte(prefix, '\n') >= 0 {
			return nil, fault.Field("line", "holds no fields", lineForm)
		}
		var err error
		if g, err = newGroup(prefix); err != nil {
			return nil, err
		}
	}
	p.hold(hash, g)
	return g, nil
}

// hold keeps the group of the line at hand for the next ones.
func (p *point) hold(hash uint64, g *group) {
	p.last = g
	if g.bytes > nearBytesMax {
		g = nil
	}
	p.near[hash%nearSlots] = g
}

// fields reads the fields that begin at i and returns the place behind the last.
func (p *point) fields(cache *Cache, g *group, text []byte, i int, options Options) (end int, problem error) {
	// Most lines of a group have the same fields in the same order. Lines of one field go on within the
	// group, or have the field that the line before had.
	guess := p.lastBehind
	if guess >= len(g.fields) {
		guess = 0
	}
	p.lastFrom = guess
	for first := true; ; first = false {
		var series metric.Series
		keyFrom := i
		if guess < len(g.fields) && startsWith(text, i, g.fields[guess].key) {
			series = g.fields[guess].series
			i += len(g.fields[guess].key)
			guess++
		} else {
			if i, problem = fieldKey(text, i); problem != nil {
				return i, problem
			}
			at, known := g.find(text[keyFrom:i], guess)
			if known {
				guess, series = at+1, g.fields[at].series
			}
			if first && known {
				p.lastFrom = at
			}
		}
		key := text[keyFrom : i-1]
		if i < len(text) && text[i] == '"' {
			if i, problem = p.text(g, key, text, i, options); problem != nil {
				return i, problem
			}
		} else {
			var value float64
			if value, i, problem = number(text, i); problem != nil {
				return i, problem
			}
			if series.IsZero() {
				if series, problem = p.create(cache, text[keyFrom:keyFrom+len(key)+1]); problem != nil {
					return i, problem
				}
			}
			p.values = append(p.values, fieldValue{series: series, value: value})
		}
		if i == len(text) || text[i] != ',' {
			p.lastBehind = guess
			return i, nil
		}
		i++
	}
}

// startsWith reports whether text holds prefix at i.
func startsWith(text []byte, i int, prefix string) bool {
	return len(text)-i >= len(prefix) && string(text[i:i+len(prefix)]) == prefix
}

// fieldKey passes over the key that begins at i and the = behind it.
func fieldKey(text []byte, i int) (end int, problem error) {
	for end = i; end < len(text); end++ {
		switch text[end] {
		case '\\':
			if end+1 < len(text) && strings.IndexByte(tagEscaped, text[end+1]) >= 0 {
				end++
			}
		case '=':
			if end == i {
				return i, fault.Field("field", "has no key", "key=value")
			}
			return end + 1, nil
		case ' ', ',', '\n':
			return i, errNoValue(text[i:end])
		}
	}
	return len(text), errNoValue(text[i:])
}

func errNoValue(key []byte) error {
	return fault.Field("field "+shown(key), "has no value", "key=value, with commas, spaces and = in the key written \\, \\  and \\=")
}

// create returns the series of a field, as it is written up to and with its =, that the group which this
// decoder holds does not know. Another decoder may have made it meanwhile.
func (p *point) create(cache *Cache, key []byte) (metric.Series, error) {
	for i := range p.created { // the same field twice on one line
		if p.created[i].key == string(key) {
			return p.created[i].series, nil
		}
	}
	prefix := []byte(p.last.prefix)
	hash := cache.Hash(prefix)
	if shared, known := cache.GetHashed(hash, prefix); known && shared != p.last {
		p.hold(hash, shared)
		if at, known := shared.find(key, 0); known {
			return shared.fields[at].series, nil
		}
	}
	made, err := p.last.newField(key)
	if err != nil {
		return metric.Series{}, err
	}
	p.created = append(p.created, made)
	return made.series, nil
}

// text passes over the string that begins at i.
func (p *point) text(g *group, key, text []byte, i int, options Options) (end int, problem error) {
	if options.RefuseStrings {
		return i, fault.Field("field "+shown(key), "is a string, and strings=error is asked for", "a number or a boolean")
	}
	for end = i + 1; end < len(text); end++ {
		switch text[end] {
		case '\\':
			end++
		case '\n':
			p.innerLines++
		case '"':
			if end++; end < len(text) && !isValueEnd(text[end]) {
				return end, fault.Field("field "+shown(key), "goes on behind its string", "a comma, a space or the line's end there")
			}
			p.strings = append(p.strings, g.metricName(key))
			return end, nil
		}
	}
	return len(text), fault.Field("field "+shown(key), "is a string without end", `a " behind it, and " and \ in it written \" and \\`)
}

// skipBlanks returns where from i on something else than spaces and tabs stands.
func skipBlanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	return i
}

// lineEnd checks that the line ends at i, with \n, \r\n or the text.
func lineEnd(text []byte, i int) (int, error) {
	if i < len(text) && text[i] == '\r' {
		i++
	}
	if i == len(text) || text[i] == '\n' {
		return i, nil
	}
	return i, fault.Field("line", "goes on where it should end", lineForm)
}
