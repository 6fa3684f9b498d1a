package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// fate is what the clients were told of a sample.
type fate uint8

const (
	absent   fate = iota // never sent, or refused
	unknown              // may be stored, once
	stored               // acknowledged: stored, exactly once
	repeated             // acknowledged after attempts without a key: stored, at least once
)

// written is one sample that a client wrote. Its value is unlike every other's.
type written struct {
	op          *operation
	observation metric.Observation
	value       float64
	at          metric.Timestamp // once stored
	state       fate
	seen        bool // by a read that has ended
}

// history is what the clients did and were told.
type history struct {
	ops      []*operation
	bySeries map[string][]*written
	byValue  map[float64]*written

	registers, doomed []metric.Series // see rewrite
	deletions         []*operation
}

func (h *history) build(w *world) {
	h.bySeries, h.byValue = map[string][]*written{}, map[float64]*written{}
	h.buildRewrites(w)
}

// begin makes an operation of one to five samples, with or without a key.
func (h *history) begin(w *world) *operation {
	var key *inbound.Idempotency
	if w.chance(w.swarm.keyed) {
		name := fmt.Sprint("key ", len(h.ops))
		key = &inbound.Idempotency{Key: name, Digest: sha256.Sum256([]byte(name))}
	}
	series := make([]metric.Series, 1+w.rng.IntN(5))
	for i := range series {
		series[i] = w.series[w.rng.IntN(len(w.series))]
	}
	return h.add(w, key, series)
}

// again makes an operation that sends an acknowledged keyed write once more, sometimes with other
// content under the same key; nil most of the time.
func (h *history) again(w *world) *operation {
	if len(h.ops) == 0 || !w.chance(w.swarm.repeats) {
		return nil
	}
	original := h.ops[w.rng.IntN(len(h.ops))]
	if original.key == nil || !original.over || original.err != nil || original.original != nil {
		return nil
	}
	op := &operation{world: w, id: len(h.ops), key: original.key, original: original}
	op.samples = original.samples
	if op.forged = w.chance(0.3); op.forged {
		op.key = &inbound.Idempotency{Key: original.key.Key, Digest: sha256.Sum256([]byte("forged"))}
	}
	h.ops = append(h.ops, op)
	return op
}

// add makes an operation that writes one sample to each of series.
func (h *history) add(w *world, key *inbound.Idempotency, series []metric.Series) *operation {
	op := &operation{world: w, id: len(h.ops), key: key}
	h.ops = append(h.ops, op)
	for _, s := range series {
		value := float64(len(h.byValue) + 1)
		var observation metric.Observation
		var err error
		if w.chance(0.5) {
			observation, err = metric.NewObservation(s, value)
		} else {
			observation, err = metric.NewObservationAt(s, startOfTime+metric.Timestamp(w.rng.Int64N(1_000_000)), value)
		}
		if err != nil {
			w.failf("observe: %w", err)
		}
		x := &written{op: op, observation: observation, value: value}
		op.samples = append(op.samples, x)
		h.byValue[value] = x
		h.bySeries[s.Key()] = append(h.bySeries[s.Key()], x)
	}
	return op
}

// known returns the values of a series that every read which begins now must give.
func (h *history) known(series metric.Series) map[float64]bool {
	must := map[float64]bool{}
	for _, x := range h.bySeries[series.Key()] {
		if x.state >= stored || x.seen {
			must[x.value] = true
		}
	}
	return must
}

// idle reports whether every operation has ended.
func (w *world) idle() bool {
	for _, op := range w.history.ops {
		if !op.over {
			return false
		}
	}
	return true
}

// eachPoint calls use for every sample that the replica has.
func (r *replica) eachPoint(use func(key string, at metric.Timestamp, value float64)) error {
	return r.store.Walk(r.shard, func(series metric.Series, points []memtable.Point) error {
		for _, p := range points {
			use(series.Key(), metric.Timestamp(p.At), p.Value)
		}
		return nil
	})
}

// checkEnd holds what is stored against what was promised, and the replicas against each other.
func (w *world) checkEnd() {
	for id := range w.swarm.shards {
		w.checkReplicas(id)
	}
	found := map[float64]int{}
	registers := map[string][]float64{}
	for id := range w.swarm.shards {
		r := w.nodes[0].shards[id]
		err := r.eachPoint(func(key string, at metric.Timestamp, value float64) {
			x := w.history.byValue[value]
			if x == nil || x.observation.Series().Key() != key || w.shards.Of(x.observation.Series()) != r.shard {
				w.failf("shard %d holds %s %d %v, which nobody wrote there", id, key, at, value)
				return
			}
			if x.state == stored && x.at != at {
				w.failf("%s %v is stored at %d, want %d", key, value, at, x.at)
			}
			found[value]++
			if isRegister(x.observation.Series()) {
				registers[key] = append(registers[key], value)
			}
		})
		if err != nil {
			w.failf("walk: %w", err)
		}
	}
	for _, series := range w.history.registers {
		w.checkRegister("what is stored", series, registers[series.Key()], w.now)
	}
	for _, op := range w.history.ops {
		if op.original != nil || op.replaces {
			continue // its samples are the original's, or were looked at
		}
		for _, x := range op.samples {
			w.checkSample(op, x, found[x.value])
		}
	}
}

func (w *world) checkSample(op *operation, x *written, times int) {
	low, high := 0, 1
	switch x.state {
	case absent:
		high = 0
	case stored:
		low = 1
	case repeated:
		low, high = 1, op.attempts
	case unknown:
	}
	if w.history.mayBeDeleted(x) {
		low = 0
	}
	if d := w.history.deletedBefore(x, w.now); d != nil {
		high = 0
	}
	if times < low || times > high {
		w.failf("operation %d (key %v, %d attempts, last error %v): %s %v is stored %d times, want %d to %d",
			op.id, op.key != nil, op.attempts, op.err, x.observation.Series().Key(), x.value, times, low, high)
	}
}

// checkReplicas compares content and state of a shard's replicas.
func (w *world) checkReplicas(id int) {
	first := w.nodes[0].shards[id]
	digest, err := first.store.Digest(first.shard)
	first.must(err, "digest")
	state, err := first.machine.State(first.shard)
	first.must(err, "state")
	for _, n := range w.nodes[1:] {
		r := n.shards[id]
		other, err := r.store.Digest(r.shard)
		r.must(err, "digest")
		otherState, err := r.machine.State(r.shard)
		r.must(err, "state")
		if digest != other {
			w.failf("shard %d: nodes %d and %d hold different samples at index %d", id, first.node.id, r.node.id, state.Index)
		}
		if !bytes.Equal(state.Machine, otherState.Machine) || state.LogTime != otherState.LogTime || state.Term != otherState.Term {
			w.failf("shard %d: the state machines of nodes %d and %d differ at index %d", id, first.node.id, r.node.id, state.Index)
		}
	}
	w.note(state.Index, uint64(state.LogTime))
	_, _ = w.trace.Write(digest[:])
}
