package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

const (
	settleDurationMax = 15 * time.Minute
	startDurationMax  = time.Minute
	startPoll         = 10 * time.Millisecond
	// idleShare is the share of a core below which a system is taken to have nothing left to do, over
	// idleSpan.
	idleShare = 0.06
	idleSpan  = time.Second
	// peerFlush is how long the peer keeps new parts in memory before it writes them.
	peerFlush = 6 * time.Second
)

// system is something that is measured: it runs until it is stopped.
type system struct {
	name    string
	peer    bool
	urls    []string // of its nodes
	pids    []int
	folder  string // its data, everything
	logs    []string
	version string
	// settle has everything flushed and merged that was written.
	settle func(context.Context) error
	// told returns what its nodes logged last; nil: nobody knows.
	told func() string
	stop func() error
}

// cpu returns the processor time that all of its processes have used.
func (s *system) cpu() (total time.Duration) {
	for _, pid := range s.pids {
		if pid == os.Getpid() {
			total += processCPU()
		} else {
			total += node.CPUOf(pid)
		}
	}
	return total
}

// memory returns the resident memory of all of its processes, now and at most.
func (s *system) memory() (now, peak int64, err error) {
	for _, pid := range s.pids {
		n, p, failed := node.MemoryOf(pid)
		now, peak, err = now+n, peak+p, errors.Join(err, failed)
	}
	return now, peak, err
}

// disk returns what the system's files take, without and with its logs.
func (s *system) disk() (data, all int64, err error) {
	if all, err = diskBytes(s.folder); err != nil {
		return 0, 0, err
	}
	data = all
	for _, folder := range s.logs {
		log, err := diskBytes(folder)
		if err != nil {
			return 0, 0, err
		}
		data -= log
	}
	return data, all, nil
}

// awaitIdle waits until the system uses no processor time to speak of.
func (s *system) awaitIdle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleDurationMax)
	defer cancel()
	for {
		before := s.cpu()
		if err := fleet.Pause(ctx, idleSpan); err != nil {
			return fmt.Errorf("%s does not come to rest: %w", s.name, err)
		}
		if s.cpu()-before < time.Duration(idleShare*float64(idleSpan)*float64(len(s.pids))) {
			return nil
		}
	}
}

// startNode starts one node with its data in folder.
func startNode(ctx context.Context, o options, folder string) (*system, error) {
	p, err := node.Start(ctx, o.binary, folder, "LOG_LEVEL=warn", fmt.Sprintf("SHARDS=%d", clusterShards))
	if err != nil {
		return nil, err
	}
	s := &system{name: "one node", urls: []string{p.URL}, pids: []int{p.PID()}, folder: folder, logs: []string{filepath.Join(folder, "raftlog")}, told: toldBy(p)}
	s.settle = func(ctx context.Context) error { return errors.Join(s.flush(ctx), s.awaitIdle(ctx)) }
	s.stop = func() error {
		code, err := p.Stop()
		if err == nil && code != 0 {
			err = fmt.Errorf("the server ended with exit code %d:\n%s", code, p.Log())
		}
		return err
	}
	return s, nil
}

// startThree starts a control node and two workers, each with a copy of everything.
func startThree(ctx context.Context, o options, folder string) (*system, error) {
	f, err := startFleet(ctx, o, folder, clusterShards)
	if err != nil {
		return nil, err
	}
	s := &system{name: "three nodes", folder: folder, told: toldByFleet(f)}
	for _, n := range f.Nodes {
		s.urls = append(s.urls, "http://"+n.Address)
		s.pids = append(s.pids, n.Process.PID())
		s.logs = append(s.logs, filepath.Join(n.Dir, "raftlog"))
	}
	s.settle = func(ctx context.Context) error { return errors.Join(s.flush(ctx), s.awaitIdle(ctx)) }
	s.stop = f.Close
	return s, nil
}

// startPeer starts VictoriaMetrics with its data in folder.
func startPeer(ctx context.Context, o options, folder string) (*system, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	p, err := node.Spawn(ctx, o.peer, nil, "-httpListenAddr="+address, "-storageDataPath="+folder, "-retentionPeriod=100y", "-loggerLevel=WARN")
	if err != nil {
		return nil, err
	}
	s := &system{name: "VictoriaMetrics", peer: true, urls: []string{"http://" + address}, pids: []int{p.PID()}, folder: folder}
	s.stop = func() error { p.Kill(); return nil }
	s.settle = func(ctx context.Context) error { return s.settlePeer(ctx) }
	if err := s.awaitPeer(ctx, p); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w; its log:\n%s", err, p.Log())
	}
	return s, nil
}

// awaitPeer waits until the peer answers and reads its version.
func (s *system) awaitPeer(ctx context.Context, p *node.Process) error {
	if err := fleet.Await(ctx, startDurationMax, func(ctx context.Context) error {
		select {
		case <-p.Exited():
			return errors.New("it has ended")
		default:
		}
		_, err := s.get(ctx, "/health")
		return err
	}); err != nil {
		return err
	}
	text, err := s.get(ctx, "/metrics")
	for line := range strings.Lines(text) {
		if _, rest, is := strings.Cut(line, `vm_app_version{version="`); is {
			s.version, _, _ = strings.Cut(rest, `"`)
		}
	}
	return err
}

// settlePeer has the peer show, write and merge what it was given.
func (s *system) settlePeer(ctx context.Context) error {
	if _, err := s.get(ctx, "/internal/force_flush"); err != nil {
		return err
	}
	// What it holds in memory becomes a part on disk within seconds; only then is there all to merge.
	if err := fleet.Pause(ctx, peerFlush); err != nil {
		return err
	}
	if err := s.awaitIdle(ctx); err != nil {
		return err
	}
	if _, err := s.get(ctx, "/internal/force_merge"); err != nil {
		return err
	}
	return s.awaitIdle(ctx)
}

// get reads a path of the first node.
func (s *system) get(ctx context.Context, path string) (string, error) {
	client := node.NewClient(s.urls[0], 1)
	defer client.Close()
	a, err := client.Do(ctx, http.MethodGet, path, "")
	if err == nil && a.Status/100 != 2 {
		err = fmt.Errorf("%s answered %d: %s", path, a.Status, a.Body)
	}
	return a.Body, err
}
