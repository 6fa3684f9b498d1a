package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// headerLevel tells how up to date an answer is. It goes out in this spelling, not in Go's canonical one.
const headerLevel = "X-RaftMetrics-Level"

// reading begins an answer of stored samples: it bounds the time as the parameters ask and tells how up to
// date the answer is.
func reading(x *exchange, r *http.Request, p params, need consistency.Requirement) (context.Context, context.CancelFunc, error) {
	timeout, err := p.timeout()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := bounded(r, timeout, QueryTimeoutMax)
	x.Header()[headerLevel] = []string{need.String()}
	return ctx, cancel, nil
}

// getLatest answers a metric's newest sample.
func (s *Server) getLatest(x *exchange, r *http.Request, vars map[string]string) error {
	p, err := parseParams(r, tagPrefix, "level", "freshness", "timeout")
	if err != nil {
		return err
	}
	req, err := latestRequest(p, vars["name"])
	if err != nil {
		return err
	}
	ctx, cancel, err := reading(x, r, p, req.Requirement)
	if err != nil {
		return err
	}
	defer cancel()
	sample, err := s.ports.Latest.Latest(ctx, req)
	if err != nil {
		return err
	}
	x.sendJSON(r, http.StatusOK, appendSample(make([]byte, 0, answerBytes), sample))
	return nil
}

func latestRequest(p params, encodedName string) (req inbound.LatestRequest, err error) {
	if req.Metric, err = nameInPath(encodedName); err != nil {
		return req, err
	}
	if req.Matchers, err = p.matchers(); err != nil {
		return req, err
	}
	req.Requirement, err = p.requirement()
	return req, err
}

// aggregateParams are the parameters of GET /aggregate.
var aggregateParams = []string{
	"metric" + repeatable, "from", "to", "agg", "where", "window", "fill", tagPrefix, "group_by", "top", "bottom", "limit", "approx",
	"level", "freshness", "timeout",
}

const (
	// MetricsMax bounds the metrics of one question.
	MetricsMax = 20
	// metricsAtOnce bounds how many of them are computed at once.
	metricsAtOnce = 4
)

// getAggregate answers values of functions over the samples of a metric, or of several, one by one.
func (s *Server) getAggregate(x *exchange, r *http.Request, _ map[string]string) error {
	p, err := parseParams(r, aggregateParams...)
	if err != nil {
		return err
	}
	names := p.all("metric")
	if len(names) > MetricsMax {
		return fault.Field("metric", "is given "+strconv.Itoa(len(names))+" times", "at most "+strconv.Itoa(MetricsMax))
	}
	requests, err := aggregateRequests(p, names)
	if err != nil {
		return err
	}
	ctx, cancel, err := reading(x, r, p, requests[0].Requirement)
	if err != nil {
		return err
	}
	defer cancel()
	if len(requests) == 1 {
		answer, err := s.ports.Aggregator.Aggregate(ctx, requests[0])
		if err != nil {
			return err
		}
		x.sendJSON(r, http.StatusOK, appendAnswer(make([]byte, 0, roomFor(answer)), answer))
		return nil
	}
	answers, err := s.aggregateAll(ctx, requests)
	if err != nil {
		return err
	}
	x.sendJSON(r, http.StatusOK, appendAnswers(make([]byte, 0, len(answers)*roomFor(answers[0])), answers))
	return nil
}

// aggregateAll answers every request, a few at once, or none: of several errors the one of the first in
// order, unless it only tells that another ended the rest.
func (s *Server) aggregateAll(ctx context.Context, requests []inbound.AggregateRequest) ([]aggregate.Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers, errs := make([]aggregate.Answer, len(requests)), make([]error, len(requests))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(requests); i = int(next.Add(1)) - 1 {
			if answers[i], errs[i] = s.ports.Aggregator.Aggregate(ctx, requests[i]); errs[i] != nil {
				cancel()
				return
			}
		}
	}
	var others sync.WaitGroup
	for range min(metricsAtOnce, len(requests)) - 1 {
		others.Go(work)
	}
	work() // this goroutine would only wait
	others.Wait()
	var first error
	for _, err := range errs {
		if err != nil && (first == nil || fault.KindOf(first) == fault.Canceled && fault.KindOf(err) != fault.Canceled) {
			first = err
		}
	}
	return answers, first
}

