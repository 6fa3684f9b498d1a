package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
)

// breakSomething does one of the swarm's faults, and plans the next and the repair.
func (w *world) breakSomething() {
	if w.healed {
		return
	}
	var faults []func()
	add := func(on bool, do func()) {
		if on {
			faults = append(faults, do)
		}
	}
	add(w.swarm.crashes, w.crashOne)
	add(w.swarm.powerCuts, w.crashAll)
	add(w.swarm.partitions && len(w.nodes) > 1, w.cutLinks)
	add(w.swarm.transfers && len(w.nodes) > 1, w.transfer)
	add(w.swarm.wipes && len(w.nodes) > 1, w.wipe)
	add(w.swarm.freezes, w.freeze)
	add(w.swarm.absences, w.absent)
	if len(faults) > 0 {
		faults[w.rng.IntN(len(faults))]()
	}
	w.after(w.about(w.swarm.calm), w.breakSomething)
}

func (w *world) anyNode() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

func (w *world) crashOne() { w.crash(w.anyNode(), w.about(500*time.Millisecond)) }

// absent takes a node away for so long that the others go on without what it lacks.
func (w *world) absent() { w.crash(w.anyNode(), w.about(4*time.Second)) }

// freeze stops a node as a debugger or a starved machine does: it wakes up where it was.
func (w *world) freeze() { n := w.anyNode(); n.frozen = w.now + w.about(1500*time.Millisecond) }

func (w *world) crashAll() {
	for _, n := range w.nodes {
		w.crash(n, w.about(500*time.Millisecond))
	}
}

func (w *world) crash(n *node, down time.Duration) {
	if !n.up {
		return
	}
	n.crash()
	w.after(down, func() {
		if !n.up && !w.healed && w.err == nil {
			n.start()
		}
	})
}

// cutLinks isolates a node from the others, in one direction or both, or cuts a single link.
func (w *world) cutLinks() {
	n, in, out := w.anyNode(), w.chance(0.7), w.chance(0.7)
	only := w.chance(0.3)
	other := w.anyNode()
	var cut []*linkState
	for _, m := range w.nodes {
		if m == n || only && m != other {
			continue
		}
		if in {
			cut = append(cut, w.links[link{m.id, n.id}])
		}
		if out {
			cut = append(cut, w.links[link{n.id, m.id}])
		}
	}
	for _, l := range cut {
		l.cut = true
	}
	w.after(w.about(1500*time.Millisecond), func() {
		for _, l := range cut {
			l.cut = false
		}
	})
}

func (w *world) transfer() {
	n := w.anyNode()
	if n.up {
		r := n.shards[w.rng.IntN(len(n.shards))]
		r.post(multiraft.TransferLeader{To: w.anyNode().shards[r.shard].id})
	}
}

// heal ends all faults: links pass everything, and every node is up.
func (w *world) heal() {
	w.healed = true
	for _, from := range w.nodes {
		for _, to := range w.nodes {
			w.links[link{from.id, to.id}].cut = false
		}
		if from.frozen = 0; !from.up {
			from.start()
		}
	}
}

// level reports whether all replicas of each shard have applied the same and nothing is under way.
func (w *world) level() bool {
	for id := range w.swarm.shards {
		want := w.nodes[0].shards[id]
		for _, n := range w.nodes {
			r := n.shards[id]
			if !n.up || !want.up || r.applying || len(r.jobs) > 0 || r.machine.Applied(r.shard) != want.machine.Applied(r.shard) ||
				r.core.Status().Commit != want.core.Status().Commit || r.core.Status().Applied != r.core.Status().Commit {
				return false
			}
		}
	}
	return true
}

// stuck describes what a run that does not end waits for.
func (w *world) stuck() string {
	var b strings.Builder
	for _, n := range w.nodes {
		if !n.up {
			fmt.Fprintf(&b, "\nnode %d is down", n.id)
			continue
		}
		for _, r := range n.shards {
			fmt.Fprintf(&b, "\nnode %d shard %d replica %d: %+v, applied by the machine %d, %d proposals and %d writes open",
				n.id, r.shard, r.id, r.core.Status(), r.machine.Applied(r.shard), len(r.proposals), len(n.writes))
		}
	}
	for _, op := range w.history.ops {
		if !op.over {
			fmt.Fprintf(&b, "\noperation %d (key %v) after %d attempts: %v", op.id, op.key != nil, op.attempts, op.err)
		}
	}
	return b.String()
}
