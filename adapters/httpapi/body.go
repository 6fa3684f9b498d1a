package httpapi

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/semaphore"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

const headerIdempotencyKey = "Idempotency-Key"

// ErrBodyTooLarge is what a body of more than BodyBytesMax gets.
var ErrBodyTooLarge = fault.Newf(fault.TooLarge, "body_too_large",
	"the body exceeds %d bytes, as sent or decompressed; send it in parts", BodyBytesMax).WithDetail("limit", BodyBytesMax)

// ErrReadTimeout is what a body gets that takes longer than ReadTimeoutMax to arrive.
var ErrReadTimeout = fault.Newf(fault.Invalid, codeRequestTimeout, "the body did not arrive within %s; send it faster or in parts", ReadTimeoutMax)

var decompressors sync.Pool // of *gzip.Reader

// isLines tells by Content-Type whether the body is NDJSON; else it is JSON. The type that curl -d sends
// and none at all are taken for JSON.
func isLines(h http.Header) (bool, error) {
	given := h.Get("Content-Type")
	if given == "" {
		return false, nil
	}
	media, _, err := mime.ParseMediaType(given)
	if err != nil && media == "" {
		media, _, _ = strings.Cut(given, ";")
	}
	switch media {
	case contentTypeJSON, "application/x-www-form-urlencoded":
		return false, nil
	case "application/x-ndjson":
		return true, nil
	}
	return false, fault.Newf(fault.Unsupported, "unsupported_media_type",
		"cannot read Content-Type %.100q; send application/json or application/x-ndjson", given)
}

// isGzip tells by Content-Encoding whether the body is compressed.
func isGzip(h http.Header) (bool, error) {
	switch given := h.Get("Content-Encoding"); {
	case given == "", strings.EqualFold(given, "identity"):
		return false, nil
	case strings.EqualFold(given, "gzip"):
		return true, nil
	default:
		return false, fault.Newf(fault.Unsupported, "unsupported_encoding",
			"cannot read Content-Encoding %.100q; send gzip or none", given)
	}
}

// idempotency returns the request's key, still without digest, nil when there is none.
func idempotency(h http.Header) (*inbound.Idempotency, error) {
	keys := h.Values(headerIdempotencyKey)
	if len(keys) == 0 {
		return nil, nil //nolint:nilnil // no key is no error
	}
	const expected = "1 to 255 printable ASCII characters, once"
	key := keys[0]
	if len(keys) > 1 || key == "" || len(key) > inbound.IdempotencyKeyBytesMax {
		return nil, fault.Field(headerIdempotencyKey, "is empty, too long or repeated", expected)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return nil, fault.Field(headerIdempotencyKey, "holds other characters", expected)
		}
	}
	return &inbound.Idempotency{Key: key}, nil
}

// body is a request's body: what the client means, read from what it sent.
type body struct {
	io.Reader               // decompressed, within BodyBytesMax and the room
	room       room         // what the bytes read take
	hash       hash.Hash    // of content type and body as sent; nil when nobody wants it
	compressed *gzip.Reader // nil when the body was sent plain
}

// openBody starts reading r's body into the room that bodyBytes has. If hashed, its digest begins with
// meaning, which says how the body is read where that is not all in it. The caller must close what it returns.
func openBody(r *http.Request, bodyBytes *semaphore.Weighted, hashed bool, meaning string) (*body, error) {
	compressed, err := isGzip(r.Header)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > BodyBytesMax {
		return nil, ErrBodyTooLarge
	}
	b := &body{room: room{bytes: bodyBytes}}
	if !b.room.hold(r.ContentLength) { // also asks before a client that waits for 100 Continue sends
		return nil, ErrTooManyBytes
	}
	plain := &limitedReader{r: r.Body, left: BodyBytesMax}
	b.Reader = plain
	if hashed {
		b.hash = sha256.New()
		// The separator cannot stand in a header, so no two requests hash the same text.
		io.WriteString(b.hash, meaning+r.Header.Get("Content-Type")+"\x00") //nolint:errcheck // a hash takes everything
		b.Reader = io.TeeReader(b.Reader, b.hash)
	}
	if !compressed {
		plain.room = &b.room
		return b, nil
	}
	if err := b.decompress(); err != nil {
		b.close()
		return nil, readFault(err)
	}
	return b, nil
}

// decompress puts a decompressor between the body and its reader.
func (b *body) decompress() (err error) {
	if z, ok := decompressors.Get().(*gzip.Reader); ok {
		b.compressed, err = z, z.Reset(b.Reader)
	} else if b.compressed, err = gzip.NewReader(b.Reader); err != nil {
		b.compressed = nil
	}
	b.Reader = &limitedReader{r: b.compressed, left: BodyBytesMax, room: &b.room}
	return err
}

// digest returns the SHA-256 of the content type and the whole body as sent.
func (b *body) digest() (digest [sha256.Size]byte) {
	copy(digest[:], b.hash.Sum(nil))
	return digest
}

func (b *body) close() {
	b.room.leave()
	if b.compressed != nil {
		decompressors.Put(b.compressed)
	}
}

// readFault classifies a failure to read a body.
func readFault(err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrReadTimeout.WithCause(err)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), isFlateError(err):
		return fault.Wrap(err, fault.Invalid, "invalid_gzip", "the body is not valid gzip although Content-Encoding says so")
	}
	return fault.Wrap(err, fault.Invalid, "incomplete_body", "the body ended too early; send all of it")
}

func isFlateError(err error) bool {
	var corrupt flate.CorruptInputError
	var internal flate.InternalError
	return errors.As(err, &corrupt) || errors.As(err, &internal)
}

// roomStepBytes is by how much a body's share of the room for bodies grows.
const roomStepBytes = 64 << 10

// room is one body's share of the room for bodies.
type room struct {
	bytes *semaphore.Weighted
	held  int64
}

// hold makes the share reach to size bytes; false when there is no room left.
func (m *room) hold(size int64) bool {
	if size <= m.held {
		return true
	}
	more := (size - m.held + roomStepBytes - 1) / roomStepBytes * roomStepBytes
	if !m.bytes.TryAcquire(more) {
		return false
	}
	m.held += more
	return true
}

func (m *room) leave() {
	m.bytes.Release(m.held)
	m.held = 0
}

// limitedReader fails once more than left bytes were read, or more than there is room for.
type limitedReader struct {
	r    io.Reader
	left int64
	read int64
	room *room // nil: what is read is not held
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrBodyTooLarge
	}
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	l.left -= int64(n)
	l.read += int64(n)
	if l.left < 0 {
		return n - 1, ErrBodyTooLarge
	}
	if l.room != nil && !l.room.hold(l.read) {
		return n, ErrTooManyBytes
	}
	return n, err
}