// aggregateRequests reads one question about each of the metrics names, which are alike but for that.
func aggregateRequests(p params, names []string) ([]inbound.AggregateRequest, error) {
	if len(names) == 0 {
		return nil, fault.Field("metric", "is missing", "the name of a metric")
	}
	requests := make([]inbound.AggregateRequest, len(names))
	var spec aggregate.QuerySpec
	for i, name := range names {
		var err error
		if spec.Metric, err = metric.NewName(name); err != nil {
			return nil, fault.Field("metric", "is no metric's name", "1 to 255 bytes of UTF-8 without control characters")
		}
		if i == 0 {
			if requests[0], err = aggregateRequest(p, &spec); err != nil {
				return nil, err
			}
			continue
		}
		requests[i] = requests[0]
		if requests[i].Query, err = aggregate.NewQuery(spec); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// aggregateRequest reads the question about the metric in spec, which it completes.
func aggregateRequest(p params, spec *aggregate.QuerySpec) (req inbound.AggregateRequest, err error) {
	if err := readSpec(p, spec); err != nil {
		return req, err
	}
	if req.Query, err = aggregate.NewQuery(*spec); err != nil {
		return req, err
	}
	req.Functions = aggregate.DefaultFunctions()
	if text, given := p.get("agg"); given {
		if req.Functions, err = aggregate.ParseFunctions(text); err != nil {
			return req, err
		}
	}
	if text, given := p.get("fill"); given {
		if spec.Window.IsZero() {
			return req, fault.Field("fill", "is given without window", "window= beside it")
		}
		if req.Fill, err = aggregate.ParseFill(text); err != nil {
			return req, err
		}
	}
	if err := chooseGroups(p, &req); err != nil {
		return req, err
	}
	if text, given := p.get("approx"); given {
		if text != "0" && text != "1" {
			return req, fault.Field("approx", "is "+strconv.Quote(text), "1 for approximate quantiles, or 0")
		}
		req.Approximate = text == "1"
	}
	req.Requirement, err = p.requirement()
	return req, err
}

// chooseGroups reads which groups the answer has.
func chooseGroups(p params, req *inbound.AggregateRequest) (err error) {
	for _, name := range []string{"top", "bottom", "limit"} {
		n, err := p.whole(name, aggregate.GroupsMax)
		switch {
		case err != nil:
			return err
		case n == 0:
			continue
		case len(req.Query.GroupBy()) == 0:
			return fault.Field(name, "is given without group_by", "group_by= beside it")
		case name == "limit":
			req.Limit = n
			continue
		case req.Ranking != nil:
			return fault.Field(name, "is given beside top", "one of them")
		}
		ranking, err := aggregate.NewRanking(name, n, name == "bottom")
		if err != nil {
			return err
		}
		req.Ranking = &ranking
	}
	return nil
}

// readSpec reads what the query is about besides the metric.
func readSpec(p params, spec *aggregate.QuerySpec) (err error) {
	if spec.Matchers, err = p.matchers(); err != nil {
		return err
	}
	from, err := p.timestamp("from")
	if err != nil {
		return err
	}
	to, err := p.timestamp("to")
	if err != nil {
		return err
	}
	if spec.Range, err = aggregate.NewRange(from, to); err != nil {
		return err
	}
	if text, given := p.get("window"); given {
		if spec.Window, err = aggregate.ParseWindow(text); err != nil {
			return err
		}
	}
	if text, given := p.get("where"); given {
		if spec.Where, err = aggregate.ParseWhere(text); err != nil {
			return err
		}
	}
	if text, given := p.get("group_by"); given {
		spec.GroupBy = strings.Split(text, ",")
	}
	return nil
}
