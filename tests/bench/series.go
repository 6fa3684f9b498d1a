package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

const (
	manyHosts = 100_000 // a million series
	manyTimes = 2       // of each series: the first sample defines it, the second finds it
	// goalManyMemory is what a million series may take.
	goalManyMemory = 1 << 30
)

// measureSeries loads a million series into one node and tells how much memory it takes then, after a flush
// and after a start on what is stored.
func measureSeries(ctx context.Context, o options, folder string, out io.Writer) (err error) {
	shape := workload.Shape{Hosts: manyHosts, Times: manyTimes, Seed: o.seed, Step: o.step}
	start := startNode
	if o.cpu != "" {
		start = startInside
	}
	s, err := start(ctx, o, folder)
	if err != nil {
		return err
	}
	running := true
	defer func() {
		if running {
			err = errors.Join(err, s.stop())
		}
	}()
	_, _ = fmt.Fprintln(out, "many series\tseries\tsamples/s\tCPU s/million\tRSS MiB\tpeak\tsettled RSS\tpeak\tstart s\tRSS after start\tpeak\tin 1 GiB\t")
	began := time.Now()
	load := encode(shape, workload.Lines)
	if err := o.profiled("series.load", func() error { return load.send(ctx, s) }); err != nil {
		return err
	}
	wall, cpu := time.Since(began), s.cpu()
	now, peak, err := s.memory()
	if err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	settled, settledPeak, err := s.memory()
	if err != nil {
		return err
	}
	if err := o.heap("series"); err != nil {
		return err
	}
	running = false
	if err := s.stop(); err != nil {
		return err
	}
	began = time.Now()
	again, err := start(ctx, o, folder)
	if err != nil {
		return err
	}
	took := time.Since(began)
	defer func() { err = errors.Join(err, again.stop()) }()
	if err := checkLoad(ctx, again, shape); err != nil {
		return err
	}
	after, afterPeak, err := again.memory()
	_, _ = fmt.Fprintf(out, "\t%d\t%.0f\t%.2f\t%d\t%d\t%d\t%d\t%.2f\t%d\t%d\t%s\t\n", shape.Hosts*len(workload.Fields),
		float64(shape.Samples())/wall.Seconds(), cpu.Seconds()/float64(shape.Samples())*1e6, now/mebi, peak/mebi, settled/mebi, settledPeak/mebi,
		took.Seconds(), after/mebi, afterPeak/mebi, yes(max(settledPeak, afterPeak) <= goalManyMemory))
	return err
}

// checkLoad makes sure that all of a load is stored, once.
func checkLoad(ctx context.Context, s *system, shape workload.Shape) error {
	client := node.NewClient(s.urls[0], 1)
	defer client.Close()
	for field := range workload.Fields {
		var a node.Aggregate
		if err := client.Get(ctx, "/aggregate", &a, "metric", workload.MetricName(field), "agg", "count"); err != nil {
			return err
		}
		if got, want := int(*a.Aggregations["count"]), shape.Hosts*shape.Times; got != want {
			return fmt.Errorf("%d samples of %s are stored, want %d", got, workload.MetricName(field), want)
		}
	}
	return nil
}

// goalStart is how long a start after kill -9 may take.
const goalStart = 5 * time.Second

// measureRestart kills a node at the last acknowledgement of a load, when nearly all of it is in the log
// only, and once more when it is settled, and tells how long it takes until it is healthy.
func measureRestart(ctx context.Context, o options, folder string, out io.Writer) error {
	_, _ = fmt.Fprintln(out, "start after kill -9\tsamples\tkilled\thealthy after s\twithin 5 s\t")
	shape := o.shape()
	load := encode(shape, workload.Lines)
	for _, settled := range []bool{false, true} {
		server, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn", fmt.Sprintf("SHARDS=%d", clusterShards))
		if err != nil {
			return err
		}
		s := &system{name: "one node", urls: []string{server.URL}, pids: []int{server.PID()}, told: toldBy(server)}
		when := "at the last acknowledgement"
		if settled {
			when = "when settled"
			err = errors.Join(s.flush(ctx), s.awaitIdle(ctx))
		} else {
			err = load.send(ctx, s)
		}
		server.Kill()
		if err != nil {
			return err
		}
		took, err := timeStart(ctx, o, folder, shape)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "\t%d\t%s\t%.2f\t%s\t\n", shape.Samples(), when, took.Seconds(), yes(took <= goalStart))
	}
	return nil
}

// timeStart starts a node on a load, tells how long it takes until it is healthy, and checks the load.
func timeStart(ctx context.Context, o options, folder string, shape workload.Shape) (time.Duration, error) {
	began := time.Now()
	server, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn", fmt.Sprintf("SHARDS=%d", clusterShards))
	if err != nil {
		return 0, err
	}
	defer server.Kill()
	client := server.NewClient(1)
	defer client.Close()
	if err := fleet.Await(ctx, startDurationMax, func(ctx context.Context) error {
		a, err := client.Do(ctx, http.MethodGet, "/health", "")
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("/health answered %d: %s", a.Status, a.Body)
		}
		return err
	}); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, checkLoad(ctx, &system{urls: []string{server.URL}}, shape)
}
