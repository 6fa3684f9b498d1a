package route

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.ShardQuerier = (*Querier)(nil)

const (
	// patience is how long a read looks for a node that can serve a shard before it gives up: about
	// the time of an election with one failed round.
	patience = 3 * time.Second
	// retryWait is the pause before every holder of a shard is asked again.
	retryWait = 100 * time.Millisecond
)

// Querier spreads a read over the nodes that hold its shards: each chosen node is asked once for all of
// its shards, all nodes at once, and what one fails to answer is asked of another.
type Querier struct {
	where *Map
	local inbound.ShardQuerier
	peers outbound.QueryPeers
	clock outbound.Clock
	timer outbound.Timer
}

// NewQuerier returns a querier; local reads the replicas on this node.
func NewQuerier(where *Map, local inbound.ShardQuerier, peers outbound.QueryPeers, clock outbound.Clock, timer outbound.Timer) *Querier {
	return &Querier{where: where, local: local, peers: peers, clock: clock, timer: timer}
}

// Partials implements inbound.ShardQuerier.
func (q *Querier) Partials(ctx context.Context, read consistency.Read, query aggregate.Query) (aggregate.Table, error) {
	ask := func(ctx context.Context, node cluster.NodeID, read consistency.Read) (aggregate.Table, error) {
		if node == q.where.self {
			return q.local.Partials(ctx, read, query)
		}
		return q.peers.PartialsAt(ctx, node, read, query)
	}
	tables, err := spread(ctx, q, read, ask)
	if err != nil {
		return aggregate.Table{}, err
	}
	if len(tables) == 1 {
		return tables[0], nil
	}
	b := aggregate.NewBuilder(query)
	for _, t := range tables {
		if err := b.Merge(t); err != nil {
			return aggregate.Table{}, err
		}
	}
	return b.Table(), nil
}

// found is one node's newest sample, if it has one.
type found struct {
	sample metric.Sample
	ok     bool
}

// Latest implements inbound.ShardQuerier.
func (q *Querier) Latest(ctx context.Context, read consistency.Read, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	ask := func(ctx context.Context, node cluster.NodeID, read consistency.Read) (f found, err error) {
		if node == q.where.self {
			f.sample, f.ok, err = q.local.Latest(ctx, read, name, matchers)
			return f, err
		}
		f.sample, f.ok, err = q.peers.LatestAt(ctx, node, read, name, matchers)
		return f, err
	}
	answers, err := spread(ctx, q, read, ask)
	if err != nil {
		return metric.Sample{}, false, err
	}
	newest := found{}
	for _, f := range answers {
		if f.ok && (!newest.ok || f.sample.NewerThan(newest.sample)) {
			newest = f
		}
	}
	return newest.sample, newest.ok, nil
}

// ListSeries implements inbound.ShardQuerier.
func (q *Querier) ListSeries(ctx context.Context, read consistency.Read, l metric.Listing) ([]string, error) {
	lists, err := spread(ctx, q, read, func(ctx context.Context, node cluster.NodeID, read consistency.Read) ([]string, error) {
		if node == q.where.self {
			return q.local.ListSeries(ctx, read, l)
		}
		return q.peers.ListSeriesAt(ctx, node, read, l)
	})
	if err != nil {
		return nil, err
	}
	return l.Merge(lists), nil
}

// reply is what one node answered to its part of a read.
type reply[T any] struct {
	node   cluster.NodeID
	shards []shard.ID
	value  T
	err    error
}

