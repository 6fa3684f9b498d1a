package bootstrap

import (
	"context"
	"errors"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	"github.com/raftmetrics/raftmetrics/adapters/system"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// foundAlone makes an embedded node a cluster of one, unless it is that already.
func (n *Node) foundAlone() error {
	if _, member, err := n.home.Membership(); err != nil || member {
		return err
	}
	plan, err := n.config.blueprint(appcluster.NewClusterID(system.Entropy{}))
	if err != nil {
		return err
	}
	state, err := cluster.Found(plan, []cluster.Node{n.self()})
	if err != nil {
		return err
	}
	return n.found(state)
}

// found stores a cluster that this node founds, with a new key.
func (n *Node) found(state *cluster.State) error {
	if err := state.SetRetention(n.config.retention); err != nil {
		return err
	}
	encoded, err := appcluster.EncodeState(state)
	if err != nil {
		return err
	}
	return n.join(datadir.Membership{
		ClusterID: state.Blueprint().ClusterID, Key: link.NewClusterKey(), Founding: encoded, Address: n.self().Address(),
	}, encoded)
}

// adopt stores a cluster that takes this node in.
func (n *Node) adopt(_ context.Context, offer link.Offer) error {
	state, err := appcluster.DecodeState(offer.State)
	if err != nil {
		return err
	}
	if known, ok := state.Node(n.self().ID()); !ok || known.Incarnation() != n.self().Incarnation() {
		return link.Refuse(link.WrongNode, "the cluster does not know node %s in this incarnation", n.self().ID())
	}
	return n.join(datadir.Membership{
		ClusterID: offer.ClusterID, Key: offer.ClusterKey, Founding: offer.Founding, Address: offer.Address,
	}, offer.State)
}

// join stores a membership and tells Run of it. Joining the same cluster again changes nothing.
func (n *Node) join(membership datadir.Membership, state []byte) error {
	n.joining.Lock()
	defer n.joining.Unlock()
	have, member, err := n.home.Membership()
	if err != nil {
		return err
	}
	if member {
		if have.ClusterID != membership.ClusterID {
			return fault.Newf(fault.Conflict, "other_cluster", "this node belongs to cluster %s already", have.ClusterID)
		}
		return nil
	}
	if err := errors.Join(n.home.SaveState(state), n.home.SaveMembership(membership)); err != nil {
		return err
	}
	if err := n.keyring.Join(membership.ClusterID, membership.Key); err != nil {
		return err
	}
	n.refused.forget()
	n.joined <- struct{}{}
	return nil
}

// resume becomes the member that the home says this node is; without a membership it does nothing.
func (n *Node) resume(ctx context.Context) error {
	membership, member, err := n.home.Membership()
	if err != nil || !member {
		return err
	}
	if err := n.config.matches(membership); err != nil {
		return err
	}
	if err := n.identify(); err != nil {
		return err
	}
	select {
	case <-n.joined: // it is taken up here
	default:
	}
	m, err := newMember(ctx, n, membership)
	if errors.Is(err, errLogLost) && n.config.role() != cluster.Embedded {
		return n.retire(err)
	}
	if err != nil {
		return err
	}
	if err := n.keyring.Join(membership.ClusterID, membership.Key); err != nil {
		return errors.Join(err, m.place.close.run())
	}
	n.member = m
	n.gate.member.Store(m)
	return nil
}

// retire ends this life of the node, whose replicas have lost their votes: with an empty home it waits
// to be taken back in another incarnation.
func (n *Node) retire(why error) error {
	n.logger.Error().Err(why).Msg("the log is lost: the node gives up its replicas and waits to be taken back")
	if err := n.home.Retire(); err != nil {
		return err
	}
	n.keyring.Leave()
	return n.identify()
}

// live waits until the node is a member and runs it as one until ctx ends.
func (n *Node) live(ctx context.Context) error {
	for n.member == nil {
		if err := n.await(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		if err := n.resume(ctx); err != nil {
			return err
		}
	}
	err := n.member.run(ctx, func() {
		n.health.Joined(n.member.awareness)
		n.health.Opened()
		n.logger.Info().Str("cluster", n.keyring.ClusterID()).Uint64("replayed", n.member.replayed).Msg("member of the cluster")
	})
	return errors.Join(err, n.member.place.close.run())
}

// await returns when the node has become a member or ctx ends. A control node founds a cluster if there
// is none to be taken into.
func (n *Node) await(ctx context.Context) error {
	if n.config.role() != cluster.Control {
		n.logger.Info().Str("address", n.self().Address()).Msg("waiting to be adopted by a control node")
		n.health.Waits(func() string { return n.refused.after("waits to be adopted by a control node") })
		select {
		case <-n.joined:
		case <-ctx.Done():
		}
		return nil
	}
	plan, err := n.config.blueprint(appcluster.NewClusterID(system.Entropy{}))
	if err != nil {
		return err
	}
	searching, stop := context.WithCancel(ctx)
	defer stop()
	founder := appcluster.NewFounder(n.self(), n.config.hosts(), plan,
		workerrpc.NewRecruiter(&link.Dialer{Keyring: n.keyring}, n.config.adoptionSecret()), n.clock, n.clock)
	n.health.Waits(func() string { return n.refused.after(founder.Waiting()) })
	founded := make(chan *cluster.State, 1)
	go func() {
		state, _ := founder.Run(searching) // without a state it was stopped
		founded <- state
	}()
	for last := ""; ; {
		select {
		case <-n.joined:
			stop()
			<-founded
			return nil
		case state := <-founded:
			if state == nil {
				return nil
			}
			return n.found(state)
		case <-n.clock.After(time.Second):
			if waiting := founder.Waiting(); waiting != last {
				n.logger.Info().Str("waiting", waiting).Msg("no cluster yet")
				last = waiting
			}
		}
	}
}

// blueprint is what a cluster that this node founds would be.
func (c Config) blueprint(id string) (cluster.Blueprint, error) {
	placement, err := shard.NewMap(c.Shards, c.MetricSpread)
	return cluster.Blueprint{ClusterID: id, Shards: placement, ReplicationFactor: c.ReplicationFactor}, err
}
