package transport_test

import (
	"context"
	"net"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/transport"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// BenchmarkStream sends messages over loopback TCP and takes them at the other end.
func BenchmarkStream(b *testing.B) {
	for name, size := range map[string]int{"entry=100B": 100, "entry=64KiB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			const window = 256 // messages under way, as raft's own flow control keeps them
			arrived := make(chan struct{}, window)
			receiver, err := transport.New(transport.Config{
				Locate: locator(b), Entropy: newSource(),
				Dial:    func(context.Context, cluster.NodeID) (net.Conn, error) { return nil, net.ErrClosed },
				Receive: func(multiraft.GroupID, *raftpb.Message) { arrived <- struct{}{} },
			})
			if err != nil {
				b.Fatal(err)
			}
			s := &sink{tr: receiver, err: make(chan error, 1)}
			seen := &counter{}
			a := start(b, transport.Config{Dial: s.dial(b), Observer: seen})
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			sent := 0
			for b.Loop() {
				if sent >= window {
					<-arrived
				}
				a.Send([]multiraft.Message{appendTo(2, uint64(sent), data)})
				sent++
			}
			for range min(sent, window) {
				<-arrived
			}
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(seen.sent.Load())/b.Elapsed().Seconds(), "frames/s")
		})
	}
}
