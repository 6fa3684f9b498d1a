// Package fault says what can go wrong, in kinds that every adapter maps in one table of its own.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind classifies an error by what its receiver can do about it.
type Kind uint8

// The kinds. Adapters map each of them in exactly one table (for HTTP: a status code).
const (
	// Internal is a defect or an unclassified failure; it is also the kind of every foreign error.
	Internal Kind = iota
	// Invalid is a request that can never succeed as it is written.
	Invalid
	// Unauthenticated is a request without valid credentials.
	Unauthenticated
	// Forbidden is a request whose credentials do not allow what it asks.
	Forbidden
	// NotFound names something that does not exist.
	NotFound
	// Conflict contradicts the present state of the system.
	Conflict
	// TooLarge exceeds a limit on size.
	TooLarge
	// Unsupported is a media type or encoding that is not understood.
	Unsupported
	// Unprocessable is well-formed but asks for what cannot be given (a limit, an overflow).
	Unprocessable
	// Exhausted is refused now for lack of room and may be retried later.
	Exhausted
	// Unavailable has no majority, no leader or no node to answer; it may be retried.
	Unavailable
	// Timeout ran out of its deadline.
	Timeout
	// DiskFull is a write refused because the disk is nearly full.
	DiskFull
	// Corrupt is stored data that fails its check; the replica that holds it must not serve.
	Corrupt
	// Canceled was given up by its caller.
	Canceled
)

// Detail is one machine-readable member that travels with an error's message.
type Detail struct {
	Name  string
	Value any
}

// Error is the one error type that leaves the application. It is immutable; the With methods return
// copies. Compare with errors.Is against a sentinel made by New (equal kind and code).
type Error struct {
	kind       Kind
	code       string
	message    string
	retryAfter time.Duration
	details    []Detail
	cause      error
}

// New makes an error of kind with a stable machine-readable code and a message for people that says
// what to do.
func New(kind Kind, code, message string) *Error {
	return &Error{kind: kind, code: code, message: message}
}

// Newf is New with a formatted message.
func Newf(kind Kind, code, format string, args ...any) *Error {
	return New(kind, code, fmt.Sprintf(format, args...))
}

// Wrap makes an error of kind that keeps cause for errors.Is and logs; cause is not part of what a
// client is told.
func Wrap(cause error, kind Kind, code, message string) *Error {
	return &Error{kind: kind, code: code, message: message, cause: cause}
}

// Error implements error. It includes the cause, so it is for logs; clients are shown Message.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.message + ": " + e.cause.Error()
	}
	return e.message
}

// Unwrap returns the cause, if any.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a fault with the same kind and code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.kind == e.kind && t.code == e.code
}

// Kind returns what class of error this is.
func (e *Error) Kind() Kind { return e.kind }

// Code returns the stable machine-readable code.
func (e *Error) Code() string { return e.code }

// Message returns the text for people, without the cause.
func (e *Error) Message() string { return e.message }

// RetryAfter returns how long a client should wait before it tries again; zero means no advice.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// Details returns the machine-readable members in the order they were added; callers must not change it.
func (e *Error) Details() []Detail { return e.details }

// WithRetryAfter returns a copy that advises to wait d.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.retryAfter = d
	return &c
}

// WithDetail returns a copy with one more machine-readable member.
func (e *Error) WithDetail(name string, value any) *Error {
	c := *e
	c.details = append(slices.Clip(e.details), Detail{Name: name, Value: value})
	return &c
}

// WithCause returns a copy that keeps cause.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Field makes an Invalid error about one named input field; expected completes "expected …".
func Field(field, problem, expected string) *Error {
	return Newf(Invalid, "invalid_argument", "%s: %s; expected %s", field, problem, expected).WithDetail("field", field)
}

// From returns the first fault in err's chain, or an Internal one that keeps err. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Wrap(err, Internal, "internal", "internal error")
}

// KindOf returns the kind of the first fault in err's chain; a foreign error, and nil, is Internal.
func KindOf(err error) Kind {
	if err == nil {
		return Internal
	}
	return From(err).Kind()
}
