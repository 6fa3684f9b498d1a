package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

const (
	headerRequestID   = "X-Request-Id"
	requestIDBytesMax = 64
)

// exchange is one request and what becomes of it: the response writer that endpoints write to, with what
// the access log wants to know.
type exchange struct {
	http.ResponseWriter
	route   string
	dialect dialect
	id      string
	status  int // 0 until the header is written
	sent    int64
	fault   *fault.Error // what was answered instead, if anything
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b) //nolint:gosec // G705: the body is JSON or plain text, with nosniff
	x.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// requestIDs names requests: a random part for the process and a counter.
type requestIDs struct {
	prefix string
	last   *atomic.Uint64
}

func newRequestIDs() requestIDs {
	const prefixBytes = 6
	var b [prefixBytes]byte
	rand.Read(b[:])
	return requestIDs{prefix: hex.EncodeToString(b[:]) + "-", last: new(atomic.Uint64)}
}

// of returns the id that the client sent, if it is fit for logs and headers, or a new one.
func (ids requestIDs) of(r *http.Request) string {
	if id := r.Header.Get(headerRequestID); isRequestID(id) {
		return id
	}
	return ids.prefix + strconv.FormatUint(ids.last.Add(1), 10)
}

func isRequestID(id string) bool {
	if id == "" || len(id) > requestIDBytesMax {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
