package excerpt

import (
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "cpu": "cpu", "a\"b\n\xff": `a\"b\n?`, "é": "é",
		strings.Repeat("x", bytesMax): strings.Repeat("x", bytesMax), strings.Repeat("x", bytesMax+1): strings.Repeat("x", bytesMax) + "…",
		strings.Repeat("x", bytesMax-1) + "é": strings.Repeat("x", bytesMax-1) + "?…",
	} {
		if got := Of([]byte(text)); got != want {
			t.Errorf("Of(%q) = %s, want %s", text, got, want)
		}
	}
}
