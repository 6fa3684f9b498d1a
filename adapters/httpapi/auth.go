package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

var errUnauthenticated = fault.New(fault.Unauthenticated, "unauthenticated",
	"the request carries no valid token; send the header Authorization: Bearer <AUTH_TOKEN>")

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

// allow reports whether headers, the Authorization headers of a request, are one that carries an
// accepted bearer token. It compares with every token, so time tells nothing of which one matched.
func (t tokens) allow(headers []string) bool {
	if len(headers) != 1 {
		return false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	digest := sha256.Sum256([]byte(strings.Trim(token, " ")))
	match := 0
	for i := range t {
		match |= subtle.ConstantTimeCompare(digest[:], t[i][:])
	}
	return match == 1
}
