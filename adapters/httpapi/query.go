package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// headerLevel tells how up to date an answer is. It goes out in this spelling, not in Go's canonical one.
const headerLevel = "X-RaftMetrics-Level"

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
	timeout, err := p.timeout()
	if err != nil {
		return err
	}
	ctx, cancel := bounded(r, timeout, QueryTimeoutMax)
	defer cancel()
	x.Header()[headerLevel] = []string{req.Requirement.String()}
	sample, err := s.ports.Latest.Latest(ctx, req)
	if err != nil {
		return err
	}
	x.sendJSON(r, http.StatusOK, appendSample(make([]byte, 0, answerBytes), sample))
	return nil
}

func latestRequest(p params, encodedName string) (req inbound.LatestRequest, err error) {
	text, err := url.PathUnescape(encodedName)
	if err != nil {
		return req, fault.Field("metric_name", "has a broken escape in the path", "%XX with two hexadecimal digits")
	}
	if req.Metric, err = metric.NewName(text); err != nil {
		return req, err
	}
	if req.Matchers, err = p.matchers(); err != nil {
		return req, err
	}
	req.Requirement, err = p.requirement()
	return req, err
}

// getAggregate answers values of functions over a metric's samples.
func (s *Server) getAggregate(x *exchange, r *http.Request, _ map[string]string) error {
	p, err := parseParams(r, "metric", "from", "to", "agg", "window", "fill", tagPrefix, "group_by", "level", "freshness", "timeout")
	if err != nil {
		return err
	}
	req, err := aggregateRequest(p)
	if err != nil {
		return err
	}
	timeout, err := p.timeout()
	if err != nil {
		return err
	}
	ctx, cancel := bounded(r, timeout, QueryTimeoutMax)
	defer cancel()
	x.Header()[headerLevel] = []string{req.Requirement.String()}
	answer, err := s.ports.Aggregator.Aggregate(ctx, req)
	if err != nil {
		return err
	}
	x.sendJSON(r, http.StatusOK, appendAnswer(make([]byte, 0, answerBytes), answer))
	return nil
}

func aggregateRequest(p params) (req inbound.AggregateRequest, err error) {
	spec, err := querySpec(p)
	if err != nil {
		return req, err
	}
	if req.Query, err = aggregate.NewQuery(spec); err != nil {
		return req, err
	}
	req.Functions = aggregate.DefaultFunctions()
	if text, given := p.values["agg"]; given {
		if req.Functions, err = aggregate.ParseFunctions(text); err != nil {
			return req, err
		}
	}
	if text, given := p.values["fill"]; given {
		if spec.Window.IsZero() {
			return req, fault.Field("fill", "is given without window", "window= beside it")
		}
		if req.Fill, err = aggregate.ParseFill(text); err != nil {
			return req, err
		}
	}
	req.Requirement, err = p.requirement()
	return req, err
}

// querySpec reads what the query is about.
func querySpec(p params) (spec aggregate.QuerySpec, err error) {
	name, given := p.values["metric"]
	if !given {
		return spec, fault.Field("metric", "is missing", "the name of a metric")
	}
	if spec.Metric, err = metric.NewName(name); err != nil {
		return spec, fault.Field("metric", "is no metric's name", "1 to 255 bytes of UTF-8 without control characters")
	}
	if spec.Matchers, err = p.matchers(); err != nil {
		return spec, err
	}
	from, err := p.timestamp("from")
	if err != nil {
		return spec, err
	}
	to, err := p.timestamp("to")
	if err != nil {
		return spec, err
	}
	if spec.Range, err = aggregate.NewRange(from, to); err != nil {
		return spec, err
	}
	if text, given := p.values["window"]; given {
		if spec.Window, err = aggregate.ParseWindow(text); err != nil {
			return spec, err
		}
	}
	if text, given := p.values["group_by"]; given {
		spec.GroupBy = strings.Split(text, ",")
	}
	return spec, nil
}
