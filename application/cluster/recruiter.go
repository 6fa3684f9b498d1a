package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// recruitInterval is how often hosts that are not members are asked who they are.
	recruitInterval = time.Second
	// recruitMax bounds one exchange with one host.
	recruitMax = 2 * time.Second
)

// Recruiter brings nodes into the cluster: the hosts that this node was configured with, and known
// nodes that fell silent and may be waiting with an empty disk. Any member may hand a node that the
// state already names its membership; only the meta group's leader takes new ones, or new
// incarnations, into the state.
type Recruiter struct {
	hosts    []string
	view     *View
	founding []byte
	director *Director
	contact  outbound.Recruiter
	refuser  *refuser
	timer    outbound.Timer
	report   Reporting
}

// RecruiterConfig names what a Recruiter needs.
type RecruiterConfig struct {
	Hosts    []string // addresses from WORKER_HOSTS and CONTROL_HOSTS; may be empty
	View     *View
	Founding []byte // the encoded state that the cluster was founded with
	Director *Director
	Contact  outbound.Recruiter
	Clock    outbound.Clock
	Timer    outbound.Timer
	Report   Reporting
}

// NewRecruiter returns a recruiter; Run does its work.
func NewRecruiter(c RecruiterConfig) *Recruiter {
	return &Recruiter{
		hosts: slices.Clone(c.Hosts), view: c.View, founding: c.Founding, director: c.Director,
		contact: c.Contact, refuser: newRefuser(c.Contact, c.Clock), timer: c.Timer, report: c.Report,
	}
}

// Run works until ctx ends.
func (r *Recruiter) Run(ctx context.Context) error {
	for {
		r.Round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-r.timer.After(recruitInterval):
		}
	}
}

// Round asks every host in question once.
func (r *Recruiter) Round(ctx context.Context) {
	state := r.view.State()
	if state == nil {
		return
	}
	for _, address := range r.targets(state) {
		if ctx.Err() != nil {
			return
		}
		if err := r.Recruit(ctx, address); err != nil && fault.KindOf(err) != fault.Unavailable && ctx.Err() == nil {
			r.report("recruit "+address, err)
		}
	}
}

// targets returns the configured hosts that are no members' addresses, and on the meta group's leader
// the addresses of silent members.
func (r *Recruiter) targets(state *cluster.State) []string {
	leads := r.director.meta.LeadsMeta()
	targets := slices.Clone(r.hosts)
	for _, n := range state.Nodes() {
		if i := slices.Index(targets, n.Address()); i >= 0 && leads && !r.director.Silent(n.ID()) {
			targets = slices.Delete(targets, i, i+1)
		}
		if leads && r.director.Silent(n.ID()) && !slices.Contains(targets, n.Address()) {
			targets = append(targets, n.Address())
		}
	}
	return targets
}

// Recruit asks the node at address who it is and makes it a member if it waits for that. Conflict says
// why it cannot be one, which that node is told as well.
func (r *Recruiter) Recruit(ctx context.Context, address string) error {
	_, err := r.recruit(ctx, address, r.join)
	return err
}

// joiner takes a node, or a node's new incarnation, into the state, of which this node's view then has
// it.
type joiner func(ctx context.Context, known cluster.Node, who outbound.Introduction, address string, member bool) error

// recruit is Recruit with join to take the node into the state. It returns whom it found.
func (r *Recruiter) recruit(ctx context.Context, address string, join joiner) (outbound.Introduction, error) {
	who, err := r.introduce(ctx, address)
	if err != nil {
		return who, err
	}
	state := r.view.State()
	if who.ClusterID != "" {
		if ours := state.Blueprint().ClusterID; who.ClusterID != ours {
			return who, r.refuse(ctx, address, fault.Newf(fault.Conflict, "other_cluster",
				"node %s at %s belongs to cluster %s, not to %s; empty its data directory to let it join",
				who.Node, address, who.ClusterID, ours))
		}
		return who, nil
	}
	known, member := state.Node(who.Node)
	if !member || known.Incarnation() != who.Incarnation {
		if err := join(ctx, known, who, address, member); err != nil {
			return who, r.refuse(ctx, address, err)
		}
	}
	return who, r.adopt(ctx, address, who)
}

// refuse returns why the node at address is not taken in, after telling it so where that is for good:
// what is merely not possible now is tried again.
func (r *Recruiter) refuse(ctx context.Context, address string, why error) error {
	if kind := fault.KindOf(why); kind != fault.Conflict && kind != fault.Invalid {
		return why
	}
	if err := r.refuser.refuse(ctx, address, fault.From(why).Message()); err != nil && ctx.Err() == nil {
		r.report("tell "+address+" why it is refused", err)
	}
	return why
}

func (r *Recruiter) introduce(ctx context.Context, address string) (outbound.Introduction, error) {
	ctx, cancel := context.WithTimeout(ctx, recruitMax)
	defer cancel()
	return r.contact.Introduce(ctx, address)
}

// join takes a node, or a node's new incarnation, into the state.
func (r *Recruiter) join(ctx context.Context, known cluster.Node, who outbound.Introduction, address string, member bool) error {
	if !r.director.meta.LeadsMeta() {
		return outbound.ErrNotProposed
	}
	if member && !r.director.Silent(who.Node) {
		return errLivingNode(known, address)
	}
	node, err := cluster.NewNode(who.Node, who.Role, address, who.Incarnation)
	if err != nil {
		return err
	}
	return r.director.Propose(ctx, Command{Join: &node})
}

func errLivingNode(known cluster.Node, address string) error {
	return fault.Newf(fault.Conflict, "node_exists", "NODE_ID %s at %s belongs to the living node at %s; give each node its own",
		known.ID(), address, known.Address())
}

func (r *Recruiter) adopt(ctx context.Context, address string, who outbound.Introduction) error {
	ctx, cancel := context.WithTimeout(ctx, recruitMax)
	defer cancel()
	encoded, err := EncodeState(r.view.State())
	if err != nil {
		return err
	}
	return r.contact.Adopt(ctx, address, outbound.Adoption{
		Node: who.Node, Incarnation: who.Incarnation, Founding: r.founding, State: encoded,
	})
}
