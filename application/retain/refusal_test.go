package retain_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/retain"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/inboundmock"
)

func observation(t *testing.T, name string, at *metric.Timestamp) metric.Observation {
	t.Helper()
	s, err := metric.ParseSeriesKey(name)
	if err != nil {
		t.Fatal(err)
	}
	var o metric.Observation
	if at == nil {
		o, err = metric.NewObservation(s, 1)
	} else {
		o, err = metric.NewObservationAt(s, *at, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSamplesThatAreTooOldAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := inboundmock.NewMockRecorder(gomock.NewController(t))
		r := newRig(parse(t, "2d,debug_*=1h,keep_*=0"))
		refused := 0
		recorder := retain.NewRecorder(next, r, r, func(samples int) { refused += samples })
		now, _ := r.ClusterTime()
		ago := func(d time.Duration) *metric.Timestamp { return new(now - metric.Timestamp(d.Microseconds())) }
		takes := func(observations ...metric.Observation) {
			t.Helper()
			req := inbound.RecordRequest{Observations: observations, Replace: true}
			want := inbound.RecordReply{Stored: len(observations)}
			next.EXPECT().Record(gomock.Any(), req).Return(want, nil)
			if got, err := recorder.Record(t.Context(), req); err != nil || got != want {
				t.Fatalf("Record = %v, %v", got, err)
			}
		}
		takes(observation(t, "cpu", ago(47*time.Hour)), observation(t, "keep_this", ago(1e6*time.Hour)), observation(t, "debug_x", nil))
		takes(observation(t, "debug_x", ago(time.Hour))) // the bubble begins at the full hour

		batch := []metric.Observation{observation(t, "cpu", nil)}
		for range 20 {
			batch = append(batch, observation(t, "debug_x", ago(time.Hour+1000)), observation(t, "keep_it", ago(1e6*time.Hour)))
		}
		_, err := recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
		f := fault.From(err)
		if f.Kind() != fault.Unprocessable || f.Code() != "timestamp_expired" || refused != 20 {
			t.Fatalf("err=%v, %d told of", err, refused)
		}
		const want = "20 of 41 samples are older than what is kept (sample 1 of debug_x at 1999-12-31T22:59:59.999999Z, kept for 1h); send newer ones, or change the retention with PUT /cluster/retention"
		if f.Message() != want {
			t.Errorf("message %q, want %q", f.Message(), want)
		}
		shown, _ := json.Marshal(f.Details()[0].Value)
		var list []struct{ Index int }
		if err := json.Unmarshal(shown, &list); err != nil || len(list) != 10 || list[9].Index != 19 {
			t.Errorf("details %s", shown)
		}
		if got := recorder.CutoffAge(); got != 48*3600 {
			t.Errorf("cut-off age %v, want two days", got)
		}

		old := observation(t, "cpu", ago(1e6*time.Hour))
		r.change(func() { r.leads = false })
		takes(old) // nobody knows the time
		if got := recorder.CutoffAge(); got != 0 {
			t.Errorf("cut-off age %v without a time", got)
		}
		r.change(func() { r.leads, r.policy = true, metric.RetentionPolicy{} })
		takes(old) // everything is kept
		if got := recorder.CutoffAge(); got != 0 {
			t.Errorf("cut-off age %v where everything is kept", got)
		}
	})
}
