package samplejson

import (
	"bytes"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// nestingMax bounds how deep a value that is only skipped may nest.
const nestingMax = 32

// scanner walks over JSON text. It refuses what is not JSON where it looks closely, and passes over what
// the caller will refuse for another reason anyway.
type scanner struct {
	data []byte
	pos  int
	line int // number of lines before data
}

// peek returns the next byte, or 0 at the end: a NUL is nowhere valid outside strings.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return
		}
	}
}

// atEnd reports whether only white space is left.
func (s *scanner) atEnd() bool {
	s.skipSpace()
	return s.pos == len(s.data)
}

// text passes over a string, at whose opening quote the scanner stands, and returns what is between the
// quotes as it is written, and whether that holds escapes. Escapes are checked by unescape.
func (s *scanner) text() (raw []byte, escaped bool, err error) {
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		c := s.data[i]
		switch {
		case c == '"':
			s.pos = i + 1
			return s.data[start:i], escaped, nil
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			s.pos = i
			return nil, false, s.syntax("a string holds a control character; escape it")
		}
	}
	s.pos = len(s.data)
	return nil, false, s.syntax("a string has no end")
}

// flatObject passes over an object that holds no other object or array and returns it as written, braces
// included. For one that does it returns false and stays where it is.
func (s *scanner) flatObject() (raw []byte, flat bool, err error) {
	start := s.pos
	for s.pos++; s.pos < len(s.data); {
		switch s.data[s.pos] {
		case '"':
			if _, _, err := s.text(); err != nil {
				return nil, false, err
			}
			continue
		case '}':
			s.pos++
			return s.data[start:s.pos], true, nil
		case '{', '[':
			s.pos = start
			return nil, false, nil
		}
		s.pos++
	}
	return nil, false, s.syntax("an object has no end")
}

// skipValue passes over one value of any kind.
func (s *scanner) skipValue(depth int) error {
	s.skipSpace()
	switch c := s.peek(); {
	case c == '"':
		_, _, err := s.text()
		return err
	case c == '{':
		return s.skipMembers(depth, '}')
	case c == '[':
		return s.skipMembers(depth, ']')
	case c == '-' || isDigit(c):
		_, _, err := s.number()
		return err
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	return s.syntax("expected a value")
}

// skipMembers passes over an object or array up to its end character.
func (s *scanner) skipMembers(depth int, end byte) error {
	if depth >= nestingMax {
		return s.syntax("values nest too deep")
	}
	s.pos++
	s.skipSpace()
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if end == '}' {
			if err := s.skipKey(); err != nil {
				return err
			}
		}
		if err := s.skipValue(depth + 1); err != nil {
			return err
		}
		s.skipSpace()
		switch s.peek() {
		case ',':
			s.pos++
		case end:
			s.pos++
			return nil
		default:
			return s.syntax("expected ',' or '" + string(end) + "'")
		}
	}
}

func (s *scanner) skipKey() error {
	s.skipSpace()
	if s.peek() != '"' {
		return s.syntax("expected a member's name in quotes")
	}
	if _, _, err := s.text(); err != nil {
		return err
	}
	return s.colon()
}

// colon passes over the colon between a member's name and its value, and the space around it.
func (s *scanner) colon() error {
	s.skipSpace()
	if s.peek() != ':' {
		return s.syntax("expected ':' after a member's name")
	}
	s.pos++
	s.skipSpace()
	return nil
}

// takeNull passes over null if that is what comes next.
func (s *scanner) takeNull() bool {
	if s.peek() == 'n' && bytes.HasPrefix(s.data[s.pos:], []byte("null")) {
		s.pos += len("null")
		return true
	}
	return false
}

// syntax makes the error for text that is not JSON at the scanner's position.
func (s *scanner) syntax(problem string) error {
	read := s.data[:min(s.pos, len(s.data))]
	line := s.line + bytes.Count(read, []byte{'\n'}) + 1
	column := len(read) - bytes.LastIndexByte(read, '\n')
	if s.pos >= len(s.data) {
		problem += ", but the text ends"
	}
	return fault.Newf(fault.Invalid, "invalid_json", "not valid JSON at line %d, byte %d: %s", line, column, problem).
		WithDetail("line", line).WithDetail("column", column)
}

func isDigit(c byte) bool { return c-'0' < 10 }
