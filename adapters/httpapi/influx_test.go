package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
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
			if skipped := map[string][]string(w.Header())[headerSkipped]; w.Code != http.StatusNoContent || w.Body.Len() != 0 || len(skipped) != 1 || skipped[0] != "1; cpu_model" {
				t.Errorf("%s %v: %d %s %v", target, headers, w.Code, w.Body, w.Header())
			}
		}
	}
}

func TestGoldenInflux(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	failure := error(nil)
	rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
			if failure != nil {
				return inbound.RecordReply{}, failure
			}
			return reply(ctx, req)
		})
	f := func(method, target, body string, headers ...string) {
		r := request(method, target, body, headers...)
		tr.add(r, strings.TrimSpace(strings.Join(headers, " ")+" "+body), rg.do(r))
	}
	f("GET", "/ping", "", "Authorization", "")
	f("HEAD", "/ping?wait_for_leader=1s", "")
	f("POST", "/query?db=&q=CREATE+DATABASE+telegraf", "")
	f("POST", "/query", `q=CREATE+DATABASE+%22telegraf%22`, "Content-Type", "application/x-www-form-urlencoded")
	f("GET", "/query?q=SHOW+DATABASES", "")
	f("GET", "/query", "")
	f("POST", "/write", "m value=1\nm,t=a u=2i 1722513600000000000")
	f("POST", "/write", "m s=\"a,b\",t=\"x\"\nm,t=a s=\"y\",u=1")
	f("POST", "/write", "")
	f("POST", "/write?strings=error", "m s=\"text\"")
	f("POST", "/api/v2/write?org=o&bucket=b&precision=ms", "m a=1 1722513600000\n\n# comment\nm a=x\nm,t= a=1\nm,t=1,t=2 a=1\nm a=1 noon\nm")
	f("POST", "/write?precision=d", "m a=1")
	f("POST", "/write?strings=drop", "m a=1")
	f("POST", "/write?measurement=cpu", "m a=1")
	f("POST", "/write?timeout=0", "m a=1")
	f("POST", "/write", "m a=1", "Content-Encoding", "zstd")
	f("POST", "/write", "m a=1", "Content-Encoding", "gzip")
	f("POST", "/write", "m a=1", "Authorization", "Token wrong")
	f("GET", "/write", "")
	for _, failure = range []error{
		fault.New(fault.Unavailable, "no_leader", "shard 3 has no leader").WithDetail("stored", 0).WithDetail("unknown", 1),
		fault.New(fault.Exhausted, "memtable_full", "wait").WithRetryAfter(2 * time.Second), fault.New(fault.DiskFull, "disk_full", "no room"),
		fault.New(fault.Unprocessable, "series_limit", "too many series"), fault.New(fault.Internal, "internal", "not told"),
	} {
		f("POST", "/write", "m a=1", headerRequestID, "id-1")
	}
	golden(t, "influx.txt", tr.String())
}

func TestInfluxQueriesAreBounded(t *testing.T) {
	rg := newRig(t, nil)
	body := "q=CREATE+DATABASE+" + strings.Repeat("x", influxQueryBytesMax)
	w := rg.do(request("POST", "/query", body, "Content-Type", "application/x-www-form-urlencoded"))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "invalid_query") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}

func TestInfluxClientsAuthenticateInTheirWays(t *testing.T) {
	rg := newRig(t, nil)
	rg.stores()
	f := func(target string, status int, header ...string) {
		t.Helper()
		r := request("POST", target, "m value=1")
		r.Header["Authorization"] = header
		if w := rg.do(r); w.Code != status {
			t.Errorf("%s %q: %d %s, want %d", target, header, w.Code, w.Body, status)
		}
	}
	basic := func(user, password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	const yes, no = http.StatusNoContent, http.StatusUnauthorized
	for _, path := range []string{"/write", "/api/v2/write"} {
		f(path, yes, "Bearer "+token)
		f(path, yes, "Token "+token)
		f(path, yes, "token "+token)
		f(path, yes, basic("anybody", token))
		f(path, yes, basic("", token))
		f(path, no)
		f(path, no, "Token "+token+"x")
		f(path, no, "Token")
		f(path, no, basic(token, "x"))
		f(path, no, "Basic "+token)
		f(path, no, "Token "+token, "Token "+token)
		f(path+"?p="+token, no, "Token x") // a header outweighs the parameter
	}
	f("/write?u=me&p="+token, yes)
	f("/write?u=me&p=x", no)
	f("/write?u=me&p=", no)
	f("/api/v2/write?p="+token, no)
	f("/metrics?p="+token, no)
	f("/metrics", no, "Token "+token)
	f("/metrics", no, basic("me", token))
	if strings.Contains(rg.log.String(), token) {
		t.Error("the log holds the token")
	}
}

func TestKeysCoverWhatABodyMeans(t *testing.T) {
	rg := newRig(t, nil)
	seen := map[[32]byte]string{}
	var digest [32]byte
	rg.recorder.EXPECT().Record(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
			digest = req.Idempotency.Digest
			return reply(ctx, req)
		})
	f := func(target, body string, known bool) {
		t.Helper()
		if w := rg.do(request("POST", target, body, headerIdempotencyKey, "k")); w.Code != http.StatusNoContent {
			t.Fatalf("%s: %d %s", target, w.Code, w.Body)
		}
		if first, ok := seen[digest]; ok != known {
			t.Errorf("%s %q: the digest is that of %q", target, body, first)
		}
		seen[digest] = target + " " + body
	}
	f("/write", "m a=1 5", false)
	f("/write?precision=s", "m a=1 5", false)
	f("/write?strings=error", "m a=1 5", false)
	f("/write", "m a=1 6", false)
	f("/api/v2/write?precision=ns&bucket=b&timeout=1s", "m a=1 5", true)
}

func TestLinesAreBounded(t *testing.T) {
	rg := newRig(t, nil)
	f := func(body string, length int64, status int, limit string, headers ...string) {
		t.Helper()
		r := request("POST", "/write", body, headers...)
		r.ContentLength = length
		if w := rg.do(r); w.Code != status || !strings.Contains(w.Body.String(), limit) {
			t.Errorf("%.20q of %d bytes: %d %.200s, want %d", body, length, w.Code, w.Body, status)
		}
	}
	comment := "#" + strings.Repeat(" ", BodyBytesMax)
	f(comment, int64(len(comment)), http.StatusRequestEntityTooLarge, `"limit":16777216`)
	f(comment, -1, http.StatusRequestEntityTooLarge, `"limit":16777216`)
	f(zipped(t, comment), -1, http.StatusRequestEntityTooLarge, `"limit":16777216`, "Content-Encoding", "gzip")
	f(comment[1:], -1, http.StatusNoContent, "")
	f(strings.Repeat("m a=1\n", metric.BatchSamplesMax+1), -1, http.StatusRequestEntityTooLarge, `"limit":100000`)
	if !rg.bodyBytes.TryAcquire(rg.config.BodyBytesInFlightMax) {
		t.Fatal("room for bodies was not given back")
	}
	f("m a=1", 5, http.StatusTooManyRequests, "too_many_bytes")
}
