package cluster

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.StorageAdmin = (*Inspector)(nil)

const (
	// inspectionsMax bounds the shards that are compared, and the nodes that flush, at once.
	inspectionsMax = 2
	// marksTried bounds the marks at which a shard's replicas are compared until all answer.
	marksTried = 2
	// markProposalMax bounds the wait for a shard to take a mark.
	markProposalMax = 5 * time.Second
	// markRetryWait is the pause before a mark that nobody took is proposed again.
	markRetryWait = 200 * time.Millisecond
	// digestWaitLeast is what a replica gets at least to answer in; without pressure from the caller's
	// deadline it gets half of what is left.
	digestWaitLeast = 5 * time.Second
)

// InspectorConfig names what an Inspector needs.
type InspectorConfig struct {
	Self cluster.NodeID
	// State returns the newest cluster state known, nil before there is one.
	State    func() *cluster.State
	Proposer outbound.Proposer // to whoever leads a shard
	Flusher  inbound.NodeFlusher
	Digester inbound.ReplicaDigester
	Peers    outbound.ReplicaPeers
	Entropy  outbound.Entropy
	Clock    outbound.Clock
	Timer    outbound.Timer
}

// Inspector has all nodes flush, and compares the replicas of every shard. To compare, it puts a mark
// into the shard's log: each replica holds its content fast where it applies the mark and sums it up
// from there, so all digests are of the same entries however fast others are added.
type Inspector struct{ InspectorConfig }

// NewInspector returns an inspector.
func NewInspector(c InspectorConfig) *Inspector { return &Inspector{c} }

// Flush implements inbound.StorageAdmin.
func (i *Inspector) Flush(ctx context.Context) error {
	state := i.State()
	if state == nil {
		return errNotAdopted
	}
	nodes := state.Nodes()
	errs := make([]error, len(nodes))
	each(len(nodes), func(at int) {
		if id := nodes[at].ID(); id == i.Self {
			errs[at] = i.Flusher.Flush(ctx)
		} else {
			errs[at] = i.Peers.FlushAt(ctx, id)
		}
	})
	var failed, reasons []string
	for at, err := range errs {
		if err != nil {
			name := nodes[at].ID().String()
			failed, reasons = append(failed, name), append(reasons, name+" ("+failureOf(err)+")")
		}
	}
	if failed == nil {
		return nil
	}
	return fault.Newf(fault.Unavailable, "not_flushed", "nodes that did not flush: %s; what they hold stays in their logs; try again", strings.Join(reasons, ", ")).
		WithDetail("nodes", failed).WithCause(errors.Join(errs...))
}

// each calls do for 0 to count-1, inspectionsMax at a time, and returns after the last.
func each(count int, do func(int)) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, inspectionsMax)
	for at := range count {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			do(at)
		})
	}
	wg.Wait()
}

// Verify implements inbound.StorageAdmin.
func (i *Inspector) Verify(ctx context.Context) (inbound.Verification, error) {
	state := i.State()
	if state == nil {
		return inbound.Verification{}, errNotAdopted
	}
	result := inbound.Verification{Equal: true, Shards: make([]inbound.ShardVerification, state.Blueprint().Shards.Count())}
	absent := &absentees{}
	each(len(result.Shards), func(at int) {
		id := shard.ID(at)
		result.Shards[at] = i.verify(ctx, id, state.Shard(id).Replicas, absent)
	})
	for _, s := range result.Shards {
		result.Equal = result.Equal && s.Equal
	}
	return result, ctx.Err()
}

// verify compares one shard's replicas, at another mark when some replica has lost the first.
func (i *Inspector) verify(ctx context.Context, id shard.ID, replicas []cluster.Replica, absent *absentees) inbound.ShardVerification {
	v := inbound.ShardVerification{Shard: id}
	for range marksTried {
		mark, err := i.mark(ctx, id)
		if err != nil {
			v = inbound.ShardVerification{Shard: id}
			for _, r := range replicas {
				v.Replicas = append(v.Replicas, inbound.ReplicaVerification{Node: r.Node, Failure: "not asked: " + failureOf(err)})
			}
			return v
		}
		answers := i.compare(ctx, id, mark, replicas, absent)
		v = judge(id, answers)
		if !slices.ContainsFunc(answers, func(a digestAnswer) bool {
			return fault.From(a.err) != nil && fault.From(a.err).Code() == "mark_unknown"
		}) {
			break
		}
	}
	return v
}

