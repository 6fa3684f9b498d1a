package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Founder is what a control node does while it belongs to no cluster: it waits until every host that
// it was configured with answers, and founds a cluster with them if none of them has one and its
// NODE_ID is the smallest of the control nodes'. Otherwise it waits to be adopted itself, so a control
// node that lost its disk never founds a second cluster beside the one that its workers belong to.
type Founder struct {
	self    cluster.Node
	hosts   []string
	plan    cluster.Blueprint
	contact outbound.Recruiter
	refuser *refuser
	timer   outbound.Timer
	mu      struct {
		sync.Mutex
		waiting string
	}
}

// NewFounder returns a founder for the control node self that was told of hosts; plan is what its
// cluster would be.
func NewFounder(
	self cluster.Node, hosts []string, plan cluster.Blueprint,
	contact outbound.Recruiter, clock outbound.Clock, timer outbound.Timer,
) *Founder {
	f := &Founder{self: self, hosts: slices.Clone(hosts), plan: plan, contact: contact, refuser: newRefuser(contact, clock), timer: timer}
	f.mu.waiting = "has not asked its hosts yet"
	return f
}

// Waiting says, for people, what keeps the cluster from being founded.
func (f *Founder) Waiting() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.waiting
}

// Run asks the hosts every recruitInterval until the cluster can be founded, and returns its first
// state, which the caller must store before it recruits anybody; or nil when ctx ends before.
func (f *Founder) Run(ctx context.Context) (*cluster.State, error) {
	for {
		state, err := f.Round(ctx)
		if state != nil {
			return state, nil
		}
		f.mu.Lock()
		f.mu.waiting = err.Error()
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-f.timer.After(recruitInterval):
		}
	}
}

type answer struct {
	address string
	who     outbound.Introduction
	err     error
}

// Round asks every host once and founds the cluster, or tells what it waits for.
func (f *Founder) Round(ctx context.Context) (*cluster.State, error) {
	nodes := []cluster.Node{f.self}
	first := f.self.ID()
	var waiting []string
	for _, a := range f.ask(ctx) {
		switch {
		case a.err != nil:
			waiting = append(waiting, fmt.Sprintf("%s (%s)", a.address, briefly(a.err)))
			continue
		case a.who.Node == f.self.ID() && a.who.Incarnation == f.self.Incarnation():
			continue // a list of control nodes may name this one too
		case a.who.ClusterID != "":
			return nil, fmt.Errorf("waits to be taken into cluster %s, to which %s at %s belongs", a.who.ClusterID, a.who.Node, a.address)
		}
		node, err := cluster.NewNode(a.who.Node, a.who.Role, a.address, a.who.Incarnation)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", a.address, err)
		}
		if err := f.refuseRepeated(ctx, nodes, node); err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
		if node.Role() == cluster.Control && node.ID().String() < first.String() {
			first = node.ID()
		}
	}
	if len(waiting) > 0 {
		return nil, errors.New("waits for " + strings.Join(waiting, ", "))
	}
	if first != f.self.ID() {
		return nil, fmt.Errorf("waits for control node %s to found the cluster", first)
	}
	return cluster.Found(f.plan, nodes)
}

// refuseRepeated tells node that its NODE_ID is in use by another among nodes. It returns what follows
// the name of this node, or nil when node is none that repeats.
func (f *Founder) refuseRepeated(ctx context.Context, nodes []cluster.Node, node cluster.Node) error {
	i := slices.IndexFunc(nodes, func(n cluster.Node) bool { return n.ID() == node.ID() })
	if i < 0 || nodes[i].Incarnation() == node.Incarnation() { // one node under two names is no impostor
		return nil
	}
	reason := fault.From(errLivingNode(nodes[i], node.Address())).Message()
	if err := f.refuser.refuse(ctx, node.Address(), reason); err != nil {
		return fmt.Errorf("refuses a node, which could not be told (%s): %s", briefly(err), reason)
	}
	return errors.New("refuses a node: " + reason)
}

// ask introduces this node to all hosts at once.
func (f *Founder) ask(ctx context.Context) []answer {
	ctx, cancel := context.WithTimeout(ctx, recruitMax)
	defer cancel()
	answers := make([]answer, len(f.hosts))
	var wg sync.WaitGroup
	for i, address := range f.hosts {
		wg.Go(func() {
			who, err := f.contact.Introduce(ctx, address)
			answers[i] = answer{address: address, who: who, err: err}
		})
	}
	wg.Wait()
	return answers
}

// briefly says in few words why a host did not answer.
func briefly(err error) string {
	if f := fault.From(err); f.Kind() != fault.Internal {
		return f.Message()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + recruitMax.String()
	}
	return err.Error()
}

// NewClusterID makes the id of a new cluster: 128 random bits in hexadecimal.
func NewClusterID(entropy outbound.Entropy) string {
	return fmt.Sprintf("%016x%016x", entropy.Uint64(), entropy.Uint64())
}
