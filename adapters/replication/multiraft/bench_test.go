package multiraft

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// nullApplier takes everything and keeps nothing.
type nullApplier struct{}

func (nullApplier) Apply(_ context.Context, _ shard.ID, entries []inbound.Entry) ([][]byte, error) {
	n := 0
	for i := range entries {
		n += len(entries[i].Commands)
	}
	return make([][]byte, n), nil
}

// nullLog forgets the entries: what the runner itself costs, without a disk.
type nullLog struct{ *memLog }

func (l nullLog) Write(writes []LogWrite) error {
	for i := range writes {
		if writes[i].Create != nil {
			return l.memLog.Write(writes)
		}
	}
	return nil
}

func BenchmarkPropose(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			rig, cfg := newRig(8)
			cfg.Applier, cfg.Log = nullApplier{}, nullLog{rig.log}
			rig.run(b, cfg)
			rig.serving(b)
			command := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var group sync.WaitGroup
			for range writers {
				group.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := rig.node.Propose(b.Context(), shard.ID(i%8), command); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
			rig.close(b)
		})
	}
}

func BenchmarkFence(b *testing.B) {
	rig, cfg := newRig(8)
	rig.run(b, cfg)
	rig.serving(b)
	all := make([]shard.ID, 8)
	for i := range all {
		all[i] = shard.ID(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := rig.node.Fence(b.Context(), all); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	rig.close(b)
}
