package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// archive is three nodes that hold two shards and answer as a test says.
type archive struct {
	state *cluster.State
	mu    sync.Mutex
	marks []uint64 // proposed, in order
	// propose answers a mark, digest a question after one; flush a node's name.
	propose func(id shard.ID) error
	digest  func(ctx context.Context, node string, id shard.ID, attempt int) (string, error)
	flush   func(node string) error
	asked   map[string]int // of each node and shard
	numbers atomic.Uint64
}

func newArchive(t *testing.T) (*archive, *appcluster.Inspector) {
	t.Helper()
	m, err := shard.NewMap(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []cluster.Node
	for i, name := range []string{"a", "b", "c"} {
		n, err := cluster.NewNode(mustID(t, name), cluster.Worker, name+":1", cluster.Incarnation(i+1))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	a := &archive{asked: map[string]int{}}
	if a.state, err = cluster.Found(cluster.Blueprint{ClusterID: "c", Shards: m, ReplicationFactor: 3}, nodes); err != nil {
		t.Fatal(err)
	}
	a.propose = func(shard.ID) error { return nil }
	a.digest = func(context.Context, string, shard.ID, int) (string, error) { return "same", nil }
	a.flush = func(string) error { return nil }
	return a, appcluster.NewInspector(appcluster.InspectorConfig{
		Self: mustID(t, "a"), State: func() *cluster.State { return a.state },
		Proposer: a, Flusher: a, Digester: a, Peers: others{a}, Entropy: a, Clock: a, Timer: a,
	})
}

func (a *archive) Uint64() uint64 { return a.numbers.Add(1) }

func (a *archive) Now() time.Time                         { return time.Now() }
func (a *archive) Monotonic() time.Duration               { return 0 }
func (a *archive) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (a *archive) Propose(_ context.Context, id shard.ID, data []byte) ([]byte, error) {
	h, body, err := command.DecodeHeader(data)
	if err != nil || h.Kind != command.Mark {
		return nil, fault.New(fault.Invalid, "not_a_mark", "not a mark")
	}
	a.mu.Lock()
	a.marks = append(a.marks, command.DecodeMark(body))
	a.mu.Unlock()
	return command.AppendOutcome(nil, command.Outcome{Verdict: command.Applied}), a.propose(id)
}

func (a *archive) DigestAt(ctx context.Context, id shard.ID, mark uint64) (outbound.ReplicaDigest, error) {
	return a.answer(ctx, "a", id, mark)
}

func (a *archive) Flush(context.Context) error { return a.flush("a") }

func (a *archive) answer(ctx context.Context, node string, id shard.ID, mark uint64) (outbound.ReplicaDigest, error) {
	a.mu.Lock()
	key := node + id.String()
	a.asked[key]++
	attempt, known := a.asked[key], slices.Contains(a.marks, mark)
	a.mu.Unlock()
	if !known {
		return outbound.ReplicaDigest{}, errors.New("a mark that nobody proposed")
	}
	digest, err := a.digest(ctx, node, id, attempt)
	if err != nil {
		return outbound.ReplicaDigest{}, err
	}
	return outbound.ReplicaDigest{Index: 7, Digest: []byte(digest)}, nil
}

// others is how node a reaches the others.
type others struct{ *archive }

func (o others) FlushAt(_ context.Context, node cluster.NodeID) error { return o.flush(node.String()) }

func (o others) DigestAt(ctx context.Context, node cluster.NodeID, id shard.ID, mark uint64) (outbound.ReplicaDigest, error) {
	return o.answer(ctx, node.String(), id, mark)
}

func verified(t *testing.T, i *appcluster.Inspector, equal bool) inbound.Verification {
	t.Helper()
	v, err := i.Verify(t.Context())
	if err != nil || v.Equal != equal || len(v.Shards) != 2 {
		t.Fatalf("%+v, %v; want equal %v", v, err, equal)
	}
	return v
}

func of(s inbound.ShardVerification, node string) inbound.ReplicaVerification {
	i := slices.IndexFunc(s.Replicas, func(r inbound.ReplicaVerification) bool { return r.Node.String() == node })
	return s.Replicas[i]
}

func TestEqualReplicas(t *testing.T) {
	a, i := newArchive(t)
	v := verified(t, i, true)
	for id, s := range v.Shards {
		if s.Shard != shard.ID(id) || s.Index != 7 || !s.Equal || len(s.Replicas) != 3 || string(of(s, "c").Digest) != "same" {
			t.Errorf("shard %+v", s)
		}
	}
	if len(a.marks) != 2 {
		t.Errorf("%d marks for two shards", len(a.marks))
	}
}

func TestReplicasThatDifferAreNamed(t *testing.T) {
	a, i := newArchive(t)
	a.digest = func(_ context.Context, node string, id shard.ID, _ int) (string, error) {
		if node == "c" && id == 1 {
			return "other", nil
		}
		return "same", nil
	}
	v := verified(t, i, false)
	if !v.Shards[0].Equal || v.Shards[1].Equal || string(of(v.Shards[1], "c").Digest) != "other" {
		t.Errorf("shards %+v", v.Shards)
	}
}

func TestALostMarkIsSetAgain(t *testing.T) {
	a, i := newArchive(t)
	a.digest = func(_ context.Context, node string, _ shard.ID, attempt int) (string, error) {
		if node == "b" && attempt == 1 {
			return "", fault.New(fault.Unavailable, "mark_unknown", "restarted")
		}
		return "same", nil
	}
	verified(t, i, true)
	if len(a.marks) != 4 {
		t.Errorf("%d marks, want two a shard", len(a.marks))
	}
}

func TestReplicasThatDoNotAnswerAreNoEquals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, i := newArchive(t)
		a.digest = func(ctx context.Context, node string, _ shard.ID, _ int) (string, error) {
			switch node {
			case "b":
				return "", fault.New(fault.Corrupt, "file_corrupt", "the file is damaged")
			case "c": // frozen
				<-ctx.Done()
				return "", context.Cause(ctx)
			}
			return "same", nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		v, err := i.Verify(ctx)
		if err != nil || v.Equal {
			t.Fatalf("%+v, %v", v, err)
		}
		for _, s := range v.Shards {
			if s.Index != 7 || of(s, "b").Failure != "the file is damaged" || !strings.Contains(of(s, "c").Failure, "answer") {
				t.Errorf("shard %+v", s)
			}
		}
	})
}

func TestAShardWithoutALeaderIsNotCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, i := newArchive(t)
		a.propose = func(id shard.ID) error {
			if id == 0 {
				return outbound.ErrNotProposed
			}
			return nil
		}
		v := verified(t, i, false)
		if s := v.Shards[0]; s.Equal || len(s.Replicas) != 3 || !strings.HasPrefix(s.Replicas[0].Failure, "not asked") {
			t.Errorf("shard %+v", s)
		}
		if !v.Shards[1].Equal {
			t.Errorf("shard %+v", v.Shards[1])
		}
		a.propose = func(shard.ID) error { return errors.New("disk on fire") }
		if s := verified(t, i, false).Shards[1]; s.Replicas[0].Failure != "not asked: the node failed to answer" {
			t.Errorf("shard %+v", s)
		}
	})
}

func TestFlushNamesTheNodesThatFailed(t *testing.T) {
	a, i := newArchive(t)
	if err := i.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	down := fault.New(fault.Unavailable, "node_unreachable", "down")
	a.flush = func(node string) error {
		if node == "b" {
			return down
		}
		return nil
	}
	err := i.Flush(t.Context())
	wantCode(t, err, "not_flushed")
	if names, ok := fault.From(err).Details()[0].Value.([]string); !ok || !slices.Equal(names, []string{"b"}) || !errors.Is(err, down) {
		t.Errorf("err=%v, %v", err, fault.From(err).Details())
	}
	a.flush = func(node string) error {
		if node == "b" {
			return fmt.Errorf("flush node b: %w", down)
		}
		return errors.New("disk on fire at /somewhere")
	}
	message := fault.From(i.Flush(t.Context())).Message()
	for _, want := range []string{"b (down)", "c (the node failed to answer)"} {
		if !strings.Contains(message, want) {
			t.Errorf("message %q, want %q in it", message, want)
		}
	}
	if strings.Contains(message, "fire") {
		t.Errorf("message %q tells what is wrong inside a node", message)
	}
	a.state = nil
	wantCode(t, i.Flush(t.Context()), "not_adopted")
	_, err = i.Verify(t.Context())
	wantCode(t, err, "not_adopted")
}
