package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// unauthenticated says what a client must send.
func unauthenticated(d dialect) error {
	header := "Bearer <AUTH_TOKEN>"
	if d != native {
		header = "Token <AUTH_TOKEN>, or Basic with the token as password"
	}
	return fault.New(fault.Unauthenticated, "unauthenticated", "the request carries no valid token; send the header Authorization: "+header)
}

// tokens holds digests of the accepted tokens: comparing digests takes the same time whatever the
// length of what the client sent.
type tokens [][sha256.Size]byte

func newTokens(texts []string) tokens {
	digests := make(tokens, len(texts))
	for i, text := range texts {
		digests[i] = sha256.Sum256([]byte(text))
	}
	return digests
}

// allow reports whether r carries an accepted token: as a bearer, or where clients of Influx write in one of
// their ways.
func (t tokens) allow(r *http.Request, d dialect) bool {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 && d == influx1 {
		return t.accept(queryPassword(r))
	}
	if len(headers) != 1 {
		return false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	switch {
	case !ok:
		return false
	case strings.EqualFold(scheme, "Bearer"), d != native && strings.EqualFold(scheme, "Token"):
		return t.accept(strings.Trim(token, " "))
	case d != native && strings.EqualFold(scheme, "Basic"):
		_, password, _ := r.BasicAuth()
		return t.accept(password)
	}
	return false
}

// accept compares with every token, so time tells nothing of which one matched.
func (t tokens) accept(token string) bool {
	digest := sha256.Sum256([]byte(token))
	match := 0
	for i := range t {
		match |= subtle.ConstantTimeCompare(digest[:], t[i][:])
	}
	return match == 1
}

// queryPassword returns the parameter p, in which clients of version 1 that know no headers send the
// password; "" when there is none.
func queryPassword(r *http.Request) string {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return ""
	}
	return values.Get("p")
}
