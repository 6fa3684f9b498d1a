package workerrpc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// TestStoppedPeerIsNoticed talks to a node whose kernel takes the bytes and whose process is stopped.
func TestStoppedPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := newStoppedPeer(t)
		begin := time.Now()
		_, err := c.Status(t.Context())
		if took := time.Since(begin); fault.KindOf(err) != fault.Unavailable || took > workerrpc.PeerSilenceMax {
			t.Errorf("after %v: %v, want unavailable within %v", took, err, workerrpc.PeerSilenceMax)
		}
		end()
	})
}