// mark puts a mark into the shard's log and returns its number, another one at each attempt.
func (i *Inspector) mark(ctx context.Context, id shard.ID) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, markProposalMax)
	defer cancel()
	for {
		number := i.Entropy.Uint64()
		outcome, err := i.Proposer.Propose(ctx, id, command.EncodeMark(number))
		if err == nil {
			return number, markOutcome(outcome)
		}
		if fault.KindOf(err) != fault.Unavailable {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-i.Timer.After(markRetryWait):
		}
	}
}

func markOutcome(data []byte) error {
	o, err := command.DecodeOutcome(data)
	if err == nil && o.Verdict != command.Applied {
		err = fault.Newf(fault.Internal, "mark_refused", "the mark was refused with verdict %d", o.Verdict)
	}
	return err
}

// digestAnswer is what one replica said.
type digestAnswer struct {
	node   cluster.NodeID
	digest outbound.ReplicaDigest
	err    error
}

// compare asks every replica at once for its digest at the mark.
func (i *Inspector) compare(ctx context.Context, id shard.ID, mark uint64, replicas []cluster.Replica, absent *absentees) []digestAnswer {
	ctx, cancel := context.WithTimeout(ctx, i.patience(ctx))
	defer cancel()
	answers := make([]digestAnswer, len(replicas))
	var wg sync.WaitGroup
	for at, r := range replicas {
		wg.Go(func() {
			digest, err := i.digest(ctx, r.Node, id, mark, absent)
			answers[at] = digestAnswer{node: r.Node, digest: digest, err: err}
		})
	}
	wg.Wait()
	return answers
}

// judge compares the answers, none of which counts as equal to no answer.
func judge(id shard.ID, answers []digestAnswer) inbound.ShardVerification {
	v := inbound.ShardVerification{Shard: id, Equal: true}
	for _, a := range answers {
		r := inbound.ReplicaVerification{Node: a.node}
		if a.err != nil {
			r.Failure = failureOf(a.err)
		} else {
			r.Digest = a.digest.Digest
		}
		first := answers[0].digest
		v.Equal = v.Equal && a.err == nil && a.digest.Index == first.Index && bytes.Equal(a.digest.Digest, first.Digest)
		v.Index = max(v.Index, a.digest.Index)
		v.Replicas = append(v.Replicas, r)
	}
	return v
}

// patience is how long replicas may take to answer.
func (i *Inspector) patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Hour
	}
	return max(digestWaitLeast, deadline.Sub(i.Clock.Now())/2)
}

func (i *Inspector) digest(ctx context.Context, node cluster.NodeID, id shard.ID, mark uint64, absent *absentees) (outbound.ReplicaDigest, error) {
	if node == i.Self {
		return i.Digester.DigestAt(ctx, id, mark)
	}
	if absent.has(node) {
		return outbound.ReplicaDigest{}, errAbsent
	}
	digest, err := i.Peers.DigestAt(ctx, node, id, mark)
	if err != nil && ctx.Err() != nil {
		absent.add(node)
	}
	return digest, err
}

// failureOf says for people why a replica gave no digest or a node did not flush; what is wrong inside a node is in its log.
func failureOf(err error) string {
	if f := fault.From(err); f.Kind() != fault.Internal {
		return f.Message()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return "the node failed to answer"
}

var errAbsent = fault.New(fault.Unavailable, "node_absent", "the node did not answer before")

// absentees are the nodes that let a question run out of time, so that they are not waited for again.
type absentees struct {
	mu struct {
		sync.Mutex
		nodes []cluster.NodeID
	}
}

func (a *absentees) add(node cluster.NodeID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.nodes = append(a.mu.nodes, node)
}

func (a *absentees) has(node cluster.NodeID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.mu.nodes, node)
}
