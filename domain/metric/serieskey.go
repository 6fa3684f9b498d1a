package metric

import "cmp"

// escapes says where a byte is escaped.
type escapes uint8

const (
	nameEscapes escapes = 1 << iota // in names and keys
	valueEscapes
)

// escaped is looked at for every byte of very many keys.
var escaped = [256]escapes{
	'\\': nameEscapes | valueEscapes, '"': nameEscapes | valueEscapes,
	'{': nameEscapes, '}': nameEscapes, '=': nameEscapes, ',': nameEscapes,
}

func canonicalKey(name Name, tags Tags) string {
	const usualBytesMax = 256 // on the stack
	return string(AppendSeriesKey(make([]byte, 0, usualBytesMax), name, tags))
}

// AppendSeriesKey appends the canonical text of a series to b, as Series.Key returns it.
func AppendSeriesKey(b []byte, name Name, tags Tags) []byte {
	b = appendEscaped(b, name.text, nameEscapes)
	for i := range tags.sorted {
		t := &tags.sorted[i].tag
		if i == 0 {
			b = append(b, '{')
		} else {
			b = append(b, ',')
		}
		b = appendEscaped(b, t.Key, nameEscapes)
		b = append(b, `="`...)
		b = appendEscaped(b, t.Value, valueEscapes)
		b = append(b, '"')
	}
	if len(tags.sorted) > 0 {
		b = append(b, '}')
	}
	return b
}

func appendEscaped(b []byte, text string, where escapes) []byte {
	plain := 0
	for i := range len(text) {
		if escaped[text[i]]&where != 0 {
			b = append(append(b, text[plain:i]...), '\\')
			plain = i
		}
	}
	return append(b, text[plain:]...)
}

// CompareSeriesKeys compares two series, told by their parts, as their canonical texts compare, without making
// those.
func CompareSeriesKeys(nameA Name, tagsA Tags, nameB Name, tagsB Tags) int {
	if nameA == nameB {
		return CompareTags(tagsA, tagsB)
	}
	return compareEscaped(nameA.text, nameB.text, nameEscapes, nameEnd(tagsA), nameEnd(tagsB))
}

// nameEnd returns what is written behind the name of a series with tags. Nothing at all counts as the byte that no
// text holds.
func nameEnd(tags Tags) byte {
	if tags.Len() == 0 {
		return 0
	}
	return '{'
}

// CompareTags compares two sets of tags as the canonical texts of series of one metric compare that have them,
// without making those.
func CompareTags(a, b Tags) int {
	for i := range min(len(a.sorted), len(b.sorted)) {
		ta, tb := &a.sorted[i].tag, &b.sorted[i].tag
		if order := compareEscaped(ta.Key, tb.Key, nameEscapes, '=', '='); order != 0 {
			return order
		}
		if order := compareEscaped(ta.Value, tb.Value, valueEscapes, '"', '"'); order != 0 {
			return order
		}
	}
	switch {
	case len(a.sorted) == 0 || len(b.sorted) == 0:
		return cmp.Compare(len(a.sorted), len(b.sorted)) // The bare name comes before what goes on.
	default:
		return cmp.Compare(len(b.sorted), len(a.sorted)) // A comma comes before the closing brace.
	}
}

// compareEscaped compares two texts as they are written: escaped, and with endA and endB behind them, which no
// text holds without an escape.
func compareEscaped(a, b string, where escapes, endA, endB byte) int {
	if a == b {
		return 0
	}
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	ca, cb := writtenAt(a, i, where, endA), writtenAt(b, i, where, endB)
	if ca == cb { // Both are escaped.
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(ca, cb)
}

// writtenAt returns what is written first of what text has at i, or behind it.
func writtenAt(text string, i int, where escapes, end byte) byte {
	switch {
	case i == len(text):
		return end
	case escaped[text[i]]&where != 0:
		return '\\'
	}
	return text[i]
}
