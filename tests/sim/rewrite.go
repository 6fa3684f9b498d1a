package sim

import (
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// What is stored is not only added to. Registers are series in which every write replaces the sample of
// one timestamp, so that one value is left: that of the write that came last. Doomed series are those of a
// metric that is deleted again and again, with everything written before and nothing written after.
const (
	registerMetric = "register"
	doomedMetric   = "doomed"
)

func (h *history) buildRewrites(w *world) {
	for i := range 3 {
		for _, family := range []struct {
			name string
			list *[]metric.Series
		}{{registerMetric, &h.registers}, {doomedMetric, &h.doomed}} {
			name, err := metric.NewName(family.name)
			if err != nil {
				w.failf("build: %w", err)
				return
			}
			tags, err := metric.NewTags([]metric.Tag{{Key: "host", Value: fmt.Sprint("h", i)}})
			if err != nil {
				w.failf("build: %w", err)
				return
			}
			series, err := metric.NewSeries(name, tags)
			if err != nil {
				w.failf("build: %w", err)
				return
			}
			*family.list = append(*family.list, series)
		}
	}
}

func isRegister(series metric.Series) bool { return series.Name().String() == registerMetric }

// anySeries draws a series to be read.
func (h *history) anySeries(w *world) metric.Series {
	all := [...][]metric.Series{w.series, h.registers, h.doomed}
	list := all[0]
	if w.chance(0.3) {
		list = all[1+w.rng.IntN(2)]
	}
	return list[w.rng.IntN(len(list))]
}

// rewrite makes an operation that sets registers, that writes what will be deleted, or that deletes it; nil
// most of the time.
func (h *history) rewrite(w *world) *operation {
	if !w.chance(w.swarm.rewrites) {
		return nil
	}
	switch w.rng.IntN(5) {
	case 0:
		return h.forget(w)
	case 1, 2:
		return h.add(w, h.maybeKey(w), []metric.Series{h.doomed[w.rng.IntN(len(h.doomed))], h.doomed[w.rng.IntN(len(h.doomed))]})
	default:
		return h.set(w)
	}
}

// maybeKey returns a key for the next operation, or none.
func (h *history) maybeKey(w *world) *inbound.Idempotency {
	if !w.chance(w.swarm.keyed) {
		return nil
	}
	name := fmt.Sprint("key ", len(h.ops))
	return &inbound.Idempotency{Key: name, Digest: sha256.Sum256([]byte(name))}
}

// set makes an operation that replaces the sample of some registers.
func (h *history) set(w *world) *operation {
	op := &operation{world: w, id: len(h.ops), key: h.maybeKey(w), replaces: true}
	h.ops = append(h.ops, op)
	for range 1 + w.rng.IntN(2) {
		series := h.registers[w.rng.IntN(len(h.registers))]
		value := float64(len(h.byValue) + 1)
		observation, err := metric.NewObservationAt(series, startOfTime, value)
		if err != nil {
			w.failf("observe: %w", err)
		}
		x := &written{op: op, observation: observation, value: value}
		op.samples = append(op.samples, x)
		h.byValue[value] = x
		h.bySeries[series.Key()] = append(h.bySeries[series.Key()], x)
	}
	return op
}

// forget makes an operation that deletes the doomed.
func (h *history) forget(w *world) *operation {
	op := &operation{
		world: w, id: len(h.ops),
		deletion: &outbound.Deletion{Metric: h.doomed[0].Name(), Range: aggregate.Everything()},
	}
	h.ops = append(h.ops, op)
	h.deletions = append(h.deletions, op)
	return op
}

// acked reports whether the operation was acknowledged.
func (op *operation) acked() bool { return op.over && op.err == nil }

// mayBeDeleted reports whether some deletion may have come, or may yet come, after x.
func (h *history) mayBeDeleted(x *written) bool {
	if x.observation.Series().Name().String() != doomedMetric {
		return false
	}
	for _, d := range h.deletions {
		if d.attempts > 0 && !(d.acked() && d.ended < x.op.began) {
			return true
		}
	}
	return false
}

// deletedBefore returns a deletion that was over before now and began when x was stored already: x must not
// be there.
func (h *history) deletedBefore(x *written, now time.Duration) *operation {
	if x.observation.Series().Name().String() != doomedMetric || x.state != stored {
		return nil
	}
	for _, d := range h.deletions {
		if d.acked() && d.ended < now && x.op.ended < d.began {
			return d
		}
	}
	return nil
}

// checkRegister holds what a register was seen to hold against what was written: one value once any was
// acknowledged, and none that was replaced by a write that was acknowledged before asked and had begun after
// it was.
func (w *world) checkRegister(who string, series metric.Series, got []float64, asked time.Duration) {
	var newest *written // of those acknowledged before, the one that began last
	for _, x := range w.history.bySeries[series.Key()] {
		if x.state == stored && x.op.ended < asked && (newest == nil || x.op.began >= newest.op.began) {
			newest = x
		}
	}
	if len(got) > 1 || len(got) == 0 && newest != nil {
		w.failf("%s: %s holds %v, want one value", who, series.Key(), got)
		return
	}
	for _, v := range got {
		x := w.history.byValue[v]
		if x == nil || x.observation.Series().Key() != series.Key() {
			w.failf("%s: %s holds %v, which nobody wrote there", who, series.Key(), v)
			return
		}
		until := time.Duration(math.MaxInt64) // may be applied still
		if x.state == stored {
			until = x.op.ended
		}
		if newest != nil && newest.op != x.op && newest.op.began > until {
			w.failf("%s: %s holds %v of operation %d, which operation %d replaced by %v",
				who, series.Key(), v, x.op.id, newest.op.id, newest.value)
		}
		if x.state == absent && x.op.over {
			w.failf("%s: %s holds %v of operation %d, which was refused", who, series.Key(), v, x.op.id)
		}
	}
}
