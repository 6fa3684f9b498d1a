// Command bench measures nodes as their users would meet them and prints a table: single writes and batches
// over HTTP against the real binary, alone and as a cluster of three, and decoded batches into the ingest
// use case in this process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"
)

type options struct {
	binary  string
	seconds time.Duration
	samples int
	only    string
	cpu     string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/raftmetrics", "the server to measure")
	flag.DurationVar(&o.seconds, "duration", 5*time.Second, "how long each measurement of single writes lasts")
	flag.IntVar(&o.samples, "samples", 10_000_000, "samples of each measurement of batches")
	flag.StringVar(&o.only, "only", "", "run only this part: single, json, record or cluster")
	flag.StringVar(&o.cpu, "cpuprofile", "", "file for a CPU profile of the part record")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run runs each part in a fresh data directory.
func run(ctx context.Context, o options, out io.Writer) error {
	for _, part := range []struct {
		name    string
		measure func(context.Context, options, string, io.Writer) error
	}{
		{"single", measureSingles},
		{"json", measureJSON},
		{"record", measureRecord},
		{"cluster", measureCluster},
	} {
		if o.only != "" && o.only != part.name {
			continue
		}
		if err := inTempDir(func(folder string) error {
			table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
			return errors.Join(part.measure(ctx, o, folder, table), table.Flush())
		}); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		_, _ = fmt.Fprintln(out)
	}
	return nil
}

func inTempDir(use func(folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "raftmetrics-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return use(folder)
}
