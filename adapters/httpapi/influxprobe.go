package httpapi

import (
	"net/http"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

const (
	// influxVersion tells clients which of their protocols are spoken; some refuse a server without one.
	influxVersion = "1.8.0-raftmetrics"
	// influxQueryBytesMax bounds the form that a query is sent as.
	influxQueryBytesMax = 64 << 10
)

// influxPing answers what Influx clients ask to see whether there is a server. It tells no more than /livez.
func (s *Server) influxPing(x *exchange, _ *http.Request, _ map[string]string) error {
	x.Header().Set("X-Influxdb-Version", influxVersion)
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// influxQuery answers the one statement that clients send before they write. There are no databases here, so
// there is nothing to do.
func (s *Server) influxQuery(x *exchange, r *http.Request, _ map[string]string) error {
	r.Body = http.MaxBytesReader(x, r.Body, influxQueryBytesMax)
	if err := r.ParseForm(); err != nil {
		return fault.New(fault.Invalid, "invalid_query", "the form that holds the query cannot be read; send q= in the query string, or as application/x-www-form-urlencoded").WithCause(err)
	}
	words := strings.Fields(r.Form.Get("q"))
	if len(words) < 3 || !strings.EqualFold(words[0], "CREATE") || !strings.EqualFold(words[1], "DATABASE") {
		return fault.New(fault.Invalid, "unsupported_statement",
			"InfluxQL is not answered here, but for CREATE DATABASE, which does nothing; read with GET /aggregate and GET /metrics/{name}")
	}
	x.sendJSON(r, http.StatusOK, []byte(`{"results":[{"statement_id":0}]}`))
	return nil
}
