package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
)

const (
	clusterNodes      = 3
	clusterShards     = 8
	idleShards        = 64
	clusterBatchSize  = 10_000
	clusterBatchers   = 8
	clusterSamplesMax = 4_000_000
	hostsABatch       = 100
)

// measureCluster measures a control node and two workers on this machine: what they take when idle,
// single writes and batches through all three, each on three disks.
func measureCluster(ctx context.Context, o options, folder string, out io.Writer) error {
	if err := withCluster(ctx, o, folder+"/idle", idleShards, func(f *fleet.Fleet) error { return idle(ctx, f, o.seconds, out) }); err != nil {
		return err
	}
	return withCluster(ctx, o, folder+"/busy", clusterShards, func(f *fleet.Fleet) error {
		if err := clusterSingles(ctx, f, o.seconds, out); err != nil {
			return err
		}
		return clusterBatches(ctx, f, min(o.samples(), clusterSamplesMax), out)
	})
}

// withCluster runs measure with a cluster that is whole.
func withCluster(ctx context.Context, o options, folder string, shards int, measure func(*fleet.Fleet) error) (err error) {
	f, err := startFleet(ctx, o, folder, shards)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return measure(f)
}

// startFleet starts a cluster and returns when it is whole.
func startFleet(ctx context.Context, o options, folder string, shards int) (_ *fleet.Fleet, err error) {
	f, err := fleet.New(ctx, fleet.Options{
		Binary: o.binary, Folder: folder, Workers: 2, Direct: true,
		Environment: []string{fmt.Sprintf("SHARDS=%d", shards), "LOG_LEVEL=warn"},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := f.Start(ctx); err != nil {
		return nil, err
	}
	return f, awaitWhole(ctx, f)
}

// awaitWhole waits until all replicas are up and leaders are where they stay.
func awaitWhole(ctx context.Context, f *fleet.Fleet) error {
	if err := fleet.Await(ctx, time.Minute, func(ctx context.Context) error {
		v, err := f.Nodes[0].View(ctx)
		if err != nil {
			return err
		}
		return v.Whole(clusterNodes, 0)
	}); err != nil {
		return err
	}
	// Leaders move to the workers once they have led for ten seconds.
	return fleet.Pause(ctx, 12*time.Second)
}

// cpuOfAll is the processor time that all nodes have used.
func cpuOfAll(f *fleet.Fleet) (total time.Duration) {
	for _, n := range f.Nodes {
		total += n.CPU()
	}
	return total
}

func idle(ctx context.Context, f *fleet.Fleet, duration time.Duration, out io.Writer) error {
	before, began := cpuOfAll(f), time.Now()
	if err := fleet.Pause(ctx, 2*duration); err != nil {
		return err
	}
	share := (cpuOfAll(f) - before).Seconds() / time.Since(began).Seconds()
	_, _ = fmt.Fprintf(out, "three idle nodes, %d shards\tcores, all together\t%.4f\t\t\t\t\t\n", idleShards, share)
	return nil
}

func clusterSingles(ctx context.Context, f *fleet.Fleet, duration time.Duration, out io.Writer) error {
	_, _ = fmt.Fprintln(out, "single writes over HTTP, three nodes\tclients\tacknowledged/s\tp50\tp99\tworst\tCPU ms a write, nodes\t")
	for _, clients := range []int{1, 8, 64} {
		before := cpuOfAll(f)
		latencies := make([][]time.Duration, clients)
		errs := make([]error, clients)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() { latencies[i], errs[i] = clusterWriter(ctx, f.Nodes[i%len(f.Nodes)], i, duration) })
		}
		wg.Wait()
		elapsed, cpu := time.Since(began), cpuOfAll(f)-before
		if err := errors.Join(errs...); err != nil {
			return err
		}
		all := slices.Concat(latencies...)
		slices.Sort(all)
		at := func(q float64) time.Duration {
			return all[min(len(all)-1, int(q*float64(len(all))))].Round(10 * time.Microsecond)
		}
		_, _ = fmt.Fprintf(out, "\t%d\t%.0f\t%v\t%v\t%v\t%.2f\t\n", clients, float64(len(all))/elapsed.Seconds(), at(0.5), at(0.99), at(1),
			float64(cpu.Milliseconds())/float64(len(all)))
	}
	return nil
}

// clusterWriter writes one sample after the other through one node and returns how long each took.
func clusterWriter(ctx context.Context, n *fleet.Node, number int, duration time.Duration) (latencies []time.Duration, err error) {
	body := fmt.Sprintf(`{"metric_name":"cpu_usage","value":75.5,"tags":{"host":"host-%d"}}`, number)
	for began := time.Now(); time.Since(began) < duration; {
		sent := time.Now()
		a, err := n.Client.Do(ctx, http.MethodPost, "/metrics", body)
		if err == nil && a.Status != http.StatusCreated {
			err = fmt.Errorf("status %d: %s", a.Status, a.Body)
		}
		if err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(sent))
	}
	return latencies, nil
}

func clusterBatches(ctx context.Context, f *fleet.Fleet, samples int, out io.Writer) error {
	before, began := cpuOfAll(f), time.Now()
	batches := int64(samples / clusterBatchSize)
	var next atomic.Int64
	errs := make([]error, clusterBatchers)
	var wg sync.WaitGroup
	for i := range clusterBatchers {
		wg.Go(func() {
			for batch := next.Add(1) - 1; batch < batches && errs[i] == nil; batch = next.Add(1) - 1 {
				errs[i] = sendBatch(ctx, f.Nodes[i%len(f.Nodes)], batch)
			}
		})
	}
	wg.Wait()
	elapsed, cpu := time.Since(began), cpuOfAll(f)-before
	if err := errors.Join(errs...); err != nil {
		return err
	}
	count := float64(batches * clusterBatchSize)
	_, _ = fmt.Fprintln(out, "batches over HTTP, three nodes\tclients\tsamples/s\tsamples a batch\tCPU s a million, nodes\t\t\t")
	_, _ = fmt.Fprintf(out, "\t%d\t%.0f\t%d\t%.2f\t\t\t\n", clusterBatchers, count/elapsed.Seconds(), clusterBatchSize, cpu.Seconds()/count*1e6)
	return nil
}

// sendBatch sends samples of a hundred hosts, each a second further.
func sendBatch(ctx context.Context, n *fleet.Node, batch int64) error {
	var b strings.Builder
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(batch*clusterBatchSize/hostsABatch) * time.Second)
	separator := "["
	for i := range clusterBatchSize {
		fmt.Fprintf(&b, `%s{"metric_name":"cpu_usage","value":%d.%02d,"timestamp":%q,"tags":{"host":"host-%d"}}`,
			separator, i%97, i%100, first.Add(time.Duration(i/hostsABatch)*time.Second).Format(time.RFC3339), i%hostsABatch)
		separator = ","
	}
	b.WriteByte(']')
	a, err := n.Client.Do(ctx, http.MethodPost, "/metrics", b.String())
	if err == nil && a.Status != http.StatusCreated {
		err = fmt.Errorf("status %d: %s", a.Status, a.Body)
	}
	return err
}
