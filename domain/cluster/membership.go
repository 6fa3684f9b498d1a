package cluster

import "slices"

// Member is one replica in a group's Raft configuration, as its leader sees it.
type Member struct {
	ID       ReplicaID
	Learner  bool // receives the log, does not vote
	CaughtUp bool // close enough to the leader's log to vote without stalling commits
	Active   bool // heard from within an election timeout
}

// Configuration is a group's Raft configuration as its leader sees it.
type Configuration struct {
	Leader  ReplicaID
	Joint   bool     // a change is under way or not yet known to the members; nothing may be changed meanwhile
	Members []Member // ascending by ID
}

// StepKind is what a leader does next to bring its group's configuration to its placement.
type StepKind uint8

// The kinds of steps.
const (
	// StepWait: nothing can be done until something happens elsewhere.
	StepWait StepKind = iota
	// StepSettled: the configuration holds exactly the placement's replicas, all voters.
	StepSettled
	// StepAddLearner adds Replica as a learner.
	StepAddLearner
	// StepRemoveLearner removes Replica, a learner that is not wanted.
	StepRemoveLearner
	// StepTransfer hands leadership to Replica, because the leader itself is to be removed.
	StepTransfer
	// StepSwap makes Promote voters and removes Remove in one joint change.
	StepSwap
)

// Step is one change of a configuration.
type Step struct {
	Kind    StepKind
	Replica ReplicaID
	Promote []ReplicaID
	Remove  []ReplicaID
}

// NextStep returns the leader's next step from configuration c to placement p: unwanted learners go,
// wanted replicas come as learners, and when every one of them is caught up the voters change in one
// joint step (Raft thesis section 4.3), so that the group never has fewer voters than wanted and a
// replica never votes on a log that it does not have. A leader that is to go hands over first.
func NextStep(p Placement, c Configuration) Step {
	if c.Joint {
		return Step{Kind: StepWait}
	}
	wanted := func(id ReplicaID) bool {
		return slices.ContainsFunc(p.Replicas, func(r Replica) bool { return r.ID == id })
	}
	var swap Step
	var heir ReplicaID
	for _, m := range c.Members {
		switch {
		case m.Learner && !wanted(m.ID):
			return Step{Kind: StepRemoveLearner, Replica: m.ID}
		case m.Learner:
			swap.Promote = append(swap.Promote, m.ID)
		case !wanted(m.ID):
			swap.Remove = append(swap.Remove, m.ID)
		case m.Active && m.CaughtUp && heir == 0:
			heir = m.ID
		}
	}
	for _, r := range p.Replicas {
		if !slices.ContainsFunc(c.Members, func(m Member) bool { return m.ID == r.ID }) {
			return Step{Kind: StepAddLearner, Replica: r.ID}
		}
	}
	for _, m := range c.Members {
		if m.Learner && !(m.CaughtUp && m.Active) {
			return Step{Kind: StepWait}
		}
	}
	if len(swap.Promote) == 0 && len(swap.Remove) == 0 {
		return Step{Kind: StepSettled}
	}
	if slices.Contains(swap.Remove, c.Leader) && heir != 0 {
		return Step{Kind: StepTransfer, Replica: heir}
	}
	swap.Kind = StepSwap
	return swap
}
