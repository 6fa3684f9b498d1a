package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

var errLimit = fault.New(fault.Unprocessable, "limit", "too much")

func TestIsComparesKindAndCode(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"itself", errLimit, true},
		{"with more", errLimit.WithDetail("limit", 5).WithRetryAfter(time.Second).WithCause(context.Canceled), true},
		{"wrapped", fmt.Errorf("read: %w", errLimit), true},
		{"same code, other message", fault.Newf(fault.Unprocessable, "limit", "other %d", 1), true},
		{"other code", fault.New(fault.Unprocessable, "other", "too much"), false},
		{"other kind", fault.New(fault.Invalid, "limit", "too much"), false},
		{"foreign", errors.New("too much"), false},
	} {
		if got := errors.Is(c.err, errLimit); got != c.want {
			t.Errorf("%s: Is=%v, want %v", c.name, got, c.want)
		}
	}
}

func TestFrom(t *testing.T) {
	if f := fault.From(nil); f != nil {
		t.Errorf("From(nil)=%v, want nil", f)
	}
	if f := fault.From(fmt.Errorf("a: %w", fmt.Errorf("b: %w", errLimit))); f != errLimit {
		t.Errorf("From of a wrapped fault is %v, want the fault", f)
	}
	foreign := errors.New("disk on fire")
	f := fault.From(foreign)
	if f.Kind() != fault.Internal || f.Code() != "internal" || f.Message() != "internal error" || !errors.Is(f, foreign) {
		t.Errorf("From of a foreign error is %v of kind %d, want internal that keeps it", f, f.Kind())
	}
	if k := fault.KindOf(errLimit); k != fault.Unprocessable {
		t.Errorf("KindOf=%d, want Unprocessable", k)
	}
}

func TestCauseIsForLogsOnly(t *testing.T) {
	cause := errors.New("secret path")
	f := fault.Wrap(cause, fault.Unavailable, "down", "try later")
	if f.Message() != "try later" || f.Error() != "try later: secret path" || !errors.Is(f, cause) {
		t.Errorf("Message=%q Error=%q, want the cause in Error only", f.Message(), f.Error())
	}
	if errLimit.Error() != "too much" {
		t.Errorf("Error=%q without a cause, want the message", errLimit.Error())
	}
}

func TestWithCopies(t *testing.T) {
	base := errLimit.WithDetail("a", 1)
	left, right := base.WithDetail("b", 2), base.WithDetail("c", 3)
	if len(errLimit.Details()) != 0 || len(base.Details()) != 1 || len(left.Details()) != 2 || len(right.Details()) != 2 {
		t.Fatal("WithDetail changed what it copied")
	}
	if left.Details()[1].Name != "b" || right.Details()[1].Name != "c" {
		t.Errorf("details %v and %v share memory", left.Details(), right.Details())
	}
	if late := base.WithRetryAfter(time.Second); base.RetryAfter() != 0 || late.RetryAfter() != time.Second {
		t.Errorf("RetryAfter is %v and %v, want 0 and 1s", base.RetryAfter(), late.RetryAfter())
	}
}

func TestField(t *testing.T) {
	f := fault.Field("value", "is not finite", "a finite number")
	if f.Kind() != fault.Invalid || f.Message() != "value: is not finite; expected a finite number" {
		t.Errorf("Field=%v of kind %d", f, f.Kind())
	}
	if d := f.Details(); len(d) != 1 || d[0] != (fault.Detail{Name: "field", Value: "value"}) {
		t.Errorf("Details=%v, want the field", d)
	}
}
