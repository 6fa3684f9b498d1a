package cluster

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

var _ inbound.RetentionAdmin = (*RetentionAdmin)(nil)

// retentionWaitMax bounds the wait for a new policy to appear in this node's view.
const retentionWaitMax = 5 * time.Second

// RetentionAdmin shows and changes how long the cluster keeps samples, on any of its nodes.
type RetentionAdmin struct{ route *MetaRoute }

// NewRetentionAdmin returns the administration of retention.
func NewRetentionAdmin(route *MetaRoute) *RetentionAdmin { return &RetentionAdmin{route} }

// Retention implements inbound.RetentionAdmin.
func (a *RetentionAdmin) Retention(context.Context) (metric.RetentionPolicy, error) {
	state, err := a.route.state()
	if err != nil {
		return metric.RetentionPolicy{}, err
	}
	return state.Retention(), nil
}

// SetRetention implements inbound.RetentionAdmin.
func (a *RetentionAdmin) SetRetention(ctx context.Context, policy metric.RetentionPolicy) error {
	if err := policy.Check("retention"); err != nil {
		return err
	}
	if err := a.route.propose(ctx, Command{Retention: &policy}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, retentionWaitMax)
	defer cancel()
	for {
		changed := a.route.View.Changed()
		if a.route.View.State().Retention().Equal(policy) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "retention_unseen",
				"the retention was changed, but this node has not learnt of it yet, or it was changed again; GET /cluster/retention shows what holds").
				WithCause(context.Cause(ctx))
		}
	}
}
