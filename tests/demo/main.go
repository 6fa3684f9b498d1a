// Command demo shows the main job on real data: it starts a server on a free port in a temporary
// directory, loads the cloud metrics under tests/testdata/nab, prints aggregates, and stops.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/nab"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

const (
	batchSamples = 1000
	windowsShown = 8
)

func main() {
	binary := flag.String("binary", "bin/raftmetrics", "the server to run")
	data := flag.String("data", "tests/testdata/nab", "folder of the CSV files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *binary, *data, os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, data string, out io.Writer) (err error) {
	series, err := nab.Load(data)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "raftmetrics-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	began := time.Now()
	server, err := node.Start(ctx, binary, folder)
	if err != nil {
		return err
	}
	defer server.Kill() // does nothing after the orderly stop below
	_, _ = fmt.Fprintf(out, "A server is ready at %s after %v.\n\n", server.URL, time.Since(began).Round(time.Millisecond))

	client := server.NewClient(1)
	defer client.Close()
	if err := load(ctx, client, series, out); err != nil {
		return err
	}
	if err := showAggregates(ctx, client, series, out); err != nil {
		return err
	}
	if err := showWindows(ctx, client, series[0], out); err != nil {
		return err
	}
	code, err := server.Stop()
	if err == nil && code != 0 {
		err = fmt.Errorf("the server ended with exit code %d:\n%s", code, server.Log())
	}
	if err == nil {
		_, err = fmt.Fprintln(out, "\nThe server stopped in order. Now try `make run`.")
	}
	return err
}

// load sends every sample by POST /metrics.
func load(ctx context.Context, client *node.Client, series []nab.Series, out io.Writer) error {
	began, samples, requests := time.Now(), 0, 0
	for _, s := range series {
		for _, body := range s.Batches(batchSamples) {
			a, err := client.Do(ctx, http.MethodPost, "/metrics", body)
			if err != nil {
				return err
			}
			if a.Status != http.StatusCreated {
				return fmt.Errorf("POST /metrics answered %d: %s", a.Status, a.Body)
			}
			requests++
		}
		samples += len(s.Points)
	}
	_, err := fmt.Fprintf(out, "Stored %d samples of %d series in %d requests, %v; each request was on disk when it was answered.\n\n",
		samples, len(series), requests, time.Since(began).Round(time.Millisecond))
	return err
}

// showAggregates asks for the whole of each series.
func showAggregates(ctx context.Context, client *node.Client, series []nab.Series, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "metric\tinstance\tcount\tavg\tmin\tmax\tsum\t")
	for _, s := range series {
		var answer node.Aggregate
		err := client.Get(ctx, "/aggregate", &answer, "metric", s.Metric, "tag.instance", s.Instance, "agg", "count,avg,min,max,sum")
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t", s.Metric, s.Instance)
		for _, name := range []string{"count", "avg", "min", "max", "sum"} {
			_, _ = fmt.Fprintf(table, "%s\t", number(answer.Aggregations[name]))
		}
		_, _ = fmt.Fprintln(table)
	}
	return table.Flush()
}

// showWindows asks for the first hours of one series.
func showWindows(ctx context.Context, client *node.Client, s nab.Series, out io.Writer) error {
	from := s.Points[0].At
	to := from.Truncate(time.Hour).Add(windowsShown*time.Hour - time.Microsecond)
	var answer node.Aggregate
	err := client.Get(ctx, "/aggregate", &answer, "metric", s.Metric, "tag.instance", s.Instance, "window", "1h",
		"from", from.Format(time.RFC3339Nano), "to", to.Format(time.RFC3339Nano))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "\nThe first hours of %s, instance %s (GET /aggregate with window=1h):\n\n", s.Metric, s.Instance)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "hour\tcount\tavg\tmin\tmax\t")
	for _, w := range answer.Windows {
		_, _ = fmt.Fprintf(table, "%s\t", w.Start.Format("2006-01-02 15:04"))
		for _, name := range []string{"count", "avg", "min", "max"} {
			_, _ = fmt.Fprintf(table, "%s\t", number(w.Aggregations[name]))
		}
		_, _ = fmt.Fprintln(table)
	}
	return table.Flush()
}

func number(value *float64) string {
	if value == nil {
		return "-"
	}
	if *value == float64(int64(*value)) {
		return strconv.FormatInt(int64(*value), 10)
	}
	return strconv.FormatFloat(*value, 'f', 3, 64)
}
