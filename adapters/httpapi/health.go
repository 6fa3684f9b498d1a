package httpapi

import (
	"net/http"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// getLive says that the process answers at all.
func (s *Server) getLive(x *exchange, r *http.Request, _ map[string]string) error {
	x.sendText(r, http.StatusOK, "live")
	return nil
}

// getReady says whether to send requests here. A degraded node still answers for its other shards, and its
// peers are hardly better off, so it stays ready.
func (s *Server) getReady(x *exchange, r *http.Request, _ map[string]string) error {
	status := s.ports.Health.Health(r.Context()).Status
	switch {
	case s.stopping.Load():
		x.sendText(r, http.StatusServiceUnavailable, string(inbound.Stopping))
	case status == inbound.Healthy, status == inbound.Degraded:
		x.sendText(r, http.StatusOK, "ready")
	default:
		x.sendText(r, http.StatusServiceUnavailable, string(status))
	}
	return nil
}

// getHealth describes the node's condition.
func (s *Server) getHealth(x *exchange, r *http.Request, _ map[string]string) error {
	if _, err := parseParams(r); err != nil {
		return err
	}
	h := s.ports.Health.Health(r.Context())
	status := http.StatusOK
	if h.Status != inbound.Healthy {
		status = http.StatusServiceUnavailable
	}
	x.sendJSON(r, status, appendHealth(nil, h))
	return nil
}

// getMetrics shows the node's own metrics.
func (s *Server) getMetrics(x *exchange, r *http.Request, _ map[string]string) error {
	if _, err := parseParams(r); err != nil {
		return err
	}
	s.config.Metrics.ServeHTTP(x, r)
	return nil
}
