package workerrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// codes maps every kind of fault to what the protocol calls it; a client goes by the detail instead.
var codes = map[fault.Kind]connect.Code{
	fault.Internal:        connect.CodeInternal,
	fault.Invalid:         connect.CodeInvalidArgument,
	fault.Unauthenticated: connect.CodeUnauthenticated,
	fault.Forbidden:       connect.CodePermissionDenied,
	fault.NotFound:        connect.CodeNotFound,
	fault.Conflict:        connect.CodeAborted,
	fault.TooLarge:        connect.CodeResourceExhausted,
	fault.Unsupported:     connect.CodeUnimplemented,
	fault.Unprocessable:   connect.CodeFailedPrecondition,
	fault.Exhausted:       connect.CodeResourceExhausted,
	fault.Unavailable:     connect.CodeUnavailable,
	fault.Timeout:         connect.CodeDeadlineExceeded,
	fault.DiskFull:        connect.CodeResourceExhausted,
	fault.Corrupt:         connect.CodeDataLoss,
	fault.Canceled:        connect.CodeCanceled,
}

// codeTimeout is the code of a deadline that passed; the receiver finds context.DeadlineExceeded in it again.
const codeTimeout = "timeout"

// encodeFault makes an error that carries everything of err but its causes.
func encodeFault(err error) error {
	message := faultMessage(err)
	failed := connect.NewError(codes[fault.Kind(message.GetKind())], errors.New(message.GetMessage()))
	if detail, err := connect.NewErrorDetail(message); err == nil {
		failed.AddDetail(detail)
	}
	return failed
}

// faultMessage returns everything of err but its causes.
func faultMessage(err error) *workerpb.Fault {
	f := faultOf(err)
	message := &workerpb.Fault{
		Kind: uint32(f.Kind()), Code: f.Code(), Message: f.Message(),
		RetryAfterMicros: f.RetryAfter().Microseconds(),
	}
	switch {
	case errors.Is(err, outbound.ErrAmbiguous): // first: it must never be taken for the other
		message.Outcome = workerpb.Outcome_OUTCOME_AMBIGUOUS
	case errors.Is(err, outbound.ErrNotProposed):
		message.Outcome = workerpb.Outcome_OUTCOME_NOT_PROPOSED
	}
	for _, d := range f.Details() {
		if text, err := json.Marshal(d.Value); err == nil { // what has no JSON could not be told to anybody
			message.Details = append(message.Details, &workerpb.FaultDetail{Name: d.Name, Json: text})
		}
	}
	return message
}

// faultOf is fault.From which knows the ends of contexts.
func faultOf(err error) *fault.Error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Timeout, codeTimeout, "the request ran out of its time; try again or allow more")
	case errors.Is(err, context.Canceled):
		return fault.Wrap(err, fault.Canceled, "canceled", "the request was given up")
	}
	return fault.From(err)
}

// decodeFault returns the fault that another node answered with; nil when err is not such an answer.
// errors.Is finds outbound.ErrNotProposed and ErrAmbiguous where the other node's error was one, and
// context.DeadlineExceeded where its time was up.
func decodeFault(err error) *fault.Error {
	var failed *connect.Error
	if !errors.As(err, &failed) {
		return nil
	}
	for _, detail := range failed.Details() {
		value, err := detail.Value()
		if err != nil {
			continue
		}
		if message, ok := value.(*workerpb.Fault); ok {
			return restoreFault(message)
		}
	}
	return nil
}

func restoreFault(message *workerpb.Fault) *fault.Error {
	kind := fault.Internal
	if message.GetKind() <= uint32(fault.Canceled) {
		kind = fault.Kind(message.GetKind())
	}
	f := fault.New(kind, message.GetCode(), message.GetMessage())
	if micros := message.GetRetryAfterMicros(); micros > 0 {
		f = f.WithRetryAfter(time.Duration(micros) * time.Microsecond)
	}
	for _, d := range message.GetDetails() {
		f = f.WithDetail(d.GetName(), restoreDetail(d.GetJson()))
	}
	if f.Kind() == fault.Timeout && f.Code() == codeTimeout {
		f = f.WithCause(context.DeadlineExceeded)
	}
	switch message.GetOutcome() {
	case workerpb.Outcome_OUTCOME_NOT_PROPOSED:
		f = f.WithCause(outbound.ErrNotProposed)
	case workerpb.Outcome_OUTCOME_AMBIGUOUS:
		f = f.WithCause(outbound.ErrAmbiguous)
	case workerpb.Outcome_OUTCOME_UNSPECIFIED:
	}
	return f
}

// restoreDetail gives the plain kinds of details back as Go values and leaves the others as JSON, which
// the client API passes on as it is.
func restoreDetail(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return ""
	}
	switch v := v.(type) {
	case string, bool:
		return v
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && n >= math.MinInt && n <= math.MaxInt {
			return int(n)
		}
	}
	return json.RawMessage(bytes.Clone(text))
}
