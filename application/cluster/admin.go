package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.MembershipAdmin = (*Admin)(nil)

// joinWaitMax bounds the wait for a new member to appear in this node's view.
const joinWaitMax = 5 * time.Second

// Admin carries out what people ask of the cluster's membership, on any of its nodes.
type Admin struct {
	route       *MetaRoute
	recruiter   *Recruiter
	repairAfter time.Duration
}

// NewAdmin returns an admin; repairAfter is the Director's.
func NewAdmin(route *MetaRoute, recruiter *Recruiter, repairAfter time.Duration) *Admin {
	return &Admin{route: route, recruiter: recruiter, repairAfter: repairAfter}
}

// AddNode implements inbound.MembershipAdmin.
func (a *Admin) AddNode(ctx context.Context, address string) (inbound.AddedNode, error) {
	state, err := a.route.state()
	if err != nil {
		return inbound.AddedNode{}, err
	}
	// Built only to have the address checked before anybody is asked there.
	if _, err := cluster.NewNode(a.route.Self, cluster.Worker, address, 1); err != nil {
		return inbound.AddedNode{}, err
	}
	who, err := a.recruiter.recruit(ctx, address, a.join)
	if err != nil {
		return inbound.AddedNode{}, err
	}
	if _, member := a.route.View.State().Node(who.Node); !member {
		// It was removed once, and still belongs to the cluster by its own record.
		if err := a.join(ctx, cluster.Node{}, who, address, false); err != nil {
			return inbound.AddedNode{}, err
		}
	}
	known, member := state.Node(who.Node)
	added := inbound.AddedNode{New: !member || known.Incarnation() != who.Incarnation}
	added.Node, _ = a.route.View.State().Node(who.Node)
	return added, nil
}

// join is a joiner through whoever leads the meta group.
func (a *Admin) join(ctx context.Context, known cluster.Node, who outbound.Introduction, address string, member bool) error {
	if member {
		silent, err := a.silent(ctx)
		if err != nil {
			return err
		}
		if !silent(who.Node, silentAfter) {
			return errLivingNode(known, address)
		}
	}
	node, err := cluster.NewNode(who.Node, who.Role, address, who.Incarnation)
	if err != nil {
		return err
	}
	if err := a.route.propose(ctx, Command{Join: &node}); err != nil {
		return err
	}
	return a.await(ctx, node)
}

// await returns once this node's view has the member.
func (a *Admin) await(ctx context.Context, node cluster.Node) error {
	ctx, cancel := context.WithTimeout(ctx, joinWaitMax)
	defer cancel()
	for {
		changed := a.route.View.Changed()
		if n, member := a.route.View.State().Node(node.ID()); member && n.Incarnation() == node.Incarnation() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fault.Newf(fault.Unavailable, "join_unseen", "node %s was taken in, but this node has not learnt of it yet; try again", node.ID()).
				WithCause(context.Cause(ctx))
		}
	}
}

// silent asks the meta group's leader who has not been heard of for how long.
func (a *Admin) silent(ctx context.Context) (func(cluster.NodeID, time.Duration) bool, error) {
	_, reports, err := a.route.reports(ctx)
	if err != nil {
		return nil, err
	}
	return func(id cluster.NodeID, longerThan time.Duration) bool {
		i := slices.IndexFunc(reports, func(r outbound.HeardReport) bool { return r.Node == id })
		return i >= 0 && reports[i].Age > longerThan
	}, nil
}

// RemoveNode implements inbound.MembershipAdmin. The Director lets the node go once it is empty.
func (a *Admin) RemoveNode(ctx context.Context, id cluster.NodeID) (inbound.Removal, error) {
	state, err := a.route.state()
	if err != nil {
		return inbound.Removal{}, err
	}
	node, member := state.Node(id)
	if !member {
		return inbound.Removal{Gone: true}, nil
	}
	stays := func(n cluster.Node) bool { return n.ID() != id && !n.Draining() }
	if !slices.ContainsFunc(state.Nodes(), stays) {
		return inbound.Removal{}, fault.Newf(fault.Conflict, "last_node", "node %s is the last one that is not being drained; add another before", id)
	}
	if !node.Draining() {
		err := a.route.propose(ctx, Command{Drain: &DrainCommand{Node: id, Draining: true}})
		if err != nil {
			return removalOf(err)
		}
	}
	if replicas := state.Holding(id); replicas > 0 {
		return inbound.Removal{Replicas: replicas}, nil
	}
	return removalOf(a.route.propose(ctx, Command{Remove: &id}))
}

// removalOf reads the answer to a proposal about a node of which this node's view may be old.
func removalOf(err error) (inbound.Removal, error) {
	switch {
	case err == nil, fault.KindOf(err) == fault.NotFound:
		return inbound.Removal{Gone: true}, nil
	case fault.KindOf(err) == fault.Conflict: // it holds replicas after all
		return inbound.Removal{}, nil
	}
	return inbound.Removal{}, err
}

// Rebalance implements inbound.MembershipAdmin: one Round of the Director, made here and now. Moves name
// the placement's epoch that they were planned on, so both may plan at once.
func (a *Admin) Rebalance(ctx context.Context) (inbound.Rebalance, error) {
	state, err := a.route.state()
	if err != nil {
		return inbound.Rebalance{}, err
	}
	silent, err := a.silent(ctx)
	if err != nil {
		return inbound.Rebalance{}, err
	}
	result := inbound.Rebalance{UnderWay: unsettled(state)}
	lost := func(id cluster.NodeID) bool { return silent(id, a.repairAfter) }
	for _, m := range state.Plan(cluster.Observation{Lost: lost}, max(0, movesMax-result.UnderWay)) {
		switch err := a.route.propose(ctx, Command{Move: &m}); {
		case err == nil:
			result.Moves = append(result.Moves, m)
			if !m.Group.Meta {
				result.UnderWay++
			}
		case fault.KindOf(err) != fault.Conflict: // the Director was first
			return result, err
		}
	}
	return result, nil
}
