package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// Limits of the API. They are part of what is documented.
const (
	// BodyBytesMax bounds a request's body, as sent and again after decompression.
	BodyBytesMax = 16 << 20
	// HeaderBytesMax bounds a request's line and headers.
	HeaderBytesMax = 16 << 10
	// ReadTimeoutMax is how long a request may take to arrive.
	ReadTimeoutMax = 30 * time.Second
	// RecordTimeoutMax is how long a write may take once its body is read.
	RecordTimeoutMax = 4 * time.Second
	// QueryTimeoutMax is how long a read may take.
	QueryTimeoutMax = 30 * time.Second
	// AdminTimeoutDefault is how long an administrative request may take that names no timeout; one to
	// flush and merge has AdminTimeoutMax.
	AdminTimeoutDefault = time.Minute
	// AdminTimeoutMax bounds the timeout that an administrative request may name.
	AdminTimeoutMax = 15 * time.Minute
)

// Defaults of Config, and times that nothing configures.
const (
	ConnectionsMaxDefault       = 4096
	RequestsInFlightMaxDefault  = 1024
	BodyBytesInFlightMaxDefault = 128 << 20
	ShutdownTimeoutDefault      = 10 * time.Second

	readHeaderTimeout = 5 * time.Second
	// writeTimeout counts from the end of the headers, so it covers reading the body, the longest
	// query and sending the answer.
	writeTimeout = ReadTimeoutMax + QueryTimeoutMax + 15*time.Second
	idleTimeout  = time.Minute
	// adminMargin is what sending an administrative answer may take.
	adminMargin = 15 * time.Second
)

// NodeLinkPath is where Config.NodeLink is served.
const NodeLinkPath = "/internal/link"

// Ports are the use cases behind the API.
type Ports struct {
	Recorder   inbound.Recorder
	Latest     inbound.LatestReader
	Aggregator inbound.Aggregator
	Lister     inbound.SeriesLister
	Deleter    inbound.Deleter
	Health     inbound.HealthReporter
	Cluster    inbound.ClusterObserver
	Membership inbound.MembershipAdmin
	Retention  inbound.RetentionAdmin
	Storage    inbound.StorageAdmin
}

// complete reports whether every port is there.
func (p Ports) complete() bool {
	return p.Recorder != nil && p.Deleter != nil && p.Lister != nil && p.Latest != nil && p.Aggregator != nil && p.Health != nil &&
		p.Cluster != nil && p.Membership != nil && p.Retention != nil && p.Storage != nil
}

// Observer hears what the server does. Its methods are called concurrently and must not block.
type Observer interface {
	// RequestDone is called after each answer. method is one of HTTP's or "other", route the pattern
	// of a route or "none": both are of few values, never a client's text.
	RequestDone(method, route string, status int, bytesSent int64, duration time.Duration)
	// SamplesRecorded is called after each successful write with the number of samples it stored.
	SamplesRecorded(samples int)
	// StringFieldsSkipped is called after each successful write in line protocol that held string fields,
	// with their number.
	StringFieldsSkipped(fields int)
}

// Config says how to serve. Zero fields without a note take the default of the same name.
type Config struct {
	// Tokens are the bearer tokens that give access; at least one, none empty.
	Tokens []string
	// Metrics answers GET /metrics; required.
	Metrics http.Handler
	// NodeLink serves NodeLinkPath without a client's token, because it authenticates nodes by itself,
	// and without the limits on requests. Nil: there is no such path.
	NodeLink http.Handler
	// Observer may be nil.
	Observer Observer
	// Logger takes the access log.
	Logger zerolog.Logger
	// ConnectionsMax bounds the open connections that are not links; further ones wait to be accepted.
	ConnectionsMax int
	// RequestsInFlightMax bounds requests being answered; further ones get 429.
	RequestsInFlightMax int
	// BodyBytesInFlightMax bounds what the bodies of all writes being read may take; more gets 429.
	BodyBytesInFlightMax int64
	// DrainWait is how long a stopping server still takes connections while /readyz says that it
	// stops, for load balancers to notice. Zero: none.
	DrainWait time.Duration
	// ShutdownTimeout bounds how long a stopping server waits for requests in flight.
	ShutdownTimeout time.Duration
}

func (c *Config) fill() error {
	if len(c.Tokens) == 0 {
		return errors.New("http api: no token given")
	}
	for i, token := range c.Tokens {
		if token == "" {
			return fmt.Errorf("http api: token %d is empty", i)
		}
	}
	if c.Metrics == nil {
		return errors.New("http api: no handler for GET /metrics given")
	}
	if c.Observer == nil {
		c.Observer = noObserver{}
	}
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = ConnectionsMaxDefault
	}
	if c.RequestsInFlightMax == 0 {
		c.RequestsInFlightMax = RequestsInFlightMaxDefault
	}
	if c.BodyBytesInFlightMax == 0 {
		c.BodyBytesInFlightMax = BodyBytesInFlightMaxDefault
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = ShutdownTimeoutDefault
	}
	switch {
	case c.ConnectionsMax < 0, c.RequestsInFlightMax < 0, c.DrainWait < 0, c.ShutdownTimeout < 0:
		return errors.New("http api: a limit is negative")
	case c.BodyBytesInFlightMax < BodyBytesMax:
		return errors.New("http api: BodyBytesInFlightMax leaves no room for one body")
	}
	return nil
}

type noObserver struct{}

func (noObserver) RequestDone(string, string, int, int64, time.Duration) {}

func (noObserver) SamplesRecorded(int) {}

func (noObserver) StringFieldsSkipped(int) {}
