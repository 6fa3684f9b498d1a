package multiraft_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// echo is a state machine that only counts.
type echo struct{}

func (echo) Apply(_ context.Context, _ shard.ID, entries []inbound.Entry) ([][]byte, error) {
	n := 0
	for i := range entries {
		n += len(entries[i].Commands)
	}
	return make([][]byte, n), nil
}

// machine is this machine's clock and entropy.
type machine struct{ start time.Time }

func (m machine) Now() time.Time                         { return time.Now() }
func (m machine) Monotonic() time.Duration               { return time.Since(m.start) }
func (m machine) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (m machine) Uint64() uint64                         { return rand.Uint64() }

// BenchmarkProposeDurable measures acknowledged single commands a second with the real log on disk.
func BenchmarkProposeDurable(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			log, err := raftlog.Open(raftlog.Options{
				Dir: filepath.Join(b.TempDir(), "log"), FS: raftlog.PrivateFS(), Log: zerolog.Nop(), Fatal: func(err error) { panic(err) },
			})
			if err != nil {
				b.Fatal(err)
			}
			clock := machine{start: time.Now()}
			cfg := multiraft.Config{Log: log, Applier: echo{}, Clock: clock, Timer: clock, Entropy: clock}
			for id := range shard.ID(8) {
				cfg.Shards = append(cfg.Shards, multiraft.ShardConfig{Shard: id, ReplicaID: 1, Founders: []uint64{1}})
			}
			node, err := multiraft.New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- node.Run(ctx) }()
			proposeAll(b, node, writers)
			stop()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			if err := log.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func proposeAll(b *testing.B, node *multiraft.Node, writers int) {
	b.Helper()
	if err := node.Fence(b.Context(), []shard.ID{0, 1, 2, 3, 4, 5, 6, 7}); err != nil {
		b.Fatal(err)
	}
	command := make([]byte, 100)
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range writers {
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				start := time.Now()
				if _, err := node.Propose(b.Context(), shard.ID(i%8), command); err != nil {
					b.Error(err)
					return
				}
				took[i-1] = time.Since(start)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
