package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
)

const (
	contentTypeJSON = "application/json"
	contentTypeText = "text/plain; charset=utf-8"
	// compressBytesMin is the least answer worth compressing: smaller ones fit a packet anyway.
	compressBytesMin = 1400
	hexDigits        = "0123456789abcdef"
)

var compressors = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic("gzip refuses its own constant: " + err.Error())
	}
	return w
}}

// sendJSON sends a JSON text, with a line end so that terminals stay tidy.
func (x *exchange) sendJSON(r *http.Request, status int, body []byte) {
	x.send(r, status, contentTypeJSON, append(body, '\n'))
}

// send sends body, compressed if the client takes that and it is worth it.
func (x *exchange) send(r *http.Request, status int, contentType string, body []byte) {
	h := x.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	worth := len(body) >= compressBytesMin
	if worth {
		h.Set("Vary", "Accept-Encoding")
	}
	if r.Method == http.MethodHead || !worth || !acceptsGzip(r.Header.Values("Accept-Encoding")) {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		x.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = x.Write(body) // fails only when the client is gone; there is nobody left to tell
		}
		return
	}
	h.Set("Content-Encoding", "gzip")
	x.WriteHeader(status)
	w, ok := compressors.Get().(*gzip.Writer)
	if !ok {
		return
	}
	w.Reset(x)
	if _, err := w.Write(body); err == nil {
		_ = w.Close()
	}
	compressors.Put(w)
}

// acceptsGzip reports whether Accept-Encoding headers name gzip with a weight above zero.
func acceptsGzip(headers []string) bool {
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			coding, weight, weighted := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			if !weighted {
				return true
			}
			_, q, ok := strings.Cut(strings.ToLower(strings.TrimSpace(weight)), "q=")
			v, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			return ok && err == nil && v > 0
		}
	}
	return false
}

// appendText appends text as a JSON string. What is not UTF-8 becomes U+FFFD. What needs no escape, mostly
// all, is appended at once.
func appendText(b []byte, text string) []byte {
	b = append(b, '"')
	plain := 0 // where what is not appended yet begins
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError {
				b = utf8.AppendRune(append(b, text[plain:i]...), r)
				plain = i + size
			}
			i += size
			continue
		}
		i++
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		b = append(b, text[plain:i-1]...)
		plain = i
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	b = append(b, text[plain:]...)
	return append(b, '"')
}

// appendNumber appends a finite number with the fewest digits that read back as the same float64, in
// exponent form below 1e-6 and from 1e21 on as JavaScript does.
func appendNumber(b []byte, v float64) []byte {
	const plainMin, plainMax = 1e-6, 1e21
	if abs := math.Abs(v); abs != 0 && (abs < plainMin || abs >= plainMax) {
		b = strconv.AppendFloat(b, v, 'e', -1, 64)
		if n := len(b); b[n-4] == 'e' && b[n-2] == '0' { // e-07 is e-7 there
			b[n-2] = b[n-1]
			b = b[:n-1]
		}
		return b
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// sendText sends a plain word.
func (x *exchange) sendText(r *http.Request, status int, word string) {
	x.send(r, status, contentTypeText, []byte(word+"\n"))
}

var _ http.ResponseWriter = (*exchange)(nil)
