package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// ServeHTTP answers one request, whatever comes: matched, authorised, admitted, answered, logged, observed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.config.NodeLink != nil && r.URL.Path == NodeLinkPath {
		s.config.NodeLink.ServeHTTP(w, r)
		return
	}
	began := time.Now()
	pattern, found, vars := s.match(r)
	x := &exchange{ResponseWriter: w, route: pattern, dialect: found.dialect, id: s.ids.of(r)}
	x.Header().Set(headerRequestID, x.id)
	defer s.finish(x, r, found, began)
	if err := s.answer(x, r, found, vars); err != nil {
		x.sendFault(r, err)
	}
}

// answer is ServeHTTP without what must happen on any way out.
func (s *Server) answer(x *exchange, r *http.Request, found route, vars map[string]string) error {
	countMax := s.config.RequestsInFlightMax
	if found.open {
		countMax = -1
	} else if !s.tokens.allow(r, found.dialect) {
		x.Header().Set("WWW-Authenticate", `Bearer realm="raftmetrics"`)
		return unauthenticated(found.dialect)
	}
	if !s.requests.enter(countMax) {
		return ErrTooManyRequests
	}
	defer s.requests.leave()
	answer, err := found.endpoint(x, r.Method)
	if err != nil {
		return err
	}
	return answer(x, r, vars)
}

// finish turns a panic into an answer and tells the log and the observer what happened.
func (s *Server) finish(x *exchange, r *http.Request, found route, began time.Time) {
	recovered := recover()
	if err, ok := recovered.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(recovered)
	}
	if recovered != nil {
		s.config.Logger.Error().Str("request_id", x.id).Str("panic", fmt.Sprint(recovered)).
			Str("stack", string(debug.Stack())).Msg("request panicked")
		if x.status != 0 { // part of another answer is out: only a cut tells the client
			panic(http.ErrAbortHandler)
		}
		x.sendFault(r, fault.New(fault.Internal, "internal", "panicked"))
	}
	if x.status == 0 { // an endpoint that wrote nothing sent an empty 200
		x.status = http.StatusOK
	}
	duration := time.Since(began)
	s.logAccess(x, r, found, duration)
	s.config.Observer.RequestDone(methodLabel(r.Method), x.route, x.status, x.sent, duration)
}

// logAccess writes one line a request. It holds nothing of the query string or the credentials.
func (s *Server) logAccess(x *exchange, r *http.Request, found route, duration time.Duration) {
	level := zerolog.InfoLevel
	switch {
	case x.status == http.StatusInternalServerError:
		level = zerolog.ErrorLevel
	case x.status > http.StatusInternalServerError:
		level = zerolog.WarnLevel
	case found.quiet && r.Method != http.MethodPost && x.status < http.StatusBadRequest:
		level = zerolog.DebugLevel
	}
	event := s.config.Logger.WithLevel(level).Str("request_id", x.id).Str("method", methodLabel(r.Method)).Str("route", x.route).Int("status", x.status).
		Int64("bytes", x.sent).Dur("duration_ms", duration).Str("remote", r.RemoteAddr)
	if x.fault != nil {
		event = event.Str("code", x.fault.Code())
		if x.status >= http.StatusInternalServerError {
			event = event.AnErr("error", x.fault)
		}
	}
	event.Msg("request")
}

// methodLabel keeps the methods that a client makes up out of logs and metrics.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// bounded returns the request's context with a deadline: timeoutMax from now, or sooner if asked.
func bounded(r *http.Request, asked, timeoutMax time.Duration) (context.Context, context.CancelFunc) {
	if asked > 0 {
		timeoutMax = min(timeoutMax, asked)
	}
	return context.WithTimeout(r.Context(), timeoutMax)
}
