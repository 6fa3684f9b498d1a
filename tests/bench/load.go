package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// loadConnections is how many clients send a load; each sends hosts of its own.
const loadConnections = 4

// heldSamplesMax is how many samples are kept encoded: a larger load is encoded while it is sent, which
// takes from the processors that the servers need, but is not counted as theirs.
const heldSamplesMax = 20_000_000

// encoded is a load that is ready to be sent, any number of times.
type encoded struct {
	shape   workload.Shape
	format  workload.Format
	batches [][]string // of each connection; nil when it is encoded while it is sent
}

func encode(shape workload.Shape, format workload.Format) *encoded {
	e := &encoded{shape: shape, format: format}
	if shape.Samples() > heldSamplesMax {
		return e
	}
	e.batches = make([][]string, loadConnections)
	for i := range e.batches {
		stream := shape.Stream(format, i, loadConnections)
		for body, n := stream.Batch(); n > 0; body, n = stream.Batch() {
			e.batches[i] = append(e.batches[i], body)
		}
	}
	return e
}

// each calls send with the batches of one connection until it fails.
func (e *encoded) each(connection int, send func(body string) error) error {
	if e.batches != nil {
		for _, body := range e.batches[connection] {
			if err := send(body); err != nil {
				return err
			}
		}
		return nil
	}
	stream := e.shape.Stream(e.format, connection, loadConnections)
	for body, n := stream.Batch(); n > 0; body, n = stream.Batch() {
		if err := send(body); err != nil {
			return err
		}
	}
	return nil
}

// loaded says what a load took. Rates and bytes are per sample, times of processors over all nodes.
type loaded struct {
	samples           int
	wall, settling    time.Duration // until the last acknowledgement, and from there until settled
	acked, settled    time.Duration // processor time until then
	data, all         int64         // bytes on disk when settled, without and with the logs
	resident, highest int64
}

func (l loaded) rate() float64           { return float64(l.samples) / l.wall.Seconds() }
func (l loaded) cpuAcked() float64       { return l.acked.Seconds() / float64(l.samples) * 1e6 }
func (l loaded) cpuSettled() float64     { return l.settled.Seconds() / float64(l.samples) * 1e6 }
func (l loaded) bytesASample() float64   { return float64(l.data) / float64(l.samples) }
func (l loaded) withLogASample() float64 { return float64(l.all) / float64(l.samples) }

// send sends the load to a system's nodes in turn and returns when the last batch is acknowledged.
func (e *encoded) send(ctx context.Context, s *system) error {
	path, contentType := "/write", "text/plain; charset=utf-8"
	if e.format == workload.JSON {
		path, contentType = "/metrics", "application/json"
	}
	errs := make([]error, loadConnections)
	var wg sync.WaitGroup
	for i := range loadConnections {
		wg.Go(func() {
			client := node.NewClient(s.urls[i%len(s.urls)], 1)
			defer client.Close()
			errs[i] = e.each(i, func(body string) error {
				return post(ctx, client, path, body, contentType)
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// postsMax bounds how often a batch is sent that the server has no room for yet.
const postsMax = 120

// post sends a batch, and again where the server has no room for it yet, as clients do: a disk that is slower than
// the load holds it up. Line protocol may also be sent again where it is not known what was stored, for a sample
// that comes twice replaces itself.
func post(ctx context.Context, client *node.Client, path, body, contentType string) error {
	for attempt := 1; ; attempt++ {
		a, err := client.Do(ctx, http.MethodPost, path, body, "Content-Type", contentType)
		if err != nil || a.Status/100 == 2 {
			return err
		}
		again := a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable && path == "/write"
		if !again || attempt == postsMax {
			return fmt.Errorf("%s answered %d: %.1000s", path, a.Status, a.Body)
		}
		seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
		if err != nil {
			return fmt.Errorf("%s answered %d, with Retry-After: %w", path, a.Status, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(seconds) * time.Second):
		}
	}
}

// measure sends the load to a fresh system and waits until it is settled.
func (e *encoded) measure(ctx context.Context, o options, s *system) (l loaded, err error) {
	l.samples = e.shape.Samples()
	cpu, began := s.cpu(), time.Now()
	if err := o.profiled(s.name+".load", func() error { return e.send(ctx, s) }); err != nil {
		return l, err
	}
	l.wall, l.acked = time.Since(began), s.cpu()-cpu
	began = time.Now()
	if err := o.profiled(s.name+".settle", func() error { return s.settle(ctx) }); err != nil {
		return l, err
	}
	l.settling, l.settled = time.Since(began), s.cpu()-cpu
	if l.data, l.all, err = s.disk(); err != nil {
		return l, err
	}
	l.resident, l.highest, err = s.memory()
	return l, err
}
