package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Codes that have a status of their own.
const (
	codeMethodNotAllowed = "method_not_allowed"
	codeRequestTimeout   = "request_timeout"
)

// statusClientClosedRequest is the status that proxies log for a client that went away; nobody sees it.
const statusClientClosedRequest = 499

// statusOfKind is the one table from what went wrong to the status that says so.
var statusOfKind = map[fault.Kind]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unsupported:     http.StatusUnsupportedMediaType,
	fault.Unprocessable:   http.StatusUnprocessableEntity,
	fault.Exhausted:       http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.DiskFull:        http.StatusInsufficientStorage,
	fault.Corrupt:         http.StatusInternalServerError,
	fault.Canceled:        statusClientClosedRequest,
}

// statusOfCode is for what only HTTP tells apart.
var statusOfCode = map[string]int{
	codeMethodNotAllowed: http.StatusMethodNotAllowed,
	codeRequestTimeout:   http.StatusRequestTimeout,
}

// StatusOf returns the status of an answer that tells of e.
func StatusOf(e *fault.Error) int {
	if status, ok := statusOfCode[e.Code()]; ok {
		return status
	}
	if status, ok := statusOfKind[e.Kind()]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// faultOf classifies what a port returned. Ends of contexts that come through bare are told apart from
// defects.
func faultOf(err error) *fault.Error {
	e := fault.From(err)
	if e.Kind() != fault.Internal {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Timeout, "timeout", "the deadline passed before there was an answer; ask for less or allow more time")
	case errors.Is(err, context.Canceled):
		return fault.Wrap(err, fault.Canceled, "canceled", "the request was given up")
	}
	return e
}

// sendFault answers with err, unless an answer has begun.
func (x *exchange) sendFault(r *http.Request, err error) {
	e := faultOf(err)
	x.fault = e
	if x.status != 0 {
		return
	}
	if (e.Kind() == fault.Unavailable || e.Kind() == fault.Exhausted) && e.RetryAfter() == 0 {
		e = e.WithRetryAfter(overloadRetryAfter)
	}
	if wait := e.RetryAfter(); wait > 0 {
		seconds := int64(math.Ceil(wait.Seconds()))
		x.Header().Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
	}
	message := e.Message()
	if e.Kind() == fault.Internal {
		message = "the node failed to answer; its log tells why under request id " + x.id
	}
	if x.dialect != native {
		x.sendJSON(r, StatusOf(e), appendInfluxFault(nil, e, message))
		return
	}
	x.sendJSON(r, StatusOf(e), appendFault(nil, e, message))
}

// appendFault appends {"error":{"code":…,"message":…,…}} with the fault's details as further members.
func appendFault(b []byte, e *fault.Error, message string) []byte {
	b = append(b, `{"error":{"code":`...)
	b = appendText(b, e.Code())
	b = append(b, `,"message":`...)
	b = appendText(b, message)
	return append(appendDetails(b, e, "code", "message"), "}}"...)
}

// appendDetails appends the fault's details as further members, but those whose names are taken.
func appendDetails(b []byte, e *fault.Error, taken ...string) []byte {
	for _, detail := range e.Details() {
		if slices.Contains(taken, detail.Name) {
			continue
		}
		value, err := json.Marshal(detail.Value)
		if err != nil { // a detail that JSON cannot hold is left to the message
			continue
		}
		b = append(b, ',')
		b = appendText(b, detail.Name)
		b = append(b, ':')
		b = append(b, value...)
	}
	return b
}
