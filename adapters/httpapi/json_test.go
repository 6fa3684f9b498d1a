package httpapi

import (
	"encoding/json"
	"strings"
)

func validJSON(text []byte) bool { return json.Valid(text) }

func readText(quoted []byte) (string, error) {
	var text string
	err := json.Unmarshal(quoted, &text)
	return text, err
}

// jsonNumber is how encoding/json writes v.
func jsonNumber(v float64) (string, error) {
	b, err := json.Marshal(v)
	return strings.TrimSpace(string(b)), err
}
