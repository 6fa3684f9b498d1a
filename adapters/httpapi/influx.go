package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/lineprotocol"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

const (
	// headerSkipped tells of string fields that a write left out. It goes out in this spelling.
	headerSkipped = "X-RaftMetrics-Skipped"
	// skippedBytesMax bounds that header's value.
	skippedBytesMax = 512
)

// influxIgnored are parameters that Influx clients send and that mean nothing here.
var influxIgnored = []string{"db", "rp", "org", "orgID", "bucket", "consistency", "u", "p"}

// postLines stores samples in Influx line protocol.
func (s *Server) postLines(x *exchange, r *http.Request, _ map[string]string) error {
	p, err := parseParams(r, append([]string{"precision", "strings", "timeout"}, influxIgnored...)...)
	if err != nil {
		return err
	}
	options, err := lineOptions(p)
	if err != nil {
		return err
	}
	timeout, err := p.timeout()
	if err != nil {
		return err
	}
	decoder, ok := s.lineDecoders.Get().(*lineprotocol.Decoder)
	if !ok {
		panic("the pool of decoders holds something else")
	}
	defer func() {
		decoder.Reset()
		s.lineDecoders.Put(decoder)
	}()
	req, skipped, err := s.readLines(r, decoder, options)
	if err != nil {
		return err
	}
	if len(req.Observations) > 0 {
		ctx, cancel := bounded(r, timeout, RecordTimeoutMax)
		defer cancel()
		reply, err := s.ports.Recorder.Record(ctx, req)
		if err != nil {
			return err
		}
		s.config.Observer.SamplesRecorded(reply.Stored)
	}
	if skipped.Fields > 0 {
		s.config.Observer.StringFieldsSkipped(skipped.Fields)
		x.Header()[headerSkipped] = []string{skippedText(skipped)}
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

func lineOptions(p params) (options lineprotocol.Options, err error) {
	precision, _ := p.get("precision")
	if options.Precision, err = lineprotocol.ParsePrecision(precision); err != nil {
		return options, err
	}
	switch what, _ := p.get("strings"); what {
	case "", "skip":
	case "error":
		options.RefuseStrings = true
	default:
		return options, fault.Field("strings", "is unknown", "error or skip (the default)")
	}
	return options, nil
}

// readLines reads and decodes a write's body, within the room for bodies. The observations live in decoder.
func (s *Server) readLines(r *http.Request, decoder *lineprotocol.Decoder, options lineprotocol.Options) (
	req inbound.RecordRequest, skipped lineprotocol.Skipped, err error,
) {
	if req.Idempotency, err = idempotency(r.Header); err != nil {
		return req, skipped, err
	}
	meaning := "line protocol\x00" + options.Precision.String() + "\x00" + strconv.FormatBool(options.RefuseStrings) + "\x00"
	b, err := openBody(r, s.bodyBytes, req.Idempotency != nil, meaning)
	if err != nil {
		return req, skipped, err
	}
	defer b.close()
	req.Replace = true
	if req.Observations, skipped, err = decoder.Decode(b, options); err != nil {
		return req, skipped, readFault(err)
	}
	if req.Idempotency != nil {
		req.Idempotency.Digest = b.digest()
	}
	return req, skipped, nil
}

// skippedText is the number of string fields and the metrics that the first of them would belong to, escaped
// as in URLs so that any name fits a header.
func skippedText(skipped lineprotocol.Skipped) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(skipped.Fields))
	for i, name := range skipped.Names {
		escaped := url.PathEscape(name)
		if b.Len()+len(escaped) > skippedBytesMax-len("; …") {
			break
		}
		b.WriteString([]string{"; ", ", "}[min(i, 1)] + escaped)
	}
	return b.String()
}

// influxCodes are the codes by which clients of version 2 tell errors apart.
var influxCodes = map[int]string{
	http.StatusBadRequest:            "invalid",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not found",
	http.StatusMethodNotAllowed:      "method not allowed",
	http.StatusConflict:              "conflict",
	http.StatusRequestEntityTooLarge: "request too large",
	http.StatusUnsupportedMediaType:  "invalid",
	http.StatusUnprocessableEntity:   "unprocessable entity",
	http.StatusTooManyRequests:       "too many requests",
	http.StatusServiceUnavailable:    "unavailable",
}

// appendInfluxFault appends an error that clients of both versions read: version 2 takes code and message,
// version 1 takes error. The code of this system is reason, and its details are members as everywhere.
func appendInfluxFault(b []byte, e *fault.Error, message string) []byte {
	code, known := influxCodes[StatusOf(e)]
	if !known {
		code = "internal error"
	}
	b = append(b, `{"code":`...)
	b = appendText(b, code)
	b = append(b, `,"message":`...)
	b = appendText(b, message)
	b = append(b, `,"error":`...)
	b = appendText(b, message)
	b = append(b, `,"reason":`...)
	b = appendText(b, e.Code())
	return append(appendDetails(b, e, "code", "message", "error", "reason"), '}')
}
