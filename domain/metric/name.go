// Package metric holds the vocabulary of what is measured: names, tags, series, timestamps, samples.
// Every type is immutable and cannot be built invalid; all of it may be used concurrently.
package metric

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Name is a metric's name: 1 to NameBytesMax bytes of UTF-8 without control characters.
// The zero Name is not valid and is never returned by NewName.
type Name struct{ text string }

// NewName checks text and returns it as a Name, or a fault.Invalid that names the field metric_name.
func NewName(text string) (Name, error) {
	if err := checkText("metric_name", "", text, NameBytesMax); err != nil {
		return Name{}, err
	}
	return Name{text: text}, nil
}

// String returns the name's text.
func (n Name) String() string { return n.text }

// Clone returns the same name in memory of its own, for those who keep it longer than the text that it is a
// part of.
func (n Name) Clone() Name { return Name{text: strings.Clone(n.text)} }

// IsZero reports whether n was never built.
func (n Name) IsZero() bool { return n.text == "" }

// checkText returns nil or a fault.Invalid about the field prefix+name; it allocates only then.
func checkText(prefix, name, text string, bytesMax int) error {
	var problem string
	switch {
	case text == "":
		problem = "is empty"
	case len(text) > bytesMax:
		problem = "is " + strconv.Itoa(len(text)) + " bytes long"
	case !isPlain(text):
		problem = "holds control characters or invalid UTF-8"
	default:
		return nil
	}
	return fault.Field(prefix+name, problem, "1 to "+strconv.Itoa(bytesMax)+" bytes of UTF-8 without control characters")
}

// isPlain reports whether text is valid UTF-8 without control characters (Unicode category Cc).
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f {
			return isPlainUnicode(text)
		}
	}
	return true
}

func isPlainUnicode(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
