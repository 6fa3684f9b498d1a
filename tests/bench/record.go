package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// measureRecord gives decoded batches to the ingest use case of a node in this process, with its Raft log
// and DuckDB files on disk, and then asks over HTTP whether all of it is there.
func measureRecord(ctx context.Context, o options, folder string, out io.Writer) (err error) {
	_, _ = fmt.Fprintln(out, "decoded batches into Record\tsamples\tsamples/s\tCPU s/million\tpeak RSS MiB\tp50\t")
	n, err := runInside(ctx, &tail{}, map[string]string{"DATA_DIR": folder, "PORT": "0", "LOG_LEVEL": "warn"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	cpu, began := processCPU(), time.Now()
	batches := o.samples() / batchSamples / batchClients
	var latencies [][]time.Duration
	if err := o.profiled("record", func() error {
		latencies, err = record(ctx, n.Recorder(), batches)
		return err
	}); err != nil {
		return err
	}
	elapsed := time.Since(began)
	cpu = processCPU() - cpu
	samples := batches * batchSamples * batchClients
	if err := checkCount(ctx, &node.Process{URL: n.url()}, samples); err != nil {
		return err
	}
	_, peak, err := node.MemoryOf(os.Getpid())
	_, _ = fmt.Fprintf(out, "\t%d\t%.0f\t%.2f\t%d\t%v\t\n", samples, float64(samples)/elapsed.Seconds(),
		cpu.Seconds()/float64(samples)*1e6, peak>>20, median(latencies))
	return err
}

// record lets every client send its batches and returns how long each took.
func record(ctx context.Context, recorder inbound.Recorder, batches int) ([][]time.Duration, error) {
	latencies := make([][]time.Duration, batchClients)
	errs := make([]error, batchClients)
	var wg sync.WaitGroup
	for i := range batchClients {
		wg.Go(func() {
			series, err := seriesOf(i)
			if err != nil {
				errs[i] = err
				return
			}
			values := make([][]float64, len(series))
			for s := range values {
				values[s] = walk(i, s)
			}
			observations := make([]metric.Observation, 0, batchSamples)
			for n := 0; n < batches && errs[i] == nil; n++ {
				observations, errs[i] = observe(observations[:0], series, values, n)
				if errs[i] != nil {
					return
				}
				sent := time.Now()
				_, errs[i] = recorder.Record(ctx, inbound.RecordRequest{Observations: observations})
				latencies[i] = append(latencies[i], time.Since(sent))
			}
		})
	}
	wg.Wait()
	return latencies, errors.Join(errs...)
}

// seriesOf builds the series that the JSON template of the client names.
func seriesOf(client int) ([]metric.Series, error) {
	var all []metric.Series
	for m := range batchMetrics {
		name, err := metric.NewName(fmt.Sprintf("metric_%d", m))
		if err != nil {
			return nil, err
		}
		for h := range batchHosts {
			tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: fmt.Sprintf("host-%d-%d", client, h)}})
			if err != nil {
				return nil, err
			}
			s, err := metric.NewSeries(name, tags)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// observe fills the n-th batch: batchTimes samples of every series.
func observe(into []metric.Observation, series []metric.Series, values [][]float64, n int) ([]metric.Observation, error) {
	for i, s := range series {
		for k, value := range values[i] {
			at, err := metric.TimestampOf(observedAt(n, k))
			if err != nil {
				return nil, err
			}
			o, err := metric.NewObservationAt(s, at, value)
			if err != nil {
				return nil, err
			}
			into = append(into, o)
		}
	}
	return into, nil
}

// processCPU returns the processor time that this process used so far.
func processCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func median(latencies [][]time.Duration) time.Duration {
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return all[len(all)/2].Round(10 * time.Microsecond)
}
