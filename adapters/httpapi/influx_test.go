package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

const oneLine = `cpu,host=h1 usage_user=12.5,value=3i,model="x" 1722513600000000999`

func TestLinesReachTheRecorder(t *testing.T) {
	rg := newRig(t, nil)
	for _, target := range []string{"/write?db=telegraf", "/api/v2/write?org=o&bucket=b&precision=ns", "/write?precision=n&u=me&rp=&consistency=one"} {
		for _, headers := range [][]string{
			{}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Encoding", "gzip"}, {headerIdempotencyKey, "k"},
		} {
			body := oneLine
			if len(headers) > 1 && headers[1] == "gzip" {
				body = zipped(t, body)
			}
			rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).DoAndReturn(
				func(_ context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
					if !req.Replace || len(req.Observations) != 2 || (req.Idempotency != nil) != (len(headers) > 0 && headers[0] == headerIdempotencyKey) {
						t.Errorf("%s: recorded %+v", target, req)
					}
					for i, want := range []string{`cpu_usage_user{host="h1"} 12.5`, `cpu{host="h1"} 3`} {
						s := req.Observations[i].At(received)
						if got := s.Series().Key() + " " + strings.TrimSpace(string(appendNumber(nil, s.Value()))); got != want || s.Timestamp() != received {
							t.Errorf("%s: sample %d is %s at %s, want %s", target, i, got, s.Timestamp(), want)
						}
					}
					return inbound.RecordReply{Stored: 2}, nil
				})
			w := rg.do(request("POST", target, body, headers...))
			if w.Code != http.StatusNoContent || w.Body.Len() != 0 || w.Header()[headerSkipped][0] != "1; cpu_model" {
				t.Errorf("%s %v: %d %s %v", target, headers, w.Code, w.Body, w.Header())
			}
		}
	}
}
