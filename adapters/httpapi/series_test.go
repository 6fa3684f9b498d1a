package httpapi

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

func TestGoldenSeries(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	var found inbound.Listed
	var failure error
	rg.lister.EXPECT().ListSeries(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(context.Context, inbound.ListRequest) (inbound.Listed, error) { return found, failure })
	f := func(target string, listed inbound.Listed, err error) {
		found, failure = listed, err
		r := request("GET", target, "", headerRequestID, "id-1")
		tr.add(r, "", rg.do(r))
	}
	two := inbound.Listed{Items: []string{`cpu`, `cpu{az="\"",host="a"}`}, Truncated: true}
	words := inbound.Listed{Items: []string{"a", `b"`}}
	f("/series", two, nil)
	f("/series?metric=cpu&tag.host=a&limit=2&level=none", two, nil)
	f("/series?list=metrics", words, nil)
	f("/series?list=tag_keys&metric=cpu", words, nil)
	f("/series?list=tag_values&key=host&freshness=5s", inbound.Listed{}, nil)
	f("/series", inbound.Listed{Items: []string{`cpu{`}}, nil)
	f("/series?list=tags", words, nil)
	f("/series?list=tag_values", words, nil)
	f("/series?key=host", words, nil)
	f("/series?limit=0", words, nil)
	f("/series?limit=100001", words, nil)
	f("/series?limit=all", words, nil)
	f("/series?metric=", words, nil)
	f("/series?name=cpu", words, nil)
	f("/series", words, fault.New(fault.Unavailable, "no_leader", "m").WithDetail("shards", []uint32{1}))
	golden(t, "series.txt", tr.String())
}

func TestSeriesAreAskedForAsTheClientSays(t *testing.T) {
	rg := newRig(t, nil)
	cpu, err := metric.NewName("cpu")
	if err != nil {
		t.Fatal(err)
	}
	f := func(target string, kind metric.ListingKind, name metric.Name, key string, limit int, level consistency.Level) {
		t.Helper()
		rg.lister.EXPECT().ListSeries(gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, req inbound.ListRequest) (inbound.Listed, error) {
				l := req.Listing
				if l.Kind() != kind || l.Metric() != name || l.Key() != key || l.Limit() != limit || req.Requirement.Level() != level {
					t.Errorf("%s: asked for %+v", target, req)
				}
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > QueryTimeoutMax {
					t.Errorf("%s: no deadline", target)
				}
				return inbound.Listed{}, nil
			})
		if w := rg.do(request("GET", target, "")); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	f("/series", metric.ListSeries, metric.Name{}, "", metric.ListingDefault, consistency.Linearizable)
	f("/series?list=series&metric=cpu&limit=7", metric.ListSeries, cpu, "", 7, consistency.Linearizable)
	f("/series?list=metrics&level=none", metric.ListMetrics, metric.Name{}, "", metric.ListingDefault, consistency.None)
	f("/series?list=tag_keys", metric.ListTagKeys, metric.Name{}, "", metric.ListingDefault, consistency.Linearizable)
	f("/series?list=tag_values&key=host&limit=100000&timeout=1s", metric.ListTagValues, metric.Name{}, "host", metric.ListingMax, consistency.Linearizable)
}

func TestGoldenDelete(t *testing.T) {
	rg := newRig(t, nil)
	var tr transcript
	var failure error
	rg.deleter.EXPECT().Delete(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(context.Context, inbound.DeleteRequest) error { return failure })
	f := func(target string, err error) {
		failure = err
		r := request("DELETE", target, "")
		tr.add(r, "", rg.do(r))
	}
	f("/metrics/cpu", nil)
	f("/metrics/cpu?from=2024-08-01T12:00:00Z&to=2024-08-01T13:00:00%2B01:00&timeout=1s", nil)
	f("/metrics/cpu", fault.New(fault.NotFound, "metric_not_found", "m"))
	f("/metrics/cpu", fault.New(fault.Unavailable, "no_leader", "m").WithDetail("shards", []uint32{1}))
	f("/metrics/cpu?from=noon", nil)
	f("/metrics/cpu?from=2024-08-02T12:00:00Z&to=2024-08-01T12:00:00Z", nil)
	f("/metrics/cpu?tag.host=a", nil)
	f("/metrics/a%00b", nil)
	f("/metrics", nil)
	golden(t, "delete.txt", tr.String())
}

func TestDeleteNamesMetricAndRange(t *testing.T) {
	rg := newRig(t, nil)
	f := func(target, name string, from, to *metric.Timestamp) {
		t.Helper()
		want, err := aggregate.NewRange(from, to)
		if err != nil {
			t.Fatal(err)
		}
		rg.deleter.EXPECT().Delete(gomock.Any(), gomock.Any()).DoAndReturn(func(ctx context.Context, req inbound.DeleteRequest) error {
			if req.Metric.String() != name || req.Range != want {
				t.Errorf("%s: asked for %+v, want %s in %v", target, req, name, want)
			}
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > RecordTimeoutMax {
				t.Errorf("%s: no deadline", target)
			}
			return nil
		})
		if w := rg.do(request("DELETE", target, "")); w.Code != http.StatusNoContent || w.Body.Len() > 0 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	at := received
	f("/metrics/cpu", "cpu", nil, nil)
	f("/metrics/a%2Fb?from=2024-08-01T12:00:00Z", "a/b", &at, nil)
	f("/metrics/cpu?to=2024-08-01T14:00:00+02:00", "cpu", nil, &at)
}
