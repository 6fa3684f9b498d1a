package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// routeNone is the route of requests that match none.
const routeNone = "none"

// endpoint answers one method of a route. It writes to x or returns an error, which becomes the answer.
type endpoint func(x *exchange, r *http.Request, vars map[string]string) error

// dialect is whose clients a route is for: it decides how they authenticate and in which shape they read errors.
type dialect uint8

const (
	native  dialect = iota
	influx1         // clients of InfluxDB 1.x, and all that write as they do
	influx2         // clients of InfluxDB 2.x
)

// route is a path pattern with what it answers, by method. HEAD is answered wherever GET is.
type route struct {
	methods map[string]endpoint
	open    bool // needs no token, and no room among the requests in flight
	dialect dialect
	quiet   bool // asked by machines every few seconds, so its success is logged for debugging only
}

// route fills the table of all routes.
func (s *Server) route() {
	s.routes = map[string]route{
		"/livez":          {methods: map[string]endpoint{http.MethodGet: s.getLive}, open: true, quiet: true},
		"/readyz":         {methods: map[string]endpoint{http.MethodGet: s.getReady}, open: true, quiet: true},
		"/health":         {methods: map[string]endpoint{http.MethodGet: s.getHealth}, quiet: true},
		"/metrics":        {methods: map[string]endpoint{http.MethodGet: s.getMetrics, http.MethodPost: s.postMetrics}, quiet: true},
		"/metrics/{name}": {methods: map[string]endpoint{http.MethodGet: s.getLatest, http.MethodDelete: s.deleteMetric}},
		"/aggregate":      {methods: map[string]endpoint{http.MethodGet: s.getAggregate}},
		"/series":         {methods: map[string]endpoint{http.MethodGet: s.getSeries}},

		"/write":        {methods: map[string]endpoint{http.MethodPost: s.postLines}, dialect: influx1},
		"/api/v2/write": {methods: map[string]endpoint{http.MethodPost: s.postLines}, dialect: influx2},
		"/query":        {methods: map[string]endpoint{http.MethodGet: s.influxQuery, http.MethodPost: s.influxQuery}, dialect: influx1},
		"/ping":         {methods: map[string]endpoint{http.MethodGet: s.influxPing}, open: true, quiet: true},

		"/cluster":            {methods: map[string]endpoint{http.MethodGet: s.getCluster}},
		"/cluster/nodes":      {methods: map[string]endpoint{http.MethodPost: s.postNode}},
		"/cluster/nodes/{id}": {methods: map[string]endpoint{http.MethodDelete: s.deleteNode}},
		"/cluster/rebalance":  {methods: map[string]endpoint{http.MethodPost: s.postRebalance}},
		"/cluster/retention":  {methods: map[string]endpoint{http.MethodGet: s.getRetention, http.MethodPut: s.putRetention}},
		"/cluster/flush":      {methods: map[string]endpoint{http.MethodPost: s.postFlush}},
		"/cluster/verify":     {methods: map[string]endpoint{http.MethodGet: s.getVerify}},
	}
	// Encoded paths, not cleaned, let a name hold any character: a/b is a%2Fb, and ".." is a name too.
	s.router = mux.NewRouter().UseEncodedPath().SkipClean(true)
	for pattern := range s.routes {
		s.router.Path(pattern).Name(pattern)
	}
}

// match finds the route of a request.
func (s *Server) match(r *http.Request) (pattern string, found route, vars map[string]string) {
	var m mux.RouteMatch
	if !s.router.Match(r, &m) || m.Route == nil {
		return routeNone, route{}, nil
	}
	pattern = m.Route.GetName()
	return pattern, s.routes[pattern], m.Vars
}

// endpoint returns what answers method, or an error that names the methods that are.
func (rt route) endpoint(x *exchange, method string) (endpoint, error) {
	if rt.methods == nil {
		return nil, fault.New(fault.NotFound, "route_not_found",
			"there is nothing at this path; the paths are /health, /metrics, /metrics/{name} (with / in a name sent as %2F), /aggregate, /series, /write, /api/v2/write and /cluster")
	}
	lookup := method
	if method == http.MethodHead {
		lookup = http.MethodGet
	}
	if e, ok := rt.methods[lookup]; ok {
		return e, nil
	}
	allowed := make([]string, 0, len(rt.methods)+1)
	for m := range rt.methods {
		allowed = append(allowed, m)
		if m == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	x.Header().Set("Allow", list)
	return nil, fault.New(fault.Invalid, codeMethodNotAllowed, "the path does not answer this method; use "+list)
}
