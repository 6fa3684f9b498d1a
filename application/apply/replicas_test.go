package apply_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var replicasSeed = flag.Uint64("replicas-seed", uint64(time.Now().UnixNano()), "seed of the test of replicas")

// markedLog returns a log of writes with a mark in every tenth entry, somewhere among its commands; the
// marks are numbered from 1.
func markedLog(r *rand.Rand, length int) (log []inbound.Entry, marks uint64) {
	log = append(log, inbound.Entry{Index: 1, Term: 1, Commands: [][]byte{command.EncodeRegister()}})
	sequence := uint64(0)
	for len(log) < length {
		e := inbound.Entry{Index: uint64(len(log) + 1), Term: 1}
		at := -1
		if len(log)%10 == 0 {
			at = r.IntN(4)
		}
		for i := range 4 {
			if i == at {
				marks++
				e.Commands = append(e.Commands, command.EncodeMark(marks))
			}
			sequence++
			key := fmt.Sprintf(`m{n="%d"}`, r.IntN(9))
			e.Commands = append(e.Commands, write(at1(sequence), none, float64(r.IntN(3)), key))
		}
		log = append(log, e)
	}
	return log, marks
}

// at1 is a place in the first session.
func at1(sequence uint64) command.Header { return at(1, sequence, sequence) }

// TestReplicasAreEqualAtEveryMark lets replicas apply one log at their own pace, in pieces and with
// flushes of their own, while they are asked for their digests.
func TestReplicasAreEqualAtEveryMark(t *testing.T) {
	t.Logf("-replicas-seed=%d", *replicasSeed)
	log, marks := markedLog(rand.New(rand.NewPCG(*replicasSeed, 0)), 400)
	const replicas = 3
	digests := [replicas][]outbound.ReplicaDigest{}
	var wg sync.WaitGroup
	for n := range replicas {
		wg.Go(func() {
			var err error
			if digests[n], err = applyMarked(t.Context(), rand.New(rand.NewPCG(*replicasSeed, uint64(n+1))), log, marks); err != nil {
				t.Errorf("replica %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	seen := map[string]bool{}
	for m := range marks {
		first := digests[0][m]
		for n := range replicas {
			if d := digests[n][m]; d.Index != first.Index || !bytes.Equal(d.Digest, first.Digest) {
				t.Fatalf("mark %d: replica %d has %x at %d, replica 0 %x at %d", m+1, n, d.Digest, d.Index, first.Digest, first.Index)
			}
		}
		if seen[string(first.Digest)] {
			t.Fatalf("mark %d: digest %x stands for two contents", m+1, first.Digest)
		}
		seen[string(first.Digest)] = true
	}
}

// applyMarked applies log on a replica of its own and returns the digest at every mark.
func applyMarked(ctx context.Context, r *rand.Rand, log []inbound.Entry, marks uint64) ([]outbound.ReplicaDigest, error) {
	store := memory.New(memory.Options{})
	state, err := store.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	machine := apply.New(apply.Options{Appender: store, Cutter: store, Pinner: store})
	if err := machine.Restore(0, state); err != nil {
		return nil, err
	}
	asked := make(chan error, 1)
	var digests []outbound.ReplicaDigest
	ask := func() {
		d, err := machine.DigestAt(ctx, shard.ID(0), uint64(len(digests)+1))
		digests = append(digests, d)
		asked <- err
	}
	go ask() // beside what is applied, so early or late
	for len(log) > 0 {
		// At most one mark a piece, so that none is driven out before its digest was taken.
		n := min(1+r.IntN(9), len(log))
		if _, err := machine.Apply(ctx, 0, log[:n]); err != nil {
			return nil, err
		}
		if hasMark(log[:n]) {
			if err := <-asked; err != nil {
				return nil, err
			}
			if uint64(len(digests)) < marks {
				go ask()
			}
		}
		log = log[n:]
		if r.IntN(5) == 0 {
			machine.Cut(0)
			if _, err := store.Flush(ctx, 0); err != nil {
				return nil, err
			}
		}
	}
	return digests, nil
}

func hasMark(entries []inbound.Entry) bool {
	for _, e := range entries {
		if len(e.Commands) == 5 {
			return true
		}
	}
	return false
}
