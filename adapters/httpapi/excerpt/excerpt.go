// Package excerpt makes what clients sent fit to be shown in messages.
package excerpt

import (
	"bytes"
	"strconv"
)

// bytesMax bounds what is shown.
const bytesMax = 64

// Of returns text as valid UTF-8 without control characters, and not long; quotes in it are escaped.
func Of(text []byte) string {
	cut := text[:min(len(text), bytesMax)]
	quoted := strconv.Quote(string(bytes.ToValidUTF8(cut, []byte("?"))))
	inner := quoted[1 : len(quoted)-1]
	if len(text) > bytesMax {
		inner += "…"
	}
	return inner
}
