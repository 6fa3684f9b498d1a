// Command bench measures nodes as their users would meet them and prints tables: single writes and batches
// over HTTP against the real binary, alone and as a cluster of three, and decoded batches into the ingest use
// case in this process; loads and questions beside VictoriaMetrics; starts after kill -9; a million series.
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

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
)

type options struct {
	binary  string
	peer    string
	seconds time.Duration
	hosts   int
	times   int
	seed    uint64
	step    int
	rounds  int
	loads   int
	json    bool
	systems string
	ask     string
	only    string
	cpu     string
}

// samplesMax keeps a mistaken number from filling the disk.
const samplesMax = 1_000_000_000

// stepMax keeps the walks between 0 and 100.
const stepMax = 1_000

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/raftmetrics", "the server to measure")
	flag.StringVar(&o.peer, "peer", "", "VictoriaMetrics' binary: the part engine measures it too")
	flag.DurationVar(&o.seconds, "duration", 5*time.Second, "how long each measurement of single writes lasts")
	flag.IntVar(&o.hosts, "hosts", 100, "hosts of the load, each with 10 metrics")
	flag.IntVar(&o.times, "samples", 10_000, "samples of each series; hosts x 10 x samples are also those of the other parts' batches")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the load's values")
	flag.IntVar(&o.step, "step", workload.StepUsual, "deviation of the load's random walks, in hundredths")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each question, of which the median counts")
	flag.IntVar(&o.loads, "loads", 1, "fresh loads of each system, of which the median counts")
	flag.BoolVar(&o.json, "json", false, "load RaftMetrics with JSON instead of line protocol")
	flag.StringVar(&o.systems, "systems", "", "systems of the part engine, of one,peer,three; empty: all there are")
	flag.StringVar(&o.ask, "ask", "", "questions of the part engine, such as Q1,Q5, or none; empty: all")
	flag.StringVar(&o.only, "only", "", "run only this part: single, json, record, cluster, engine, restart or series")
	flag.StringVar(&o.cpu, "cpuprofile", "", "profiles of the parts record, engine and series, whose nodes then run in this process: a file for each load and question, and the heap of a million series, whose names begin so")
	flag.Parse()
	// A reader of the output that goes away must not leave servers behind: writing fails then, and ends the run
	// in order. Taken as a signal, it would end runs whose nodes are in this process, too: a connection that
	// its other end closed raises the same one.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.check()
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) check() error {
	if o.hosts < 1 || o.times < 1 || o.rounds < 1 || o.loads < 1 {
		return errors.New("-hosts, -samples, -rounds and -loads must be at least 1")
	}
	if o.step < 0 || o.step > stepMax {
		return fmt.Errorf("-step is %d; expected 0 to %d", o.step, stepMax)
	}
	if samples := o.shape().Samples(); samples > samplesMax {
		return fmt.Errorf("%d hosts x 10 x %d are %d samples; expected at most %d", o.hosts, o.times, samples, samplesMax)
	}
	return nil
}

func (o options) shape() workload.Shape {
	return workload.Shape{Hosts: o.hosts, Times: o.times, Seed: o.seed, Step: o.step}
}

// samples returns how many samples batches have altogether.
func (o options) samples() int { return o.shape().Samples() }

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
		{"engine", measureEngine},
		{"restart", measureRestart},
		{"series", measureSeries},
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
