package httpapi

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/samplejson"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// bufferKeptBytesMax bounds a body's buffer that is kept for the next write.
const bufferKeptBytesMax = 4 << 20

// writeScratch is what one write needs room for.
type writeScratch struct {
	decoder *samplejson.Decoder
	text    bytes.Buffer
}

// postMetrics stores samples: one, an array, or one a line.
func (s *Server) postMetrics(x *exchange, r *http.Request, _ map[string]string) error {
	p, err := parseParams(r, "timeout")
	if err != nil {
		return err
	}
	timeout, err := p.timeout()
	if err != nil {
		return err
	}
	scratch, ok := s.writes.Get().(*writeScratch)
	if !ok {
		panic("the pool of writes holds something else")
	}
	defer s.putScratch(scratch)
	req, many, err := s.readWrite(r, scratch)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(r, timeout, RecordTimeoutMax)
	defer cancel()
	reply, err := s.ports.Recorder.Record(ctx, req)
	if err != nil {
		return err
	}
	s.config.Observer.SamplesRecorded(reply.Stored)
	if many {
		answer := strconv.AppendInt([]byte(`{"stored":`), int64(reply.Stored), 10)
		x.sendJSON(r, http.StatusCreated, append(answer, '}'))
		return nil
	}
	x.sendJSON(r, http.StatusCreated, appendSample(make([]byte, 0, answerBytes), req.Observations[0].At(reply.Received)))
	return nil
}

func (s *Server) putScratch(scratch *writeScratch) {
	scratch.decoder.Reset()
	if scratch.text.Cap() > bufferKeptBytesMax {
		scratch.text = bytes.Buffer{}
	}
	scratch.text.Reset()
	s.writes.Put(scratch)
}

// readWrite reads and decodes a write's body, within the room for bodies. The observations live in scratch.
func (s *Server) readWrite(r *http.Request, scratch *writeScratch) (req inbound.RecordRequest, many bool, err error) {
	lines, err := isLines(r.Header)
	if err != nil {
		return req, false, err
	}
	if req.Idempotency, err = idempotency(r.Header); err != nil {
		return req, false, err
	}
	b, err := openBody(r, s.bodyBytes, req.Idempotency != nil, "")
	if err != nil {
		return req, false, err
	}
	defer b.close()
	req.Observations, many, err = decodeBody(b, scratch, lines, r.ContentLength)
	if err == nil && req.Idempotency != nil {
		req.Idempotency.Digest = b.digest()
	}
	return req, many, err
}

// decodeBody reads b to its end.
func decodeBody(b *body, scratch *writeScratch, lines bool, length int64) (observations []metric.Observation, many bool, err error) {
	if lines {
		observations, err = scratch.decoder.DecodeLines(b)
		if err != nil {
			return nil, true, readFault(err)
		}
		return observations, true, nil
	}
	if length > 0 {
		// ReadFrom wants room to spare to see the end without growing.
		scratch.text.Grow(int(length) + bytes.MinRead)
	}
	if _, err := scratch.text.ReadFrom(b); err != nil {
		return nil, false, readFault(err)
	}
	return scratch.decoder.Decode(scratch.text.Bytes())
}
