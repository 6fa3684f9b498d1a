package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

// measureSingles sends one sample a request from 1, 8 and 64 clients that wait for each answer.
func measureSingles(ctx context.Context, o options, folder string, out io.Writer) error {
	_, _ = fmt.Fprintln(out, "single writes over HTTP\tclients\tacknowledged/s\tp50\tp99\tworst\t")
	server, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn")
	if err != nil {
		return err
	}
	defer server.Kill()
	for _, clients := range []int{1, 8, 64} {
		client := server.NewClient(clients)
		latencies, elapsed, err := singles(ctx, client, clients, o.seconds)
		client.Close()
		if err != nil {
			return err
		}
		slices.Sort(latencies)
		at := func(q float64) time.Duration {
			return latencies[min(len(latencies)-1, int(q*float64(len(latencies))))].Round(10 * time.Microsecond)
		}
		_, _ = fmt.Fprintf(out, "\t%d\t%.0f\t%v\t%v\t%v\t\n", clients, float64(len(latencies))/elapsed.Seconds(), at(0.5), at(0.99), at(1))
	}
	code, err := server.Stop()
	if err == nil && code != 0 {
		err = fmt.Errorf("the server ended with exit code %d:\n%s", code, server.Log())
	}
	return err
}

// singles returns how long each acknowledged write took.
func singles(ctx context.Context, client *node.Client, clients int, duration time.Duration) ([]time.Duration, time.Duration, error) {
	latencies := make([][]time.Duration, clients)
	errs := make([]error, clients)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			body := fmt.Sprintf(`{"metric_name":"cpu_usage","value":75.5,"tags":{"host":"host-%d"}}`, i)
			for time.Since(began) < duration && errs[i] == nil {
				sent := time.Now()
				a, err := client.Do(ctx, http.MethodPost, "/metrics", body)
				if err == nil && a.Status != http.StatusCreated {
					err = fmt.Errorf("status %d: %s", a.Status, a.Body)
				}
				latencies[i], errs[i] = append(latencies[i], time.Since(sent)), err
			}
		})
	}
	wg.Wait()
	return slices.Concat(latencies...), time.Since(began), errors.Join(errs...)
}
