package workerrpc_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// TestStoppedPeerIsNoticed talks to a node whose kernel takes the bytes and whose process is stopped.
func TestStoppedPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var far net.Conn
		c := workerrpc.NewClient(newNode(t, "remote", 1).ID(), func(context.Context, link.Purpose) (net.Conn, error) {
			var near net.Conn
			near, far = net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return near, nil
		})
		begin := time.Now()
		_, err := c.Status(t.Context())
		if took := time.Since(begin); fault.KindOf(err) != fault.Unavailable || took > workerrpc.PeerSilenceMax {
			t.Errorf("after %v: %v, want unavailable within %v", took, err, workerrpc.PeerSilenceMax)
		}
		c.Close()
		_ = far.Close()
		synctest.Wait()
	})
}
