package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

const (
	// proposalTimeout is how long a gateway waits for the shard's leader.
	proposalTimeout = 1200 * time.Millisecond
	// snapshotTimeout is when a sender asks what became of a snapshot.
	snapshotTimeout = time.Second
)

// link is one direction between two nodes.
type link struct{ from, to uint64 }

type linkState struct{ cut bool }

// passes decides whether something sent now arrives.
func (w *world) passes(from, to uint64) bool {
	ok := from == to || !w.links[link{from, to}].cut && (w.healed || !w.chance(w.swarm.loss))
	if !ok {
		w.counts.Lost++
	}
	return ok
}

// send carries a raft message, as bytes, to the replica that it is for: perhaps not, late, or twice.
func (w *world) send(from *replica, m *raftpb.Message) {
	wire, err := proto.Marshal(m)
	if err != nil {
		from.must(err, "marshal")
		return
	}
	to := w.homes[home{from.shard, m.GetTo()}]
	if to == nil {
		return
	}
	arrived := new(bool) // the snapshot that m may be, and all of its data
	if m.GetType() == raftpb.MsgSnap {
		from.after(snapshotTimeout, func() {
			from.post(multiraft.SnapshotSent{To: m.GetTo(), Failed: !*arrived})
		})
	}
	times := 1
	if !w.healed && w.chance(w.swarm.repeat) {
		times = 2
	}
	for range times {
		if !w.passes(from.node.id, to.id) {
			continue
		}
		w.after(w.about(w.swarm.delay), func() {
			if !to.up || w.links[link{from.node.id, to.id}].cut || to.shards[from.shard].id != m.GetTo() {
				return
			}
			received := &raftpb.Message{}
			if err := proto.Unmarshal(wire, received); err != nil {
				to.must(err, "unmarshal")
				return
			}
			*arrived = true
			to.shards[from.shard].post(multiraft.Receive{Message: received})
		})
	}
}

// propose takes a gateway's command to the node that it believes to lead the shard, and the answer back.
// done is called once, unless n crashes: the answer, or that nobody knows.
func (n *node) propose(id shard.ID, data []byte, done func(outcome []byte, err error)) {
	answered := false
	answer := func(outcome []byte, err error) {
		if !answered {
			answered = true
			done(outcome, err)
		}
	}
	n.after(proposalTimeout, func() {
		if !answered {
			answer(nil, outbound.ErrAmbiguous)
		}
	})
	leader := n.shards[id].core.Status().Leader
	if leader == 0 {
		n.after(n.about(time.Millisecond), func() { answer(nil, outbound.ErrNotProposed) })
		return
	}
	if n.mutant == AckOnPropose {
		if header, _, err := command.DecodeHeader(data); err == nil && header.Kind == command.Write {
			n.after(0, func() { answer(command.AppendOutcome(nil, command.Outcome{Verdict: command.Applied}), nil) })
		}
	}
	to := n.homes[home{id, leader}]
	if !n.passes(n.id, to.id) {
		return
	}
	life := n.life
	n.world.after(n.hop(to), func() {
		if !to.up {
			return
		}
		to.shards[id].propose(data, func(outcome []byte, err error) {
			if !to.passes(to.id, n.id) {
				return
			}
			n.world.after(n.hop(to), func() {
				if n.up && n.life == life {
					n.after(0, func() { answer(outcome, err) })
				}
			})
		})
	})
}

// hop is how long a request or an answer travels between two nodes.
func (n *node) hop(to *node) time.Duration {
	if to == n {
		return 0
	}
	return n.about(n.swarm.delay)
}
