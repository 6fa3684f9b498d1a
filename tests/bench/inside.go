package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/bootstrap"
	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// inside is a node in this process, so that one profile shows what it does; the clients' part is in it too.
type inside struct {
	*bootstrap.Node
	stop  context.CancelFunc
	ended chan error
}

// runInside starts a node in this process. Close it.
func runInside(ctx context.Context, log *tail, environment map[string]string) (*inside, error) {
	config, err := bootstrap.LoadConfig(environment, func(string) string { return "" })
	if err != nil {
		return nil, err
	}
	n, err := bootstrap.NewNode(ctx, config, zerolog.New(zerolog.MultiLevelWriter(
		log, &zerolog.FilteredLevelWriter{Writer: zerolog.LevelWriterAdapter{Writer: os.Stderr}, Level: zerolog.ErrorLevel},
	)).Level(zerolog.WarnLevel))
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	i := &inside{Node: n, stop: stop, ended: make(chan error, 1)}
	go func() { i.ended <- n.Run(running) }()
	return i, nil
}

// close stops the node in order.
func (i *inside) close() error {
	i.stop()
	return <-i.ended
}

// url is where the node serves.
func (i *inside) url() string { return "http://" + i.Addr().String() }

// startInside starts one node in this process.
func startInside(ctx context.Context, _ options, folder string) (*system, error) {
	log := &tail{}
	n, err := runInside(ctx, log, map[string]string{"DATA_DIR": folder, "PORT": "0", "SHARDS": strconv.Itoa(clusterShards), "LOG_LEVEL": "warn"})
	if err != nil {
		return nil, err
	}
	s := &system{name: "one node", urls: []string{n.url()}, pids: []int{os.Getpid()}, folder: folder, logs: []string{filepath.Join(folder, "raftlog")}, told: log.told, stop: n.close}
	s.settle = func(ctx context.Context) error { return s.flush(ctx) }
	return s, s.awaitHealth(ctx)
}

// startThreeInside starts a control node and two workers in this process.
func startThreeInside(ctx context.Context, _ options, folder string) (_ *system, err error) {
	log := &tail{}
	s := &system{name: "three nodes", pids: []int{os.Getpid()}, folder: folder, told: log.told}
	var nodes []*inside
	// All at once: each hands its groups over to others that still run, or gives up soon.
	s.stop = func() error {
		errs := make([]error, len(nodes))
		var wg sync.WaitGroup
		for i, n := range nodes {
			wg.Go(func() { errs[i] = n.close() })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	var hosts []string
	for _, name := range []string{"w1", "w2", "c1"} {
		address, err := fleet.FreeAddress(ctx)
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		environment := map[string]string{
			"NODE_ID": name, "NODE_ROLE": "worker", "PORT": port, "BIND_ADDR": "127.0.0.1", "ADVERTISE_ADDR": address,
			"AUTH_TOKEN": node.Token, "DATA_DIR": filepath.Join(folder, name), "SHARDS": strconv.Itoa(clusterShards), "LOG_LEVEL": "warn",
		}
		if name == "c1" {
			environment["NODE_ROLE"], environment["WORKER_HOSTS"] = "control", strings.Join(hosts, ",")
		}
		n, err := runInside(ctx, log, environment)
		if err != nil {
			return nil, err
		}
		hosts, nodes = append(hosts, address), append(nodes, n)
		s.urls = append(s.urls, n.url())
		s.logs = append(s.logs, filepath.Join(folder, name, "raftlog"))
	}
	s.settle = func(ctx context.Context) error { return s.flush(ctx) }
	if err := s.awaitHealth(ctx); err != nil {
		return nil, err
	}
	return s, awaitWhole(ctx, fleet.External(fleet.Server{Name: "c1", URL: s.urls[2]}))
}

// awaitHealth waits until every node is ready.
func (s *system) awaitHealth(ctx context.Context) error {
	for _, url := range s.urls {
		one := &system{urls: []string{url}}
		if err := fleet.Await(ctx, startDurationMax, func(ctx context.Context) error {
			_, err := one.get(ctx, "/readyz")
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// profileSpan is how long a question is asked under the profiler.
const profileSpan = 2 * time.Second

// profiled calls run under the profiler and keeps what it saw as o.cpu with the part's name behind it,
// unless there is nothing to be kept.
func (o options) profiled(part string, run func() error) (err error) {
	if o.cpu == "" {
		return run()
	}
	f, err := os.Create(o.cpu + "." + strings.ReplaceAll(part, " ", "-"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return run()
}

// heap keeps what the memory of this process holds, with the part's name behind o.cpu.
func (o options) heap(part string) (err error) {
	if o.cpu == "" {
		return nil
	}
	f, err := os.Create(o.cpu + "." + part + ".heap")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	runtime.GC()
	return pprof.WriteHeapProfile(f)
}
