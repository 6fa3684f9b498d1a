package httpapi

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// listings are what GET /series lists, by the name that asks for it, which is also the answer's member.
var listings = map[string]metric.ListingKind{
	"series":     metric.ListSeries,
	"metrics":    metric.ListMetrics,
	"tag_keys":   metric.ListTagKeys,
	"tag_values": metric.ListTagValues,
}

// getSeries answers which series, metrics, tag keys or tag values there are.
func (s *Server) getSeries(x *exchange, r *http.Request, _ map[string]string) error {
	p, err := parseParams(r, "metric", "list", "key", tagPrefix, "limit", "level", "freshness", "timeout")
	if err != nil {
		return err
	}
	list := "series"
	if text, given := p.get("list"); given {
		list = text
	}
	var req inbound.ListRequest
	if req.Listing, err = listing(p, list); err != nil {
		return err
	}
	if req.Requirement, err = p.requirement(); err != nil {
		return err
	}
	ctx, cancel, err := reading(x, r, p, req.Requirement)
	if err != nil {
		return err
	}
	defer cancel()
	listed, err := s.ports.Lister.ListSeries(ctx, req)
	if err != nil {
		return err
	}
	body, err := appendListed(make([]byte, 0, answerBytes), list, listed)
	if err != nil {
		return err
	}
	x.sendJSON(r, http.StatusOK, body)
	return nil
}

func listing(p params, list string) (metric.Listing, error) {
	spec := metric.ListingSpec{Kind: listings[list]}
	spec.Key, _ = p.get("key")
	var err error
	if text, given := p.get("metric"); given {
		if spec.Metric, err = metric.NewName(text); err != nil {
			return metric.Listing{}, fault.Field("metric", "is no metric's name", "1 to 255 bytes of UTF-8 without control characters")
		}
	}
	if spec.Matchers, err = p.matchers(); err != nil {
		return metric.Listing{}, err
	}
	if spec.Limit, err = p.whole("limit", metric.ListingMax); err != nil {
		return metric.Listing{}, err
	}
	return metric.NewListing(spec)
}

// appendListed appends {"<list>":[…],"truncated":…}, series as objects, everything else as strings.
func appendListed(b []byte, list string, listed inbound.Listed) ([]byte, error) {
	b = append(append(append(b, `{"`...), list...), `":[`...)
	for i, item := range listed.Items {
		if i > 0 {
			b = append(b, ',')
		}
		if listings[list] != metric.ListSeries {
			b = appendText(b, item)
			continue
		}
		series, err := metric.ParseSeriesKey(item)
		if err != nil {
			return nil, fmt.Errorf("list series: %w", fault.Wrap(err, fault.Internal, "internal", "a listed series has no canonical key"))
		}
		b = append(b, `{"metric_name":`...)
		b = appendText(b, series.Name().String())
		b = append(b, `,"tags":`...)
		b = appendTags(b, series.Tags().All())
		b = append(b, '}')
	}
	b = append(b, `],"truncated":`...)
	return append(strconv.AppendBool(b, listed.Truncated), '}'), nil
}
