package samplejson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unescape appends what raw, the inside of a JSON string, stands for. It returns false for an escape that
// JSON does not know and for half of a surrogate pair.
func unescape(b, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b = append(b, raw[i])
			continue
		}
		i++
		if i == len(raw) {
			return b, false
		}
		switch c := raw[i]; c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, size := unicodeEscape(raw[i+1:])
			if size == 0 {
				return b, false
			}
			b = utf8.AppendRune(b, r)
			i += size
		default:
			return b, false
		}
	}
	return b, true
}

// unicodeEscape reads the digits that follow \u, and for a surrogate the second half with its own \u.
// It returns how many bytes it took, 0 when they are no character.
func unicodeEscape(raw []byte) (rune, int) {
	const digits = 4
	first, ok := hexRune(raw)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, digits
	}
	raw = raw[digits:]
	if len(raw) < 2 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, 0
	}
	second, ok := hexRune(raw[2:])
	if !ok {
		return 0, 0
	}
	r := utf16.DecodeRune(first, second)
	if r == utf8.RuneError {
		return 0, 0
	}
	return r, 2*digits + 2
}

func hexRune(raw []byte) (rune, bool) {
	const digits = 4
	if len(raw) < digits {
		return 0, false
	}
	var r rune
	for _, c := range raw[:digits] {
		switch {
		case isDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
