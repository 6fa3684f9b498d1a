package workerrpc_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// TestAStoppedPeerLeavesProposalsInDoubt proposes at a node whose kernel takes the bytes and whose process
// is stopped.
func TestAStoppedPeerLeavesProposalsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := newStoppedPeer(t)
		begin := time.Now()
		_, err := c.Propose(t.Context(), 1, []byte("x"))
		if took := time.Since(begin); !errors.Is(err, outbound.ErrAmbiguous) || took > workerrpc.PeerSilenceMax {
			t.Errorf("after %v: %v, want in doubt within %v", took, err, workerrpc.PeerSilenceMax)
		}
		end()
	})
}

// TestALongProposalIsNoSilence waits longer than silence lasts for an answer.
func TestALongProposalIsNoSilence(t *testing.T) {
	r := newRemote(t)
	const long = workerrpc.PeerSilenceMax + workerrpc.PeerSilenceMax/4
	r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(1), gomock.Any()).DoAndReturn(
		func(ctx context.Context, _ shard.ID, _ []byte) ([]byte, error) {
			select {
			case <-time.After(long):
				return []byte("late"), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	if got, err := r.peers(t).ProposeAt(t.Context(), r.id, 1, []byte("x")); err != nil || string(got) != "late" {
		t.Errorf("outcome %q, %v", got, err)
	}
}

// TestAStoppingServerAnswersWhatIsUnderWay: who stops in order tells what became of the commands that it
// has taken.
func TestAStoppingServerAnswersWhatIsUnderWay(t *testing.T) {
	r := newRemote(t)
	arrived := make(chan struct{})
	release := make(chan struct{})
	r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(1), gomock.Any()).DoAndReturn(
		func(context.Context, shard.ID, []byte) ([]byte, error) {
			close(arrived)
			<-release
			return []byte("done"), nil
		})
	p := r.peers(t)
	answer := make(chan string, 1)
	go func() {
		got, err := p.ProposeAt(t.Context(), r.id, 1, []byte("x"))
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(got)
	}()
	<-arrived
	r.quit()
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("answered %q, want the outcome", got)
	}
}

// TestAPanicIsOneProposalsError: the node that it happens in goes on.
func TestAPanicIsOneProposalsError(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(1), gomock.Any()).DoAndReturn(
		func(context.Context, shard.ID, []byte) ([]byte, error) { panic("a defect") })
	r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(2), gomock.Any()).Return([]byte("ok"), nil)
	if _, err := p.ProposeAt(t.Context(), r.id, 1, nil); !errors.Is(err, outbound.ErrAmbiguous) {
		t.Errorf("a panic was answered %v, want in doubt", err)
	}
	if got, err := p.ProposeAt(t.Context(), r.id, 2, nil); err != nil || string(got) != "ok" {
		t.Errorf("outcome %q, %v", got, err)
	}
}

// TestBadFramesEndTheirPipe sends what no client does. Another's pipe is not touched by that.
func TestBadFramesEndTheirPipe(t *testing.T) {
	r := newRemote(t)
	p := r.peers(t)
	r.proposer.EXPECT().Propose(gomock.Any(), shard.ID(2), gomock.Any()).Return([]byte("ok"), nil).AnyTimes()
	for what, frame := range map[string][]byte{
		"another version":  {4, 0, 0, 0, 2, 1, 1, 1},
		"an unknown kind":  {3, 0, 0, 0, 1, 9, 1},
		"an answer":        {3, 0, 0, 0, 1, 3, 1},
		"too short":        {2, 0, 0, 0, 1, 1},
		"too long":         {0, 0, 0, 0xff},
		"no number":        {3, 0, 0, 0, 1, 1, 0x80},
		"no shard":         {3, 0, 0, 0, 1, 1, 1},
		"an unknown shard": {6, 0, 0, 0, 1, 1, 1, 0xff, 0x7f, 1},
		"no time":          {4, 0, 0, 0, 1, 1, 1, 1},
	} {
		conn, err := p.Dial(t.Context(), r.id, link.Proposals)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		// What comes before the end are signs of life.
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s did not end the connection", what)
		}
		_ = conn.Close()
		if got, err := p.ProposeAt(t.Context(), r.id, 2, nil); err != nil || string(got) != "ok" {
			t.Errorf("beside %s: outcome %q, %v", what, got, err)
		}
	}
}
