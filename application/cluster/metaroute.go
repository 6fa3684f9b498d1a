package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// metaReportsMax bounds the search for the meta group's reports.
	metaReportsMax = 2 * time.Second
	// metaRetryWait is the pause before the members of the meta group are asked again.
	metaRetryWait = 200 * time.Millisecond
)

// MetaRouteConfig names what a MetaRoute needs.
type MetaRouteConfig struct {
	Self    cluster.NodeID
	View    *View
	Meta    outbound.MetaProposer // of this node, as is
	Reports inbound.ReportGiver
	Peers   outbound.MetaPeers
	Timer   outbound.Timer
}

// MetaRoute finds the meta group's leader, on this node or another. It is safe for concurrent use.
type MetaRoute struct{ MetaRouteConfig }

// NewMetaRoute returns a route from the node named self.
func NewMetaRoute(c MetaRouteConfig) *MetaRoute { return &MetaRoute{c} }

var (
	errNoMetaLeader = fault.New(fault.Unavailable, "no_leader", "the cluster's meta group has no leader now: a majority of its members is missing; try again")
	errNotAdopted   = fault.New(fault.Unavailable, "not_adopted", "this node belongs to no cluster yet; see /health for what it waits for")
)

// state returns the newest state known here.
func (m *MetaRoute) state() (*cluster.State, error) {
	if s := m.View.State(); s != nil {
		return s, nil
	}
	return nil, errNotAdopted
}

// propose replicates a change through whoever leads, within metaProposalMax, and returns why it was
// refused, if it was.
func (m *MetaRoute) propose(ctx context.Context, c Command) error {
	data, err := EncodeCommand(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, metaProposalMax)
	defer cancel()
	var outcome []byte
	_, err = m.search(ctx, func(node cluster.NodeID) (err error) {
		if node == m.Self {
			outcome, err = m.Meta.ProposeMeta(ctx, data)
		} else {
			outcome, err = m.Peers.ProposeMetaAt(ctx, node, data)
		}
		return err
	})
	if err != nil {
		return err
	}
	return DecodeOutcome(outcome)
}

// reports returns who leads the meta group and what it has heard.
func (m *MetaRoute) reports(ctx context.Context) (leader cluster.NodeID, reports []outbound.HeardReport, err error) {
	ctx, cancel := context.WithTimeout(ctx, metaReportsMax)
	defer cancel()
	leader, err = m.search(ctx, func(node cluster.NodeID) (err error) {
		if node == m.Self {
			reports, err = m.Reports.Reports(ctx)
		} else {
			reports, err = m.Peers.ReportsAt(ctx, node)
		}
		return err
	})
	return leader, reports, err
}

// search asks the members of the meta group in turn, and again after a pause, until one takes the
// question, which it returns, or refuses it.
func (m *MetaRoute) search(ctx context.Context, ask func(cluster.NodeID) error) (cluster.NodeID, error) {
	state, err := m.state()
	if err != nil {
		return cluster.NodeID{}, err
	}
	for {
		for _, node := range metaNodes(state) {
			err = ask(node)
			switch {
			case err == nil:
				return node, nil
			case errors.Is(err, outbound.ErrAmbiguous), fault.KindOf(err) != fault.Unavailable && ctx.Err() == nil:
				return node, err
			}
		}
		select {
		case <-ctx.Done():
			return cluster.NodeID{}, errNoMetaLeader.WithCause(err)
		case <-m.Timer.After(metaRetryWait):
		}
	}
}
