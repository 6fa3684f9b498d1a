package workerrpc

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	_ outbound.ClusterPeers = (*Peers)(nil)
	_ outbound.MetaPeers    = (*Peers)(nil)
	_ outbound.ReplicaPeers = (*Peers)(nil)
	_ outbound.ProposePeers = (*Peers)(nil)
	_ outbound.QueryPeers   = (*Peers)(nil)
	_ outbound.Recruiter    = (*Recruiter)(nil)
)

// Peers has a client for each other node of the cluster. It is safe for concurrent use.
type Peers struct {
	dialer  *link.Dialer
	address func(cluster.NodeID) (string, bool)
	mu      struct {
		sync.Mutex
		clients map[cluster.NodeID]*Client
	}
}

// NewPeers returns peers that are connected to when they are asked; address returns, at once, where the
// cluster says that a node is now.
func NewPeers(dialer *link.Dialer, address func(cluster.NodeID) (string, bool)) *Peers {
	p := &Peers{dialer: dialer, address: address}
	p.mu.clients = map[cluster.NodeID]*Client{}
	return p
}

var errUnknownNode = fault.New(fault.Unavailable, "node_unknown", "this node does not know where to reach the other; try again")

// Dial opens a link to a node where the cluster says it is.
func (p *Peers) Dial(ctx context.Context, node cluster.NodeID, purpose link.Purpose) (net.Conn, error) {
	address, known := p.address(node)
	if !known {
		return nil, errUnknownNode.WithDetail("node", node.String())
	}
	return p.dialer.Dial(ctx, address, node, purpose)
}

// Client returns the client of a node, which Peers owns.
func (p *Peers) Client(node cluster.NodeID) *Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.mu.clients[node]
	if c == nil {
		c = NewClient(node, func(ctx context.Context, purpose link.Purpose) (net.Conn, error) { return p.Dial(ctx, node, purpose) })
		p.mu.clients[node] = c
	}
	return c
}

// Report implements outbound.ClusterPeers.
func (p *Peers) Report(ctx context.Context, node cluster.NodeID, report outbound.NodeReport) (outbound.ReportReply, error) {
	return p.Client(node).Report(ctx, report)
}

// ProposeAt implements outbound.ProposePeers.
func (p *Peers) ProposeAt(ctx context.Context, node cluster.NodeID, id shard.ID, command []byte) ([]byte, error) {
	return p.Client(node).Propose(ctx, id, command)
}

// PartialsAt implements outbound.QueryPeers.
func (p *Peers) PartialsAt(ctx context.Context, node cluster.NodeID, read consistency.Read, q aggregate.Query) (aggregate.Table, error) {
	return p.Client(node).Partials(ctx, read, q)
}

// LatestAt implements outbound.QueryPeers.
func (p *Peers) LatestAt(ctx context.Context, node cluster.NodeID, read consistency.Read, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	return p.Client(node).Latest(ctx, read, name, matchers)
}

// ListSeriesAt implements outbound.QueryPeers.
func (p *Peers) ListSeriesAt(ctx context.Context, node cluster.NodeID, read consistency.Read, l metric.Listing) ([]string, error) {
	return p.Client(node).ListSeries(ctx, read, l)
}

// ProposeMetaAt implements outbound.MetaPeers.
func (p *Peers) ProposeMetaAt(ctx context.Context, node cluster.NodeID, command []byte) ([]byte, error) {
	return p.Client(node).ProposeMeta(ctx, command)
}

// ReportsAt implements outbound.MetaPeers.
func (p *Peers) ReportsAt(ctx context.Context, node cluster.NodeID) ([]outbound.HeardReport, error) {
	return p.Client(node).Reports(ctx)
}

// FlushAt implements outbound.ReplicaPeers.
func (p *Peers) FlushAt(ctx context.Context, node cluster.NodeID) error {
	return p.Client(node).Flush(ctx)
}

// DigestAt implements outbound.ReplicaPeers.
func (p *Peers) DigestAt(ctx context.Context, node cluster.NodeID, id shard.ID, mark uint64) (outbound.ReplicaDigest, error) {
	return p.Client(node).DigestAt(ctx, id, mark)
}

// Retain closes the clients of nodes that keep does not want: they left the cluster.
func (p *Peers) Retain(keep func(cluster.NodeID) bool) {
	p.mu.Lock()
	var gone []*Client
	for id, c := range p.mu.clients {
		if !keep(id) {
			gone = append(gone, c)
			delete(p.mu.clients, id)
		}
	}
	p.mu.Unlock()
	for _, c := range gone {
		c.Close()
	}
}

// Close closes every client.
func (p *Peers) Close() { p.Retain(func(cluster.NodeID) bool { return false }) }

// Recruiter reaches nodes that are no members yet.
type Recruiter struct {
	dialer *link.Dialer
	secret []byte
}

// NewRecruiter returns a recruiter; secret is CLUSTER_SECRET or else AUTH_TOKEN.
func NewRecruiter(dialer *link.Dialer, secret []byte) *Recruiter {
	return &Recruiter{dialer: dialer, secret: secret}
}

// Introduce implements outbound.Recruiter.
func (r *Recruiter) Introduce(ctx context.Context, address string) (outbound.Introduction, error) {
	s, err := r.dialer.Probe(ctx, address, r.secret)
	if err != nil {
		return outbound.Introduction{}, recruitFault(err)
	}
	return outbound.Introduction{
		Node: s.Node.ID(), Role: s.Node.Role(), Incarnation: s.Node.Incarnation(), ClusterID: s.ClusterID,
	}, nil
}

// Adopt implements outbound.Recruiter.
func (r *Recruiter) Adopt(ctx context.Context, address string, adoption outbound.Adoption) error {
	_, err := r.dialer.Adopt(ctx, address, r.secret, link.Offer{
		Node: adoption.Node.String(), Incarnation: uint64(adoption.Incarnation), Address: address,
		Founding: adoption.Founding, State: adoption.State,
	})
	return recruitFault(err)
}

// Refuse implements outbound.Recruiter.
func (r *Recruiter) Refuse(ctx context.Context, address, reason string) error {
	return recruitFault(r.dialer.Reject(ctx, address, r.secret, reason))
}

// rootOf returns the innermost error: "no such host" or "connection refused" is what helps.
func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// recruitFault gives a refusal the kind that the port promises; a host that does not answer is
// Unavailable.
func recruitFault(err error) error {
	if err == nil {
		return nil
	}
	var refusal *link.RefusalError
	if !errors.As(err, &refusal) {
		return fault.Wrap(err, fault.Unavailable, "host_unreachable", "no answer: "+rootOf(err).Error())
	}
	kind := fault.Conflict
	switch refusal.Reason {
	case link.WrongKey, link.NoAdoption:
		kind = fault.Unauthenticated
	case link.Busy, link.Stopping, link.NotANode:
		kind = fault.Unavailable
	default:
	}
	return fault.Wrap(err, kind, string(refusal.Reason), refusal.Message)
}
