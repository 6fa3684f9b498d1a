package httpapi

import (
	"net/http"
	"net/url"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// deleteMetric forgets a metric's samples, all or those of a range.
func (s *Server) deleteMetric(x *exchange, r *http.Request, vars map[string]string) error {
	p, err := parseParams(r, "from", "to", "timeout")
	if err != nil {
		return err
	}
	var req inbound.DeleteRequest
	if req.Metric, err = nameInPath(vars["name"]); err != nil {
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
	if req.Range, err = aggregate.NewRange(from, to); err != nil {
		return err
	}
	timeout, err := p.timeout()
	if err != nil {
		return err
	}
	ctx, cancel := bounded(r, timeout, RecordTimeoutMax)
	defer cancel()
	if err := s.ports.Deleter.Delete(ctx, req); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// nameInPath reads a metric's name from an encoded segment of the path.
func nameInPath(encoded string) (metric.Name, error) {
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return metric.Name{}, fault.Field("metric_name", "has a broken escape in the path", "%XX with two hexadecimal digits")
	}
	return metric.NewName(text)
}
