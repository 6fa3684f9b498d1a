package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

// The shape of the load: each batch is batchTimes observations of every series of a client.
const (
	batchClients = 4
	batchSamples = 10_000
	batchMetrics = 5
	batchHosts   = 50
	batchTimes   = batchSamples / (batchMetrics * batchHosts)
)

var loadBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// timeLayout has one width, with milliseconds as collectors send them.
const timeLayout = "2006-01-02T15:04:05.000Z"

// observedAt is when the k-th observation of the n-th batch was made: every 10 s, and some milliseconds.
func observedAt(n, k int) time.Time {
	i := n*batchTimes + k
	return loadBegin.Add(time.Duration(i)*10*time.Second + time.Duration(i*7919%1000)*time.Millisecond)
}

// walk returns the values of a series in one batch: a random walk with two decimals.
func walk(client, series int) []float64 {
	random := rand.New(rand.NewPCG(uint64(client), uint64(series)))
	values := make([]float64, batchTimes)
	at := 50 + 50*random.Float64()
	for k := range values {
		at += random.NormFloat64()
		values[k] = math.Round(at*100) / 100
	}
	return values
}

// template is a JSON body whose timestamps, all of one width, are overwritten for each batch: a client
// that shares the processors with the server should not spend them on printing.
type template struct {
	body []byte
	at   [][]int // of each of batchTimes: where its timestamps stand
}

func newTemplate(client int) *template {
	t := &template{at: make([][]int, batchTimes)}
	var b strings.Builder
	separator := "["
	for m := range batchMetrics {
		for h := range batchHosts {
			for k, value := range walk(client, m*batchHosts+h) {
				fmt.Fprintf(&b, `%s{"metric_name":"metric_%d","tags":{"host":"host-%d-%d"},"value":%.2f,"timestamp":"`, separator, m, client, h, value)
				t.at[k] = append(t.at[k], b.Len())
				b.WriteString(loadBegin.Format(timeLayout) + `"}`)
				separator = ","
			}
		}
	}
	b.WriteString("]")
	t.body = []byte(b.String())
	return t
}

// batch returns the body of a client's n-th batch; it is valid until the next call.
func (t *template) batch(n int) string {
	for k, places := range t.at {
		text := observedAt(n, k).Format(timeLayout)
		for _, place := range places {
			copy(t.body[place:], text)
		}
	}
	return unsafe.String(&t.body[0], len(t.body))
}

// measureJSON sends batches as JSON over HTTP, and then looks how long starts take on what they left.
func measureJSON(ctx context.Context, o options, folder string, out io.Writer) error {
	_, _ = fmt.Fprintln(out, "JSON batches over HTTP\tsamples\tsamples/s\tserver CPU s/million\tpeak RSS MiB\tp50\tdisk B/sample\tstop\tstart\tstart after kill\t")
	server, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn")
	if err != nil {
		return err
	}
	defer server.Kill()
	batches := o.samples() / batchSamples / batchClients
	samples := batches * batchSamples * batchClients
	began := time.Now()
	latencies, err := load(ctx, server, 0, batches)
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	if err := checkCount(ctx, server, samples); err != nil {
		return err
	}
	_, peak, err := node.MemoryOf(server.PID())
	if err != nil {
		return err
	}
	stopping := time.Now()
	if code, err := server.Stop(); err != nil || code != 0 {
		return fmt.Errorf("the server ended with exit code %d, %w:\n%s", code, err, server.Log())
	}
	stop := time.Since(stopping)
	disk, err := diskBytes(folder)
	if err != nil {
		return err
	}
	start, startAfterKill, err := restarts(ctx, o, folder, batches)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "\t%d\t%.0f\t%.2f\t%d\t%v\t%.1f\t%v\t%v\t%v\t\n", samples, float64(samples)/elapsed.Seconds(),
		server.CPU().Seconds()/float64(samples)*1e6, peak>>20, median(latencies), float64(disk)/float64(samples),
		stop.Round(time.Millisecond), start.Round(time.Millisecond), startAfterKill.Round(time.Millisecond))
	return nil
}

// load sends each client's batches from first up to first+count.
func load(ctx context.Context, server *node.Process, first, count int) ([][]time.Duration, error) {
	client := server.NewClient(batchClients)
	defer client.Close()
	latencies := make([][]time.Duration, batchClients)
	errs := make([]error, batchClients)
	var wg sync.WaitGroup
	for i := range batchClients {
		wg.Go(func() {
			t := newTemplate(i)
			for n := first; n < first+count && errs[i] == nil; n++ {
				body, sent := t.batch(n), time.Now()
				a, err := client.Do(ctx, http.MethodPost, "/metrics", body)
				if err == nil && a.Status != http.StatusCreated {
					err = fmt.Errorf("status %d: %s", a.Status, a.Body)
				}
				latencies[i], errs[i] = append(latencies[i], time.Since(sent)), err
			}
		})
	}
	wg.Wait()
	return latencies, errors.Join(errs...)
}

// restarts starts a server on what batches left, adds a tenth, kills it, starts it again, and returns how
// long the two starts took until the server was ready.
func restarts(ctx context.Context, o options, folder string, batches int) (afterStop, afterKill time.Duration, err error) {
	began := time.Now()
	server, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn")
	if err != nil {
		return 0, 0, err
	}
	defer server.Kill()
	afterStop = time.Since(began)
	if _, err := load(ctx, server, batches, batches/10); err != nil {
		return 0, 0, err
	}
	server.Kill()
	began = time.Now()
	again, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn")
	if err != nil {
		return 0, 0, err
	}
	defer again.Kill()
	afterKill = time.Since(began)
	return afterStop, afterKill, checkCount(ctx, again, (batches+batches/10)*batchSamples*batchClients)
}

// diskBytes returns how much space the files in folder take up.
func diskBytes(folder string) (total int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // servers remove files while this looks
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if stat, is := info.Sys().(*syscall.Stat_t); is {
			total += stat.Blocks * blockBytes
		}
		return nil
	})
	return total, err
}

// blockBytes is the unit of the space that the kernel tells.
const blockBytes = 512

// checkCount makes sure that what was measured is what was stored.
func checkCount(ctx context.Context, server *node.Process, want int) error {
	client := server.NewClient(1)
	defer client.Close()
	total := 0
	for m := range batchMetrics {
		var answer node.Aggregate
		if err := client.Get(ctx, "/aggregate", &answer, "metric", fmt.Sprintf("metric_%d", m), "agg", "count"); err != nil {
			return err
		}
		total += int(*answer.Aggregations["count"])
	}
	if total != want {
		return fmt.Errorf("%d samples are stored, want %d", total, want)
	}
	return nil
}