// spread has every shard of read answered by exactly one node and returns the answers, in no order.
func spread[T any](ctx context.Context, q *Querier, read consistency.Read, ask func(context.Context, cluster.NodeID, consistency.Read) (T, error)) ([]T, error) {
	var here error
	if q.serves(read.Shards) { // the usual case on one node, answered on this goroutine
		value, err := ask(ctx, q.where.self, read)
		if err == nil {
			return []T{value}, nil
		}
		if ctx.Err() != nil || !elsewhere(err) {
			return nil, err
		}
		here = err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // stops the others' work when one error ends the read
	var answers []T
	giveUp := q.clock.Monotonic() + patience
	open, tried := slices.Clone(read.Shards), map[shard.ID][]cluster.NodeID{}
	stale := map[shard.ID]bool{} // some node answered, but its replica was too old
	if here != nil {
		for _, id := range open {
			tried[id], stale[id] = []cluster.NodeID{q.where.self}, isStale(here)
		}
	}
	for {
		parts, lost := q.assign(open, tried, read.Requirement)
		if len(lost) > 0 {
			if err := q.pause(ctx, giveUp, lost); err != nil {
				if !slices.ContainsFunc(lost, func(id shard.ID) bool { return !stale[id] }) {
					return nil, consistency.Stale(numbersOf(lost), read.Requirement.FreshnessMax())
				}
				return nil, err
			}
			for _, id := range lost {
				delete(tried, id)
			}
			continue
		}
		open = open[:0]
		for _, r := range askAll(ctx, parts, read.Requirement, ask) {
			switch {
			case r.err == nil:
				q.where.answered(r.node)
				answers = append(answers, r.value)
			case ctx.Err() != nil || !elsewhere(r.err):
				return nil, r.err
			default:
				if !isStale(r.err) {
					q.where.failed(r.node)
				}
				for _, id := range r.shards {
					tried[id] = append(tried[id], r.node)
					stale[id] = stale[id] || isStale(r.err)
				}
				open = append(open, r.shards...)
			}
		}
		if len(open) == 0 {
			return answers, nil
		}
	}
}

// serves reports that this node's own replicas can answer for all of shards.
func (q *Querier) serves(shards []shard.ID) bool {
	for _, id := range shards {
		if status, here := q.where.shards.Shard(id); !here || !status.Serving {
			return false
		}
	}
	return true
}

// askAll asks every node for its shards at once and waits for all of them.
func askAll[T any](ctx context.Context, parts []part, need consistency.Requirement, ask func(context.Context, cluster.NodeID, consistency.Read) (T, error)) []reply[T] {
	replies := make([]reply[T], len(parts))
	answer := func(i int) {
		p := parts[i]
		value, err := ask(ctx, p.node, consistency.Read{Shards: p.shards, Requirement: need})
		replies[i] = reply[T]{node: p.node, shards: p.shards, value: value, err: err}
	}
	if len(parts) == 1 {
		answer(0)
		return replies
	}
	done := make(chan struct{}, len(parts))
	for i := range parts {
		go func() {
			defer func() { done <- struct{}{} }()
			answer(i)
		}()
	}
	for range parts {
		<-done
	}
	return replies
}

// elsewhere reports that another node may be able to answer what this one could not.
func elsewhere(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Corrupt, fault.Internal:
		return true
	default:
		return isStale(err)
	}
}

// isStale reports that a node answered, but its replicas were not fresh enough.
func isStale(err error) bool { return fault.From(err).Code() == "stale" }

func numbersOf(ids []shard.ID) []uint32 {
	numbers := make([]uint32, len(ids))
	for i, id := range ids {
		numbers[i] = uint32(id)
	}
	slices.Sort(numbers)
	return numbers
}

// part is what one node is asked for.
type part struct {
	node   cluster.NodeID
	shards []shard.ID
}

// assign gives every open shard to a node that has not failed it: this node where it serves the shard,
// else the node that can take the most, so that few nodes are asked. It returns the shards for which
// no node is left.
func (q *Querier) assign(open []shard.ID, tried map[shard.ID][]cluster.NodeID, need consistency.Requirement) (parts []part, lost []shard.ID) {
	byNode := map[cluster.NodeID][]shard.ID{}
	candidates := map[shard.ID][]cluster.NodeID{}
	count := map[cluster.NodeID]int{}
	for _, id := range open {
		left := slices.DeleteFunc(q.where.holders(id), func(n cluster.NodeID) bool { return slices.Contains(tried[id], n) })
		if len(left) == 0 {
			lost = append(lost, id)
			continue
		}
		candidates[id] = left
		for _, n := range left {
			count[n]++
		}
	}
	for _, id := range open {
		left := candidates[id]
		if len(left) == 0 {
			continue
		}
		best := slices.MaxFunc(left, func(a, b cluster.NodeID) int {
			return cmp.Or(
				cmp.Compare(q.where.penalty(b), q.where.penalty(a)),
				cmp.Compare(q.preference(a, id, need), q.preference(b, id, need)),
				cmp.Compare(count[a], count[b]),
			)
		})
		byNode[best] = append(byNode[best], id)
	}
	for node, shards := range byNode {
		parts = append(parts, part{node: node, shards: shards})
	}
	return parts, lost
}

// preference is 1 for this node where its own replica of the shard can answer: it knows a leader, or
// need not know one.
func (q *Querier) preference(node cluster.NodeID, id shard.ID, need consistency.Requirement) int {
	if node != q.where.self {
		return 0
	}
	status, here := q.where.shards.Shard(id)
	if here && (status.Serving || need == consistency.Of(consistency.None)) {
		return 1
	}
	return -1
}

// pause waits a little before lost shards are looked for again, or says that time is up.
func (q *Querier) pause(ctx context.Context, giveUp time.Duration, lost []shard.ID) error {
	if q.clock.Monotonic() >= giveUp {
		return errNoReplica(lost, nil)
	}
	select {
	case <-q.timer.After(retryWait):
		return nil
	case <-ctx.Done():
		return errNoReplica(lost, context.Cause(ctx))
	}
}

// errNoReplica says which shards nobody could read; when the caller gave up, so does the error.
func errNoReplica(lost []shard.ID, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	numbers := numbersOf(lost)
	return fault.Newf(fault.Unavailable, "no_replica", "no replica of shards %v can be read now: a majority or its nodes are missing; try again", numbers).
		WithDetail("shards", numbers).WithCause(cause)
}
