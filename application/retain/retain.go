// Package retain is the use case that forgets what is older than the cluster keeps: the meta group's leader
// moves the shards' cut-offs, and every node refuses samples that would be forgotten on arrival.
package retain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// roundLeast and roundSpread bound the time between two looks at the cut-offs: a round comes at least
	// roundLeast after the one before, and up to roundSpread later, so that the nodes of many clusters do
	// not all forget at the stroke of the hour.
	roundLeast  = time.Minute
	roundSpread = 15 * time.Second
	// firstWait is the pause before a leader's first round, and before another try when not all shards
	// could be reached.
	firstWait = 5 * time.Second
	// proposalMax bounds one shard's proposal.
	proposalMax = 10 * time.Second
	// proposalsMax bounds the proposals under way at once.
	proposalsMax = 4
)

// Proposer moves the cut-offs of one shard, through whoever leads it.
type Proposer interface {
	// Retain returns once the cut-offs are durable on a majority and applied. Repeating it is harmless:
	// cut-offs only rise.
	Retain(ctx context.Context, id shard.ID, cutoffs metric.Cutoffs) error
}

// Policy is where the policy of the cluster is read.
type Policy interface {
	// Retention returns the newest policy known on this node, at once.
	Retention() metric.RetentionPolicy
	// Changed returns a channel that is closed at the next change of the cluster's state.
	Changed() <-chan struct{}
}

// ClusterTime is where the time is read that cut-offs go by.
type ClusterTime interface {
	// ClusterTime returns the median of the living nodes' clocks; false where this node cannot tell.
	ClusterTime() (metric.Timestamp, bool)
}

// KeeperConfig names what a Keeper needs.
type KeeperConfig struct {
	Shards int // of the cluster
	Policy Policy
	// Time tells the time only on the meta group's leader, who alone hears all clocks; so there is one
	// keeper at work in a cluster, or for a moment two, who do each other no harm.
	Time     ClusterTime
	Proposer Proposer
	Timer    outbound.Timer
	Entropy  outbound.Entropy
	// Report is told what could not be done and will be tried again; it must not block.
	Report func(action string, err error)
}

// Keeper moves the cut-offs of all shards as time passes and as the policy changes. Run it on every node.
type Keeper struct {
	config KeeperConfig
	policy metric.RetentionPolicy
	moved  []metric.Timestamp // by shard: the newest cut-offs it took are those of policy at this time
}

// NewKeeper returns a keeper; Run does its work.
func NewKeeper(c KeeperConfig) *Keeper {
	return &Keeper{config: c}
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	wait := firstWait
	for {
		if !k.pause(ctx, wait) {
			return nil
		}
		wait = roundLeast + time.Duration(k.config.Entropy.Uint64()%uint64(roundSpread))
		if err := k.Round(ctx); err != nil && ctx.Err() == nil {
			k.config.Report("forget what is too old", err)
			wait = firstWait
		}
	}
}

// pause waits, or until the policy is another one than of the last round; false when ctx ends.
func (k *Keeper) pause(ctx context.Context, wait time.Duration) bool {
	over := k.config.Timer.After(wait)
	for {
		changed := k.config.Policy.Changed()
		if _, leads := k.config.Time.ClusterTime(); leads && !k.config.Policy.Retention().Equal(k.policy) {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-changed:
		}
	}
}

// Round moves the cut-offs of the shards where they have risen since this node did so last. Cut-offs are
// whole hours, so they rise once an hour.
func (k *Keeper) Round(ctx context.Context) error {
	now, leads := k.config.Time.ClusterTime()
	if !leads {
		k.moved = nil // another one may have gone on since
		return nil
	}
	policy := k.config.Policy.Retention()
	if !policy.Equal(k.policy) {
		k.policy, k.moved = policy, nil
	}
	cutoffs := policy.Cutoffs(now)
	if cutoffs.Newest() == metric.TimestampMin {
		return nil // what was forgotten before stays so without being told
	}
	if k.moved == nil {
		k.moved = make([]metric.Timestamp, k.config.Shards)
		for i := range k.moved {
			k.moved[i] = metric.TimestampMin
		}
	}
	// The cut-off of the shortest retention there is moves with every other one.
	hour := metric.RetentionPolicy{Default: time.Hour}.Cutoffs(now).Default
	return k.move(ctx, cutoffs, hour)
}

// move proposes cutoffs, of the hour given, to the shards that have not had them.
func (k *Keeper) move(ctx context.Context, cutoffs metric.Cutoffs, hour metric.Timestamp) error {
	errs := make([]error, len(k.moved))
	turns := make(chan struct{}, proposalsMax)
	var wg sync.WaitGroup
	for i := range k.moved {
		if k.moved[i] >= hour {
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(ctx, proposalMax)
			defer cancel()
			if err := k.config.Proposer.Retain(ctx, shard.ID(i), cutoffs); err != nil {
				errs[i] = fmt.Errorf("move the cut-offs of shard %d: %w", i, err)
				return
			}
			k.moved[i] = hour
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
